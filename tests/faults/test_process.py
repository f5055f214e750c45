"""F58 to F61 and F70, and what of other faults only a process shows: it ends, starts, stands still,
and is met by a crowd."""

import resource
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from proxy.cli.exit_codes import DONE
from tests.faults.fault import Fault
from tests.numbered import NumberedTests
from tests.scenarios.asking import control, health_page, kill, metric, wait_for
from tests.scenarios.crowds import Before, Crowd, open_files
from tests.scenarios.processes import (
    ROOT,
    HttpOrigin,
    SidecarProcess,
    bare_environment,
    local_tool,
    policy,
    running,
)
from tests.sidecar_command import TOOLBOOTH

FAULTS = (
    Fault(
        58,
        "SIGTERM under load",
        "`/readyz` is 503 at once, nothing new is taken, what is under way finishes within "
        "`TOOLBOOTH_DRAIN_SECONDS` and is then cut, tunnels too; the exit code is 0.",
        ("ok", "draining"),
        "the listener closes with the signal, without a delay before: a sidecar's one client is "
        "beside it and told by its own end.",
    ),
    Fault(
        59,
        "a second signal while it drains",
        "What is under way is cut at once, with its answer and its record; the exit code is 0.",
        ("draining",),
    ),
    Fault(
        60,
        "SIGKILL under load, and a restart",
        "With a state file every switch that was answered for holds before the first call, and of "
        "budgets at most the last second is forgotten. The file is whole.",
        ("ok", "tool_disabled"),
    ),
    Fault(
        61,
        "a port that is in use",
        "One line names the listener, the address and the variable; exit code 1, and no other port "
        "was opened for anybody.",
    ),
    Fault(
        70,
        "a thousand clients reconnect at once",
        "All are served: the backlog takes them while the process starts or is busy elsewhere.",
        ("ok",),
    ),
)
faults = NumberedTests()
scenario = pytest.mark.scenario

BUSY = "503 busy, told when"


