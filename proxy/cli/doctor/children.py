"""Runs one client as a child with the container's own environment, bounded in time and output."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from proxy.telemetry.visible import visible_line

_MOST_BYTES = 64 * 1024  # read of what a child said
_LONGEST_LINE = 300
_USERINFO = re.compile(r"//[^/@\s]*@")
_CANNOT_RUN = 127


class Outcome(NamedTuple):
    """How it ended. `code` None: it was not done in time. `said` is the first line it printed,
    `error` the last line of its complaints without credentials."""

    code: int | None
    said: str
    error: str


def run(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, timeout_s: float
) -> Outcome:
    """Start it in a group of its own and wait; what is late is killed with all its children."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            child = subprocess.Popen(  # noqa: S603 - the container's own programs are what is tried
                command, env=environment, cwd=folder, stdin=subprocess.DEVNULL, stdout=out,
                stderr=err, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            return Outcome(_CANNOT_RUN, "", f"It cannot be run: {error.strerror}.")
        try:
            code: int | None = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(child)
        said, complaints = _lines(out, is_tail=False), _lines(err, is_tail=True)
        return Outcome(code, said[0] if said else "", complaints[-1] if complaints else "")


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of the group; the child itself may be long gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _lines(file: IO[bytes], *, is_tail: bool) -> list[str]:
    """What is not blank of the first or last bytes."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _MOST_BYTES) if is_tail else 0)
    text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    return [_clean(line) for line in text.splitlines() if line.strip()]


def _clean(line: str) -> str:
    return visible_line(_USERINFO.sub("//***@", line.strip())[:_LONGEST_LINE])
