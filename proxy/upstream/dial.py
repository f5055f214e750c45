"""From an address to a connected socket. The only file that opens a connection."""

import asyncio
import errno
import os
import socket
import ssl
from ipaddress import ip_address

import aiohappyeyeballs

from proxy.model.errors import Refusal, Stopped, UpstreamFailed
from proxy.model.reason import Reason
from proxy.upstream.resolver import Address

_HAPPY_EYEBALLS_S = 0.25  # RFC 8305: how long one address family may stall the other
_OURS = (errno.EMFILE, errno.ENFILE)  # no upstream is to blame for these

NO_DESCRIPTORS = Refusal(
    Reason.BUSY, "The sidecar has too many open files; try again in a moment.", "RLIMIT_NOFILE",
    1000,
)  # fmt: skip

_AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str, int]]


async def dial(addresses: tuple[Address, ...], port: int) -> socket.socket:
    """Connect to the first of `addresses` that answers; all of them have been judged.

    Raises `UpstreamFailed(upstream_connect)`, or `Stopped` where no more files may be open. The
    caller bounds the time.
    """
    infos: list[_AddrInfo] = [
        (
            socket.AF_INET6 if address.version == 6 else socket.AF_INET,
            socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port),
        )
        for address in addresses
    ]  # fmt: skip
    try:
        sock = await aiohappyeyeballs.start_connection(
            infos, happy_eyeballs_delay=_HAPPY_EYEBALLS_S, interleave=1
        )
    except OSError as error:
        if error.errno in _OURS:
            raise Stopped(NO_DESCRIPTORS) from None
        raise UpstreamFailed(
            Reason.UPSTREAM_CONNECT, f"Could not connect: {_words(error)}."
        ) from None
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def upstream_tls(trust_file: str | None = None) -> ssl.SSLContext:
    """Certificates are verified against the system's roots (or `SSL_CERT_FILE`) or those in
    `trust_file`, host names always; nothing an agent or a policy can say turns that off. Raises
    `OSError` for a file that cannot be read or holds none."""
    context = ssl.create_default_context(cafile=trust_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def tls_failure(error: Exception) -> UpstreamFailed:
    """Name what is wrong with the upstream's TLS. A hang-up may be gone at the next try."""
    if isinstance(error, ssl.SSLCertVerificationError):
        words = f"the certificate is not trusted: {error.verify_message}"
    elif isinstance(error, ssl.SSLError):
        words = f"TLS failed: {(error.reason or 'protocol error').lower().replace('_', ' ')}"
    else:
        words = "it hung up during the TLS handshake"
    hung_up = not isinstance(error, ssl.SSLError)
    return UpstreamFailed(Reason.UPSTREAM_TLS, f"Could not connect: {words}.", unsent=hung_up)


def _words(error: OSError) -> str:
    """The system's words for it, without the address: several may have failed alike."""
    return os.strerror(error.errno).lower() if error.errno else "no address answered"


def peer_of(sock: socket.socket) -> Address:
    """Whom we are connected to. Raises `UpstreamFailed` where they have reset the connection as
    soon as it stood: then there is no peer any more."""
    try:
        return ip_address(sock.getpeername()[0].partition("%")[0])
    except OSError:
        raise UpstreamFailed(
            Reason.UPSTREAM_RESET, "The upstream closed the connection.", unsent=True
        ) from None


def is_this_host(sock: socket.socket, peer: Address) -> bool:
    """Do both ends of the connection have one address? Then it never left this host."""
    return ip_address(sock.getsockname()[0].partition("%")[0]) == peer


async def connect_transport(
    protocol: asyncio.Protocol, sock: socket.socket, tls: ssl.SSLContext | None, server_name: str
) -> None:
    """Put `protocol` on the socket, over TLS where `tls` is given."""
    loop = asyncio.get_running_loop()
    try:
        if tls is None:
            await loop.create_connection(lambda: protocol, sock=sock)
        else:
            await loop.create_connection(
                lambda: protocol, sock=sock, ssl=tls, server_hostname=server_name
            )
    except (OSError, ssl.SSLError) as error:
        raise tls_failure(error) from None
