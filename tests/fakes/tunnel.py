"""Clients and origins for what happens inside a tunnel: TLS over a CONNECT."""

import asyncio
import contextlib
import ssl

import trustme

from tests.fakes.origin import Origin, Script
from tests.fakes.sidecar import Sidecar


class TlsOrigin(Origin):
    """An `Origin` behind TLS, with a certificate for `host` from a CA of its own."""

    def __init__(self, script: Script | None = None, host: str = "tool.localhost") -> None:
        super().__init__(script)
        self.host = host
        self.authority = trustme.CA()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(host).configure_cert(self._tls)

    async def __aenter__(self) -> "TlsOrigin":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def trust_file(self, path: str) -> str:
        """A PEM file with its CA."""
        self.authority.cert_pem.write_to_path(path)
        return path


def connect_head(authority: str, *lines: str) -> bytes:
    """A CONNECT as clients send it."""
    fields = "".join(f"{line}\r\n" for line in (f"Host: {authority}", *lines))
    return f"CONNECT {authority} HTTP/1.1\r\n{fields}\r\n".encode()


def client_tls(sidecar: Sidecar) -> ssl.SSLContext:
    """A client that trusts the sidecar's CA and nothing else."""
    view = sidecar.booth.authority.view()
    assert view is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 does
    context.load_verify_locations(cadata=view.pem)
    return context


async def open_tls(
    sidecar: Sidecar, authority: str, tls: ssl.SSLContext, *lines: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """CONNECT, then TLS inside; the handshake is done."""
    reader, writer = await sidecar.open()
    writer.write(connect_head(authority, *lines))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 200 "), head
    await writer.start_tls(tls, server_hostname=authority.rpartition(":")[0])
    return reader, writer


class HandClient:
    """TLS through memory, so that a test decides which bytes go out when."""

    def __init__(self, tls: ssl.SSLContext, host: str | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def hello(self) -> bytes:
        """The first flight."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read()
        raise AssertionError("a handshake cannot end after its first message")

    async def finish(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, then: bytes = b""
    ) -> None:
        """Complete the handshake; the last flight leaves in one write with `then`."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(self._outgoing.read())
                data = await asyncio.wait_for(reader.read(65536), 5)
                if not data:
                    raise ConnectionResetError from None
                self._incoming.write(data)
        if then:
            self.tls.write(then)
        writer.write(self._outgoing.read())

    def goodbye(self) -> bytes:
        """Our close_notify."""
        with contextlib.suppress(ssl.SSLError):  # the other side's has not come yet
            self.tls.unwrap()
        return self._outgoing.read()

    async def read_until(self, reader: asyncio.StreamReader, end: bytes) -> bytes:
        """Decrypted bytes up to and including `end`."""
        got = b""
        while not got.endswith(end):
            try:
                part = self.tls.read(65536)
            except ssl.SSLWantReadError:
                data = await asyncio.wait_for(reader.read(65536), 5)
                if not data:
                    return got
                self._incoming.write(data)
                continue
            got += part
        return got
