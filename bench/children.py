"""Child processes of a comparison: pinned to a core from their first instruction, and never left
behind."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_STOP_S = 3.0


class Children:
    """Starts programs and ends all of them, whatever happened in between: use with `with`."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_error: object) -> None:
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            for child in self._running:
                # The group outlives its leader where workers are left, so it is always signalled.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal_number)
            ends_at = time.perf_counter() + _STOP_S
            for child in self._running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.1, ends_at - time.perf_counter()))
        self._running.clear()

    def start(
        self, command: Sequence[str], core: int, environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Runs in the scratch folder with an environment of its own (so that no proxy or token of
        the shell leaks in); what it says goes to `said-<pid>` there."""
        with (self._scratch / "said").open("ab") as said:
            child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if environment is None else said,
                stderr=said,
                cwd=self._scratch,
                env={"PATH": os.defpath, "HOME": str(self._scratch), **(environment or {})},
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, {core}),
            )
        self._running.append(child)
        return child

    def said(self) -> str:
        """The last of what the programs wrote."""
        return (self._scratch / "said").read_text(errors="replace")[-2000:]
