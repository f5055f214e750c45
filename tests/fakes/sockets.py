"""What a socket or a process is asked for by the system's own means."""

import socket
import struct
from pathlib import Path

_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


def reset_when_closed(sock: socket.socket) -> None:
    """Its close is a reset, as of a peer that crashed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)


def open_files(pid: int | str = "self") -> int:
    """How many file descriptors a process holds, this one unless told."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
