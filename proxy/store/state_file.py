"""The file itself: whose it is, who may write to it, and that nobody else has it open.

A state file that others may write to is a way to release switches, so it is refused like a
corrupt one. The folder is not judged: volumes of containers are open to all by default, and who
may rename files in it is the operator's to say.
"""

import fcntl
import os
import stat
from pathlib import Path

from proxy.store.store import StoreError

_LEFTOVERS = ("-wal", "-shm", "-journal")


class FileLock:
    """`PATH.lock`, held by this process until `release` or its death, whichever comes first. The
    file stays: removing it would let two processes hold two locks of one name."""

    def __init__(self, path: Path) -> None:
        place = _beside(path, ".lock")
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(place, flags, 0o600)
        except OSError as error:
            raise StoreError(f"{place} cannot be opened: {_reason(error)}.") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            raise StoreError(f"{path} is in use by another process.") from None

    def release(self) -> None:
        """Let the next one have it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def check_state_file(path: Path) -> bool:
    """Is there a state file? False: none, and nothing left of one. Raises `StoreError` if it is
    something else, is empty, cannot be read and written, or may be written by others."""
    info = _stat(path)
    leftovers = [place for suffix in _LEFTOVERS if _stat(place := _beside(path, suffix))]
    if info is None:
        if leftovers:
            raise StoreError(f"{path} is gone, but {leftovers[0].name} is still there.")
        return False
    for place in (path, *leftovers):
        _check_one(place)
    if info.st_size == 0:
        raise StoreError(f"{path} is empty; a state file never is.")
    if not os.access(path, os.R_OK | os.W_OK):
        raise StoreError(f"{path} cannot be read and written by this user.")
    return True


def _check_one(place: Path) -> None:
    info = _stat(place)
    if info is None:
        return
    if not stat.S_ISREG(info.st_mode):
        raise StoreError(f"{place} is not a file.")
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(info.st_mode)
        raise StoreError(f"{place} may be written by others (mode {mode:04o}); chmod 600 it.")


def publish(made: Path, path: Path) -> None:
    """Give a finished file its name, and make the name durable. A crash before leaves no file
    rather than half of one."""
    try:
        made.rename(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {_reason(error)}.") from None


def empty_private_file(place: Path) -> None:
    """A new file of mode 0600, whatever the umask; one left over from a crash is replaced."""
    try:
        place.unlink(missing_ok=True)
        os.close(os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreError(f"{place} cannot be made: {_reason(error)}.") from None


def _stat(place: Path) -> os.stat_result | None:
    """A link is followed: operators mount volumes that way."""
    try:
        return place.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{place} cannot be read: {_reason(error)}.") from None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