class Gate:
    """An origin's answer that waits until it is told."""

    def __init__(self) -> None:
        self.is_open = threading.Event()

    def __call__(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if path == "/waits":
            self.is_open.wait(30)
        return 200, {}, b"done"


def echo_policy(*origins: HttpOrigin, budget: int = 10**6, top: str = "") -> str:
    """One tool an origin, `tool0` the first."""
    tools = [local_tool(f"tool{n}", "127.0.0.1", one.port) for n, one in enumerate(origins)]
    return policy(*tools, budget=budget, top=top)


def get_from(origin: HttpOrigin, path: str = "/") -> bytes:
    host = f"127.0.0.1:{origin.port}"
    return f"GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def call(sidecar: SidecarProcess, origin: HttpOrigin, path: str = "/") -> requests.Response:
    """On a connection of its own."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(
            f"http://127.0.0.1:{origin.port}{path}", timeout=20,
            proxies={"http": sidecar.proxy_url()},
        )  # fmt: skip


def codes_of(sidecar: SidecarProcess) -> list[str]:
    """Of its records."""
    return [orjson.loads(line)["code"] for line in sidecar.log.read_bytes().splitlines()]


# --- F58 and F59: the end -------------------------------------------------------------------


@faults(
    "F58: SIGTERM with twenty calls under way: all are answered, nothing new is taken", scenario
)
def _drain(folder: Path) -> None:
    gate = Gate()
    with HttpOrigin(gate) as origin, running(folder, echo_policy(origin)) as sidecar:
        sidecar_port = sidecar.ports["proxy"]
        with ThreadPoolExecutor(20) as callers:
            asked = [callers.submit(call, sidecar, origin, "/waits") for _ in range(20)]
            wait_for(lambda: origin.hits["/waits"] == 20)
            assert health_page(sidecar, "/readyz").status_code == 200
            sidecar.process.send_signal(signal.SIGTERM)
            wait_for(lambda: health_page(sidecar, "/readyz").status_code == 503)
            assert health_page(sidecar, "/livez").status_code == 200
            with socket.socket() as late:
                assert late.connect_ex(("127.0.0.1", sidecar_port)) != 0
            assert not any(one.done() for one in asked)
            gate.is_open.set()
            assert [one.result().text for one in asked] == ["done"] * 20
        assert sidecar.process.wait(10) == DONE
        assert codes_of(sidecar) == ["ok"] * 20


@faults("F58: what the grace does not suffice for is cut, calls with an answer, tunnels", scenario)
def _drain_is_over(folder: Path) -> None:
    gate = Gate()
    with (
        HttpOrigin(gate) as origin,
        socket.create_server(("127.0.0.1", 0)) as far_end,
    ):
        port = far_end.getsockname()[1]
        raw = local_tool("raw", "127.0.0.1", port, "tunnel: {raw: true}")
        text = policy(local_tool("echo", "127.0.0.1", origin.port), raw)
        with running(folder, text, TOOLBOOTH_DRAIN_SECONDS="0.5") as sidecar:
            with Crowd(sidecar.ports["proxy"]) as tunnel, Crowd(sidecar.ports["proxy"]) as clients:
                tunnel.join(1, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                other = far_end.accept()[0]
                assert tunnel.answers(5) == {"200": 1}
                clients.join(3, get_from(origin, "/waits"))
                wait_for(lambda: origin.hits["/waits"] == 3)
                sidecar.process.send_signal(signal.SIGTERM)
                assert clients.answers(10) == {"503 draining, told when": 3}
                assert sidecar.process.wait(10) == DONE
                assert read_on(tunnel.sockets[0]) == b""
                assert read_on(other) == b""
                other.close()
            assert sorted(codes_of(sidecar)) == ["draining"] * 4
        gate.is_open.set()


def read_on(one: socket.socket) -> bytes:
    """What comes until the end, however it ends."""
    one.settimeout(5)
    try:
        return one.recv(65_536)
    except ConnectionError:
        return b""


@faults("F59: a second SIGTERM or a SIGINT cuts what is under way at once", scenario)
def _second_signal(folder: Path) -> None:
    for number, second in enumerate((signal.SIGTERM, signal.SIGINT)):
        gate = Gate()
        place = folder / str(number)
        place.mkdir()
        with (
            HttpOrigin(gate) as origin,
            running(place, echo_policy(origin), TOOLBOOTH_DRAIN_SECONDS="600") as sidecar,
            Crowd(sidecar.ports["proxy"]) as clients,
        ):
            clients.join(5, get_from(origin, "/waits"))
            wait_for(lambda met=origin: met.hits["/waits"] == 5)  # type: ignore[misc]
            sidecar.process.send_signal(signal.SIGTERM)
            wait_for(lambda met=sidecar: not_ready(met))  # type: ignore[misc]
            assert sidecar.process.poll() is None
            sidecar.process.send_signal(second)
            assert sidecar.process.wait(10) == DONE
            assert clients.answers(5) == {"503 draining, told when": 5}
            assert codes_of(sidecar) == ["draining"] * 5
            gate.is_open.set()


def not_ready(sidecar: SidecarProcess) -> bool:
    return health_page(sidecar, "/readyz").status_code == 503


# --- F60 and F61: the start -----------------------------------------------------------------


@faults(
    "F60: after SIGKILL under load a switch holds before the first call, and usage stays", scenario
)
def _killed_and_back(folder: Path) -> None:
    state = folder / "state.db"
    with HttpOrigin() as origin, HttpOrigin() as off:
        text = echo_policy(origin, off, budget=40)
        with running(folder, text, TOOLBOOTH_STATE=f"sqlite:{state}") as sidecar:
            for _ in range(5):
                assert call(sidecar, origin).status_code == 200
            assert kill(sidecar, "tool:tool1").ok
            since_s = time.monotonic()
            lag = "toolbooth_state_lag_seconds"
            wait_for(lambda: time.monotonic() - since_s > metric(sidecar, lag))  # it is kept
            with Load(sidecar, origin) as load:
                wait_for(lambda: load.answered > 10)
                sidecar.process.kill()
                sidecar.process.wait(10)
        with closing(sqlite3.connect(state)) as file:
            assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        with running(folder, text, TOOLBOOTH_STATE=f"sqlite:{state}") as sidecar:
            assert call(sidecar, off).json()["code"] == "tool_disabled"
            assert off.hits == {}
            used = control(sidecar, "GET", "/v1/runs/run-1").json()["used"]["tool_calls"]
            assert 5 <= used <= 5 + load.sent


class Load(threading.Thread):
    """One caller until the end of the block, whatever becomes of its sidecar."""

    def __init__(self, sidecar: SidecarProcess, origin: HttpOrigin) -> None:
        super().__init__(daemon=True)
        self._ask: Callable[[], requests.Response] = lambda: call(sidecar, origin)
        self._over = threading.Event()
        self.sent = 0
        self.answered = 0

    def run(self) -> None:
        while not self._over.is_set():
            self.sent += 1
            try:
                self._ask()
            except requests.RequestException:
                return
            self.answered += 1

    def __enter__(self) -> "Load":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(30)


@faults("F61: each port in use is one clear line, and the others were open to nobody", scenario)
def _port_in_use(folder: Path) -> None:
    names = {"PROXY": "proxy", "CONTROL": "control API", "HEALTH": "health port"}
    for variable, name in names.items():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            taken_at = {f"TOOLBOOTH_{variable}_LISTEN": f"127.0.0.1:{port}"}
            done = start(folder, **taken_at)
        assert done.returncode == 1
        assert done.stderr.splitlines() == [
            f"toolbooth: cannot start: The {name} cannot listen on 127.0.0.1:{port}: "
            f"address already in use (TOOLBOOTH_{variable}_LISTEN)."
        ]


def start(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """A sidecar that is not expected to."""
    listens = {f"TOOLBOOTH_{n}_LISTEN": "127.0.0.1:0" for n in ("PROXY", "CONTROL", "HEALTH")}
    (folder / "policy.yaml").write_text(policy(), encoding="utf-8")
    return subprocess.run(
        [*TOOLBOOTH, "run", "--policy", str(folder / "policy.yaml")],
        env={**bare_environment(), **listens, **settings},
        cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip


# --- F62, F64, F69: what only a process shows -----------------------------------------------


@faults("F62: files that run out under a running process, and come back", scenario)
def _files_run_out(folder: Path) -> None:
    with HttpOrigin() as origin, running(folder, echo_policy(origin)) as sidecar:
        before = Before(sidecar)
        with requests.Session() as operator:  # its connection stands
            operator.trust_env = False
            page = f"http://127.0.0.1:{sidecar.ports['health']}/readyz"
            assert operator.get(page, timeout=5).status_code == 200
            soft, hard = resource.prlimit(sidecar.process.pid, resource.RLIMIT_NOFILE)
            for few in (open_files(sidecar) + 5, 1):  # of the second not one is left
                resource.prlimit(sidecar.process.pid, resource.RLIMIT_NOFILE, (few, hard))
                with Crowd(sidecar.ports["proxy"]) as crowd:
                    crowd.join(30, get_from(origin))
                    heard = crowd.answers(0.1)
                    assert heard["closed"] + heard["nothing"] > 15, heard
                    assert set(heard) <= {"200", BUSY, "nothing", "closed"}
                    assert operator.get(page, timeout=5).status_code == 200
                    resource.prlimit(sidecar.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
                    wait_for(lambda: is_served(sidecar, origin), 20)
        before.wait()


def is_served(sidecar: SidecarProcess, origin: HttpOrigin) -> bool:
    try:
        return call(sidecar, origin).ok
    except requests.RequestException:
        return False


@faults("F64: a process that stood still is not alive meanwhile, and says so afterwards", scenario)
def _stood_still(folder: Path) -> None:
    with HttpOrigin() as origin, running(folder, echo_policy(origin)) as sidecar:
        page = f"http://127.0.0.1:{sidecar.ports['health']}/livez"
        assert call(sidecar, origin).ok  # its clock runs: it has gone on since it was ready
        sidecar.process.send_signal(signal.SIGSTOP)
        try:
            with requests.Session() as probe:
                probe.trust_env = False
                with pytest.raises(requests.Timeout):
                    probe.get(page, timeout=2)
        finally:
            sidecar.process.send_signal(signal.SIGCONT)
        assert call(sidecar, origin).ok
        assert health_page(sidecar, "/livez").status_code == 200
        wait_for(lambda: metric(sidecar, "toolbooth_event_loop_lag_max_seconds") > 1)


@faults("F69: with PYTHONOPTIMIZE the sidecar starts, judges and serves as without", scenario)
def _optimized(folder: Path) -> None:
    for level in ("1", "2"):
        place = folder / level
        place.mkdir()
        with (
            HttpOrigin() as origin,
            HttpOrigin() as off,
            running(place, echo_policy(origin, off), PYTHONOPTIMIZE=level) as sidecar,
        ):
            assert call(sidecar, origin).ok
            assert kill(sidecar, "tool:tool1").ok
            assert call(sidecar, off).json()["code"] == "tool_disabled"
            assert control(sidecar, "GET", "/openapi.json").ok
            assert metric(sidecar, "toolbooth_draining") == 0


# --- F70: a crowd -----------------------------------------------------------------------------


@faults("F70: a thousand clients that lose their sidecar are served by the next one", scenario)
def _thundering_restart(folder: Path) -> None:
    with HttpOrigin() as origin, Crowd(0) as crowd:
        text = echo_policy(origin)
        with running(folder, text) as sidecar:
            crowd._port = sidecar.ports["proxy"]
            crowd.join(1_000, get_from(origin))
            assert crowd.answers(10) == {"200": 1_000}
            sidecar.process.kill()
            sidecar.process.wait(10)
        crowd.leave()
        listen = f"127.0.0.1:{crowd._port}"
        with running(folder, text, TOOLBOOTH_PROXY_LISTEN=listen) as sidecar:
            before = Before(sidecar)
            crowd.join(1_000, get_from(origin))
            assert crowd.answers(10) == {"200": 1_000}
            crowd.leave()
            crowd.join(1_000, get_from(origin))  # while it forgets the last thousand
            assert crowd.answers(10) == {"200": 1_000}
            crowd.leave()
            before.wait()
            assert metric(sidecar, "toolbooth_client_connections_refused_total") == 0


@pytest.mark.parametrize("play", faults.params)
def test_fault(play: Callable[[Path], Any], tmp_path: Path) -> None:
    play(tmp_path)
