"""Crowds at a sidecar's ports, and the bystanders who must not notice."""

import re
import resource
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from tests.fakes import sockets
from tests.fakes.sockets import reset_when_closed
from tests.scenarios.asking import control, health_page, metric, wait_for
from tests.scenarios.processes import HttpOrigin, SidecarProcess

_EMPTY = ("toolbooth_open_tunnels", "toolbooth_client_connections")


@contextmanager
def many_descriptors() -> Iterator[None]:
    """This process may open as many files as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Connections to one port, from loopback addresses beside ours. `room_bytes`: what the system
    takes in for each before it is read; 0: what it likes."""

    def __init__(self, port: int, room_bytes: int = 0) -> None:
        self._port = port
        self._room_bytes = room_bytes
        self.sockets: list[socket.socket] = []

    def join(self, count: int, says: bytes = b"", *, addresses: int = 1, first: int = 2) -> None:
        """`count` more connections that say the same, from 127.0.0.`first` and the next ones."""
        for number in range(count):
            source = f"127.0.0.{first + number % addresses}"
            one = socket.socket()
            self.sockets.append(one)
            one.settimeout(10)
            if self._room_bytes:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._room_bytes)
            one.bind((source, 0))
            one.connect(("127.0.0.1", self._port))
            if says:
                one.sendall(says)

    def answers(self, seconds: float) -> Counter[str]:
        """What each hears, waiting for it at most so long: `503 busy`, `closed`, or `nothing`."""
        return Counter(_heard(one, seconds) for one in self.sockets)

    def leave(self) -> None:
        """All at once, with resets: a port in TIME_WAIT is of use to nobody."""
        for one in self.sockets:
            reset_when_closed(one)
            one.close()
        self.sockets = []

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def _heard(one: socket.socket, seconds: float) -> str:
    one.settimeout(seconds)
    try:
        head = one.recv(65_536)
    except TimeoutError:
        return "nothing"
    except OSError:
        return "closed"
    found = re.search(rb"^HTTP/1.1 (\d+).*?\r\nToolbooth-Code: (\w+)\r\n", head, re.DOTALL)
    if found is None:
        return head[9:12].decode() or "closed"
    retry = b"\r\nRetry-After: 1\r\n" in head
    return f"{found[1].decode()} {found[2].decode()}" + ", told when" * retry


class Bystanders(threading.Thread):
    """An agent with a kept connection, and somebody at each of the operator's ports, from before a
    crowd comes until it is gone. `failures` must stay empty."""

    def __init__(
        self, sidecar: SidecarProcess, origin: HttpOrigin, path: str = "/bystander"
    ) -> None:
        super().__init__(daemon=True)
        self._sidecar = sidecar
        self._url = f"http://127.0.0.1:{origin.port}{path}"
        self._over = threading.Event()
        self.rounds = 0
        self.failures: list[str] = []
        self._kept = HTTPConnection("127.0.0.1", sidecar.ports["proxy"], timeout=10)
        self._call()

    def run(self) -> None:
        while not self._over.wait(0.03):
            for ask in (self._call, self._ask_health, self._ask_control):
                try:
                    ask()
                except (OSError, HTTPException, AssertionError) as problem:
                    self.failures.append(f"{ask.__name__}: {problem!r}")
            self.rounds += 1

    def _call(self) -> None:
        self._kept.request("GET", self._url)
        answer = self._kept.getresponse()
        assert (answer.status, bool(answer.read())) == (200, True)
        assert self._kept.sock is not None, "the connection was not kept"

    def _ask_health(self) -> None:
        assert health_page(self._sidecar, "/readyz").status_code == 200

    def _ask_control(self) -> None:
        assert control(self._sidecar, "GET", "/v1/switches").status_code == 200

    def __enter__(self) -> "Bystanders":
        self.start()
        return self

    def __exit__(self, failed: object, *_: object) -> None:
        self._over.set()
        self.join(30)
        self._kept.close()
        if failed:
            return
        assert not self.failures, self.failures[:3]
        assert self.rounds > 3, "they hardly got a turn"


class Before:
    """What the sidecar holds while nothing happens, and whether it is back there."""

    def __init__(self, sidecar: SidecarProcess) -> None:
        self._sidecar = sidecar
        self._files = self._own_files()

    def is_back(self, connections: int = 0) -> bool:
        """No tunnel, `connections` clients, and no more open files than they and those whom they
        call take, and one at each port of the operators."""
        held = [metric(self._sidecar, name) for name in _EMPTY]
        return held == [0, connections] and self._own_files() <= self._files + 4 * connections

    def wait(self, seconds: float = 20.0) -> None:
        """Until it is."""
        wait_for(self.is_back, seconds)

    def _own_files(self) -> float:
        """Open files, but for idle connections to upstreams: those are kept on purpose."""
        idle = metric(self._sidecar, 'toolbooth_upstream_connections{state="idle"}')
        return open_files(self._sidecar) - idle


def open_files(sidecar: SidecarProcess) -> int:
    return sockets.open_files(sidecar.process.pid)


def rss_mib(sidecar: SidecarProcess) -> float:
    text = Path(f"/proc/{sidecar.process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def output_of(*command: str) -> str:
    """What a load generator has to say."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr)
