"""Child processes of a comparison: pinned to a core from their first instruction, never left over.

Each gets an environment of its own, so that no proxy setting or token of the shell leaks in.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_STOP_S = 3.0
_SAID = "said.log"


class ChildError(Exception):
    """A child did not start, or did not do what it was for."""


class Children:
    """Starts programs in `scratch` and ends all of them when its `with` block is left, however."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_error: object) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            for child in self._running:
                # A group outlives its leader while it has workers left, so it is always signalled.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, number)
            give_up_at = time.perf_counter() + _STOP_S
            for child in self._running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(max(0.1, give_up_at - time.perf_counter()))
        self._running.clear()

    def start(self, command: Sequence[str], core: int, environment: Mapping[str, str]) -> int:
        """Starts a server; returns its process id."""
        with self._said_file() as said:
            return self._spawn(command, core, environment, said, said).pid

    def start_announced(self, command: Sequence[str], core: int) -> int:
        """Starts a server that prints its port as its first line; returns the port."""
        with self._said_file() as said:
            child = self._spawn(command, core, {}, subprocess.PIPE, said)
        line = child.stdout.readline() if child.stdout else b""
        if not line.strip().isdigit():
            raise ChildError(f"{command} did not start:\n{self.said()}")
        return int(line)

    def answer_of(self, command: Sequence[str], core: int, timeout_s: float) -> dict[str, Any]:
        """Runs a program to its end; returns the JSON object it printed."""
        with self._said_file() as said:
            child = self._spawn(command, core, {}, subprocess.PIPE, said)
        try:
            output, _ = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise ChildError(f"{command} took more than {timeout_s} s") from None
        self._running.remove(child)
        if child.returncode != 0:
            raise ChildError(f"{command} failed:\n{self.said()}")
        answer: dict[str, Any] = json.loads(output)
        return answer

    def require_alive(self, pid: int) -> None:
        """Raises `ChildError` with its last words if the program has ended."""
        child = next(child for child in self._running if child.pid == pid)
        if child.poll() is not None:
            raise ChildError(f"{child.args!r} ended with {child.returncode}:\n{self.said()}")

    def said(self) -> str:
        """The end of what the programs have written, errors above all."""
        return (self._scratch / _SAID).read_text(errors="replace")[-3000:]

    def _said_file(self) -> IO[bytes]:
        return (self._scratch / _SAID).open("ab")

    def _spawn(
        self,
        command: Sequence[str],
        core: int,
        environment: Mapping[str, str],
        stdout: int | IO[bytes],
        stderr: IO[bytes],
    ) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=self._scratch,
            env={"PATH": os.defpath, "HOME": str(self._scratch), **environment},
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        self._running.append(child)
        return child
