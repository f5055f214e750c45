"""The policy file as it is read while the process runs.

Whoever can write the policy decides what agents may do. A file that anybody may write is therefore
no policy, and neither is one that is only half there.
"""

import os
import stat
from pathlib import Path

from proxy.policy.document import MAX_DOCUMENT_BYTES


class SourceError(Exception):
    """One sentence saying why the file was not taken."""


def read_source(path: Path) -> bytes:
    """The file's content. Blocks on the disk, so not for the event loop.

    Opened once and then asked about itself: the path of a ConfigMap is a symlink that is swapped
    at any moment, so two looks at the path could see two files. Raises `SourceError`, also for an
    empty file, which is what a file being rewritten looks like first.
    """
    try:
        # O_NONBLOCK: opening a FIFO that stands in the way must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - it is open already
            _check_file(os.fstat(descriptor))
            text = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise SourceError(f"it cannot be read: {(error.strerror or '').lower()}") from None
    if len(text) > MAX_DOCUMENT_BYTES:
        raise SourceError("it is larger than 1 MiB")
    if not text.strip():
        raise SourceError("it is empty; to refuse every call, write an empty allowlist")
    return text


def is_open_to_all(path: Path) -> bool:
    """May every user of this system write the file?"""
    try:
        return bool(path.stat().st_mode & stat.S_IWOTH)
    except OSError:
        return False


def _check_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SourceError("it is not a regular file")
    if status.st_mode & stat.S_IWOTH:
        raise SourceError(
            "every user of this system may write it; take that right away (chmod o-w)"
        )
