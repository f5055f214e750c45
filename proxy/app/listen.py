"""Listening sockets, bound before anything else starts: all of them or none."""

import socket
import stat
from pathlib import Path

from proxy.settings import ListenAddress

BACKLOG = 1024


class ListenError(Exception):
    """One sentence saying which address cannot be listened on, and why."""


def bind(what: str, variable: str, address: ListenAddress) -> socket.socket:
    """A listening, non-blocking socket. `what` and `variable` name it in an error."""
    try:
        sock = _bind_unix(address.path) if address.kind == "unix" else _bind_tcp(address)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ListenError(
            f"The {what} cannot listen on {address}: {reason} ({variable})."
        ) from None
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _bind_tcp(address: ListenAddress) -> socket.socket:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, proto, _, sockaddr = found[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(sockaddr)
    except OSError:
        sock.close()
        raise
    return sock


def _bind_unix(path: str) -> socket.socket:
    """Mode 0600: only our user. A socket left behind by a dead process is replaced; one that
    still answers, or a file that is no socket, is not."""
    place = Path(path)
    if place.exists() or place.is_socket():
        _remove_stale(place)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        place.chmod(0o600)
    except OSError:
        sock.close()
        raise
    return sock


def _remove_stale(place: Path) -> None:
    if not stat.S_ISSOCK(place.stat().st_mode):
        raise OSError("a file that is no socket is in the way")
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(str(place))
    except ConnectionRefusedError:
        place.unlink()
    else:
        raise OSError("address already in use")
    finally:
        probe.close()


def bound_address(sock: socket.socket) -> ListenAddress:
    """Where it really listens: port 0 has become a number."""
    if sock.family == socket.AF_UNIX:
        return ListenAddress("unix", path=str(sock.getsockname()))
    host, port = sock.getsockname()[:2]
    return ListenAddress("tcp", host=host, port=port)
