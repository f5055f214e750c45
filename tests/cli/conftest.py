"""A control port and a health port on loopback, served by a thread, and a command line."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from aiohttp import web

from proxy.cli import main
from proxy.control.access import Access
from proxy.control.api import control_app
from proxy.control.health import health_app
from tests.control.desk import BoundAt, Desk

TOKEN = "admin-token-ü"  # a token is bytes to HTTP, whatever it is made of


class Result(NamedTuple):
    code: int
    out: str
    err: str


class Sidecar:
    """The operator's side of a sidecar, its loop in a thread. `do` runs a function there."""

    def __init__(self) -> None:
        self.desk = Desk()
        self.readiness = (True, "ready")
        self.ports: list[int] = []
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(10)

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def do(self, act: Callable[[], object]) -> None:
        done = threading.Event()

        def on_loop() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(on_loop)
        assert done.wait(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        access = Access(TOKEN, "viewer-token", BoundAt())
        apps = (
            control_app(self.desk.operator, access),
            health_app(lambda: self.readiness, self.desk.figures),
        )
        runners = [web.AppRunner(app, shutdown_timeout=1) for app in apps]
        for runner in runners:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.ports.append(runner.addresses[0][1])
        self._started.set()
        await self._over.wait()
        for runner in runners:
            await runner.cleanup()


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sidecar]:
    """Running, and named by the environment."""
    sidecar = Sidecar()
    sidecar.start()
    monkeypatch.setenv("TOOLBOOTH_CONTROL_LISTEN", f"127.0.0.1:{sidecar.ports[0]}")
    monkeypatch.setenv("TOOLBOOTH_HEALTH_LISTEN", f"127.0.0.1:{sidecar.ports[1]}")
    monkeypatch.setenv("TOOLBOOTH_CONTROL_TOKEN", TOKEN)
    yield sidecar
    sidecar.stop()


Toolbooth = Callable[..., Result]


@pytest.fixture
def toolbooth(capsys: pytest.CaptureFixture[str]) -> Toolbooth:
    """One command, in this process."""

    def run(*arguments: str) -> Result:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return run
