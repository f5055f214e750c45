"""The audit log on the disk: one file, one writer, lines that are only added.

Blocking, and for one thread at a time. A line counts once it is synced. A file that was renamed
away (logrotate) is noticed before the next line: the old file ends with a checkpoint, the new one
begins where it ended. A file that was cut or written to by others is told in the next line, so
that a check finds the place; one that does not end as this log must is refused at the start.

`PATH.head` holds the number and hash of the last line. It is how a log goes on after the file was
moved away while nothing ran, and how a start sees that lines at the end are gone. It is written
behind the file, never before it, and a log without it is a log still.
"""

import hmac
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from proxy.model.clock import Clock, utc_timestamp
from proxy.store.audit_chain import (
    GENESIS,
    MAX_LINE_BYTES,
    Entry,
    Head,
    mac_of,
    read_line,
    sealed,
)
from proxy.store.audit_check import BEGIN, CHECKPOINT, TORN, Checker, lines_of
from proxy.store.state_file import FileLock
from proxy.store.store import StoreError

_WINDOW_BYTES = 4 * MAX_LINE_BYTES
_HEAD = re.compile(rb"(\d{19}) ([0-9a-f]{64}) ([0-9a-f]{64}|-{64})\n")
_NO_MAC = "-" * 64


class AuditFile:
    """The log at `path`, locked for this process until `close`. `key`: lines are made with it.

    `head` is where the chain ends. Raises `StoreError`, one sentence, if the file is not one to
    go on with.
    """

    def __init__(self, path: Path, key: bytes | None, clock: Clock) -> None:
        self._path = path
        self._key = key
        self._clock = clock
        self._fd = self._head_fd = -1
        self.head = GENESIS
        self._size = 0
        self._half = b""  # left at the end by a crash
        self._needs_newline = False
        self._is_known = True  # False: what is on the disk has to be looked at again
        self._why = "new"  # a file begins
        self._change: Entry | None = None  # of the file by others, not told yet
        self.is_unsure = False
        self._lock = FileLock(path)
        try:
            self._fd = self._open()
            self._head_fd = self._open_head()
            _sync_folder(path.parent)
            self._load()
        except OSError as error:
            self.close()
            raise StoreError(f"{path} cannot be opened: {_reason(error)}.") from None
        except StoreError:
            self.close()
            raise

    def append(self, entries: Sequence[Entry]) -> None:
        """Write and sync `entries`, in order. Raises `StoreError`; then none of them is in the
        file, or `is_unsure`: it lets nothing be taken back (`chattr +a`)."""
        self.is_unsure = False
        try:
            self._follow()
            self._put([*self._openings(), *entries])
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {_reason(error)}.") from None

    def close(self) -> None:
        """Let go of the file and its lock; twice does no harm."""
        for fd in (self._fd, self._head_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._head_fd = -1
        self._lock.release()

    def _open(self) -> int:
        # O_NONBLOCK: a FIFO without a reader is an error at once instead of a wait for ever.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        fd = os.open(self._path, flags, 0o600)
        info = os.fstat(fd)
        trouble = ""
        if not stat.S_ISREG(info.st_mode):
            trouble = "is not a file"
        elif info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            trouble = f"may be written by others (mode {stat.S_IMODE(info.st_mode):04o})"
        if trouble:
            os.close(fd)
            raise StoreError(f"{self._path} {trouble}.")
        return fd

    def _open_head(self) -> int:
        place = self._path.with_name(self._path.name + ".head")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(place, flags, 0o600)

    def _load(self) -> None:
        """Find out where the chain ends, from the end of the file and from `PATH.head`."""
        self._size = os.fstat(self._fd).st_size
        self._half, self._needs_newline = b"", False
        kept = self._kept_head()
        start = max(0, self._size - _WINDOW_BYTES)
        window = os.pread(self._fd, _WINDOW_BYTES, start)
        if start:
            window = window.partition(b"\n")[2]
        whole, half = _split(window)
        found = self._checked(whole, is_whole=not start)
        if found is None and (start or whole):
            raise StoreError(f"{self._path} does not end in a line of an audit log.{_AWAY}")
        self._why = "start" if kept.seq else "new"
        self.head = self._with_half(found or kept, half)
        is_behind = kept.seq > self.head.seq
        if is_behind or (kept.seq == self.head.seq and kept.hash != self.head.hash):
            raise StoreError(
                f"lines at the end of {self._path} are gone: it ends with seq {self.head.seq}, and"
                f" seq {kept.seq} was written.{_AWAY}"
            )
        self._is_known = True

    def _checked(self, whole: bytes, *, is_whole: bool) -> Head | None:
        """The head that the last lines make; None without any."""
        checker = Checker(self._key, is_whole=is_whole)
        checker.begin_file(str(self._path))
        for raw in lines_of(whole):
            checker.feed(raw)
        checker.end_file()
        if checker.findings.problems:
            problem = checker.findings.problems[0]
            raise StoreError(
                f"{self._path} was tampered with near its end ({problem.kind}:"
                f" {problem.detail}).{_AWAY}"
            )
        last = checker.findings.last
        if last is not None and last.mac and self._key is None:
            raise StoreError(f"{self._path} was written with a key; TOOLBOOTH_AUDIT_KEY is unset.")
        return None if last is None else last.head

    def _with_half(self, head: Head, half: bytes) -> Head:
        """The head after a last line without its newline: all of it but that, or less."""
        line = read_line(half)
        if line is not None and line.is_true and (line.seq - 1, line.prev) == head:
            if self._key is not None and not line.is_by(self._key):
                raise StoreError(f"the last line of {self._path} is not by this key.{_AWAY}")
            self._needs_newline = True
            return line.head
        if len(half) > MAX_LINE_BYTES:
            raise StoreError(f"{self._path} does not end in a line of an audit log.{_AWAY}")
        self._half = half
        return head

    def _kept_head(self) -> Head:
        raw = os.pread(self._head_fd, 200, 0)
        if not raw:
            return GENESIS
        found = _HEAD.fullmatch(raw)
        is_right = found is not None and hmac.compare_digest(found[3].decode(), self._mac(raw[:84]))
        if found is None or not is_right:
            raise StoreError(
                f"{self._path}.head is damaged, or of another key; to begin a new log move it"
                f" and {self._path.name} away."
            )
        return Head(int(found[1]), found[2].decode())

    def _keep_head(self) -> None:
        """No sync: a power cut may leave an older one, which is no harm; and what the log itself
        has is safe already, so a failure is none either."""
        text = b"%019d %b" % (self.head.seq, self.head.hash.encode())
        with suppress(OSError):
            os.pwrite(self._head_fd, b"%b %b\n" % (text, self._mac(text).encode()), 0)

    def _mac(self, text: bytes) -> str:
        return _NO_MAC if self._key is None else mac_of(self._key, b"head " + text)

    def _follow(self) -> None:
        """Is the file that is open still the one at the path?"""
        if not self._is_known:
            self._load()
        mine = os.fstat(self._fd)
        try:
            there = self._path.stat()
        except FileNotFoundError:
            there = None
        if there is not None and (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
            return
        fresh = self._open()
        try:
            self._check_fresh(fresh)
            self._put([*self._openings(), self._line(CHECKPOINT, why="rotation")])
            _sync_folder(self._path.parent)
        except (OSError, StoreError):
            os.close(fresh)
            raise
        os.close(self._fd)
        self._fd, self._size, self._why = fresh, 0, "rotation"

    def _check_fresh(self, fd: int) -> None:
        if os.fstat(fd).st_size:
            raise StoreError(f"another file has appeared at {self._path}.{_AWAY}")

    def _openings(self) -> list[Entry]:
        """What has to be told before anything else: a half line, a file that changed, a file that
        begins."""
        self._look_for_change()
        if self._change is not None:
            return [self._change]
        if self._half:
            digest = sha256(self._half).hexdigest()
            return [self._line(TORN, bytes=len(self._half), sha256=digest)]
        return [] if self._size else [self._line(BEGIN, why=self._why)]

    def _look_for_change(self) -> None:
        found_bytes = os.fstat(self._fd).st_size
        if found_bytes == self._size:
            return
        told = {"expected_bytes": self._size, "found_bytes": found_bytes}
        self._size, self._half, self._needs_newline = found_bytes, b"", False
        if found_bytes:
            self._needs_newline = os.pread(self._fd, 1, found_bytes - 1) != b"\n"
            self._change = self._line("size_changed", **told)
        else:
            self._change = self._line(BEGIN, why="truncated", **told)

    def _line(self, action: str, **more: object) -> Entry:
        ts = utc_timestamp(self._clock.wall())
        return {"ts": ts, "event": "audit", "action": action, **more}

    def _put(self, entries: Sequence[Entry]) -> None:
        head, lines = self.head, []
        for entry in entries:
            line, head = sealed(entry, head, self._key)
            lines.append(line)
        newline = b"\n" if self._half or self._needs_newline else b""
        data = memoryview(newline + b"".join(lines))
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, data[written:])
            os.fsync(self._fd)
        except OSError:
            self._take_back()
            raise
        self.head = head
        self._size += len(data)
        self._half, self._needs_newline, self._change = b"", False, None
        self._keep_head()

    def _take_back(self) -> None:
        """What a full disk left of lines that were not written. A file that only grows keeps it,
        and is looked at again before the next line."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._is_known, self.is_unsure = False, True


_AWAY = " Move it away to begin a new file."


def _split(window: bytes) -> tuple[bytes, bytes]:
    """Whole lines, and what stands behind them."""
    end = window.rfind(b"\n") + 1
    return window[:end], window[end:]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
