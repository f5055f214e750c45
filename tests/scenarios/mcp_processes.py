"""Servers and clients of the real MCP SDKs: 2.x from our environment, 1.x from its own."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.scenarios.processes import ROOT, bare_environment

PYTHONS = {"2": sys.executable, "1": str(ROOT / ".venv" / "mcp1" / "bin" / "python")}
HERE = Path(__file__).parent


@contextmanager
def mcp_server(sdk: str, *words: str) -> Iterator[int]:
    """A server of this SDK; gives its port."""
    process = subprocess.Popen(
        [PYTHONS[sdk], str(HERE / "mcp_server.py"), *words],
        env=bare_environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Client:
    """A client process that obeys one order at a time."""

    def __init__(self, sdk: str, mode: str, url: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [PYTHONS[sdk], str(HERE / "mcp_client.py"), url, mode], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._watchdog = threading.Timer(60, self.process.kill)
        self._watchdog.start()

    def order(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        said: dict[str, Any] = json.loads(line)
        return said

    def call(self, name: str, **order: Any) -> dict[str, Any]:
        self.order(do="call", name=name, **order)
        return self.answer()

    def tools(self) -> list[str]:
        self.order(do="list")
        return list(self.answer()["tools"])

    def close(self) -> None:
        self._watchdog.cancel()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        self.process.wait(10)
