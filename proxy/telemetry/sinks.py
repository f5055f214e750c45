"""Where log lines go: a file descriptor that is already open, or a file of our own.

A sink takes bytes and says how many it took; it never waits long, never retries, never counts.
The recorder decides what to do with the rest.
"""

import os
import select
import stat
from pathlib import Path
from typing import Protocol

from proxy.model.clock import Clock

_PIPE_CHUNK_BYTES = select.PIPE_BUF
_CHECK_S = 1.0


class Sink(Protocol):
    """`generation` changes when the bytes go somewhere new, so that half a line written to the
    old place is not finished in the new one."""

    generation: int

    def write(self, data: memoryview, wait_s: float) -> int:
        """Write what fits within about `wait_s`; how many bytes were taken. OSError if broken."""

    def close(self) -> None:
        """Let go of what this sink itself opened."""


def write_some(fd: int, data: memoryview, wait_s: float) -> int:
    """Write to `fd` without blocking for longer than `wait_s` where the kernel lets us tell.

    Inherited descriptors are left in blocking mode: the flag is shared with whoever else has
    them. A writable pipe takes PIPE_BUF bytes at once without blocking, hence the chunks.
    """
    is_pipe = stat.S_ISFIFO(os.fstat(fd).st_mode)
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    written = 0
    while written < len(data):
        if not poll.poll(wait_s * 1000 if written == 0 else 0):
            break
        chunk = data[written : written + _PIPE_CHUNK_BYTES] if is_pipe else data[written:]
        try:
            written += os.write(fd, chunk)
        except BlockingIOError:
            break
        except OSError:
            if written:
                break  # the caller must know how far we got; the error comes again next time
            raise
    return written


class DescriptorSink:
    """Writes to a descriptor that somebody else opened and will close, such as stdout."""

    __slots__ = ("_fd", "generation")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.generation = 0

    def write(self, data: memoryview, wait_s: float) -> int:
        """See `Sink`."""
        return write_some(self._fd, data, wait_s)

    def close(self) -> None:
        """Nothing: the descriptor is not ours."""


class FileSink:
    """Appends to a file, mode 0600 if it creates it.

    About once a second it looks whether the path still leads to the file that is open, and opens
    it anew if not: rotation by rename needs no signal. If that fails, the old file stays in use
    (its blocks may be unreachable, but the next look may succeed) and `reopen_errors` counts.
    Opening raises OSError at the start, where somebody can do something about it.
    """

    __slots__ = ("_checked_s", "_clock", "_fd", "_path", "generation", "reopen_errors")

    def __init__(self, path: str, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._fd = self._open()
        self._checked_s = clock.monotonic()
        self.generation = 0
        self.reopen_errors = 0

    def _open(self) -> int:
        # O_NONBLOCK: a FIFO without a reader is an error at once instead of a wait for ever.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(self._path, flags, 0o600)

    def write(self, data: memoryview, wait_s: float) -> int:
        """See `Sink`."""
        now_s = self._clock.monotonic()
        if now_s - self._checked_s >= _CHECK_S:
            self._checked_s = now_s
            before = self.generation
            self._follow()
            if self.generation != before:
                return 0  # the caller decides what of `data` belongs into the new file
        return write_some(self._fd, data, wait_s)

    def _follow(self) -> None:
        mine = os.fstat(self._fd)
        try:
            there = Path(self._path).stat()
        except FileNotFoundError:
            there = None
        except OSError:
            self.reopen_errors += 1
            return
        if there is not None and (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
            return
        try:
            fresh = self._open()
        except OSError:
            self.reopen_errors += 1
            return
        os.close(self._fd)
        self._fd = fresh
        self.generation += 1

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
