"""State in a file, and a process that dies: what is switched off stays off, what is spent stays
spent. Real processes, real SIGKILL."""

import itertools
import os
import resource
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from tests.scenarios.asking import control, kill, wait_for
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

pytestmark = pytest.mark.scenario

ROUNDS = int(os.environ.get("RESTART_ROUNDS", "5"))
LOSS_WINDOW_S = 1.0
_CALLERS = 3


def state_of(folder: Path) -> dict[str, str]:
    return {"TOOLBOOTH_STATE": f"sqlite:{folder / 'state.db'}"}


def call(
    sidecar: SidecarProcess, origin: HttpOrigin, run: str = "run-1", agent: str = "agent-1"
) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(
            f"http://127.0.0.1:{origin.port}/x", proxies={"http": sidecar.proxy_url(run)},
            headers={"X-Agent-Id": agent}, timeout=10,
        )  # fmt: skip


def used_calls(sidecar: SidecarProcess, run: str = "run-1") -> int:
    answer = control(sidecar, "GET", f"/v1/runs/{run}")
    return int(answer.json()["used"]["tool_calls"]) if answer.status_code == 200 else 0


def crash(sidecar: SidecarProcess) -> None:
    sidecar.process.send_signal(signal.SIGKILL)
    sidecar.process.wait(10)


class Load:
    """Threads that call until told to stop. `answered_s`: when each call was answered; `sent`: how
    many were begun; `let_through`: answers that a killed tool must not give."""

    def __init__(self, sidecar: SidecarProcess, origin: HttpOrigin, killed: HttpOrigin) -> None:
        self.answered_s: list[float] = []
        self.sent = itertools.count()
        self.is_over = threading.Event()
        work = [lambda: self._call(sidecar, origin)] * _CALLERS + [
            lambda: self._probe(sidecar, killed)
        ]
        self._threads = [threading.Thread(target=self._repeat, args=(one,)) for one in work]
        for thread in self._threads:
            thread.start()

    def _repeat(self, work: Callable[[], None]) -> None:
        while not self.is_over.is_set():
            try:
                work()
            except requests.RequestException:
                time.sleep(0.002)  # it has been killed

    def _call(self, sidecar: SidecarProcess, origin: HttpOrigin) -> None:
        next(self.sent)
        if call(sidecar, origin).status_code == 200:
            self.answered_s.append(time.monotonic())

    def _probe(self, sidecar: SidecarProcess, killed: HttpOrigin) -> None:
        call(sidecar, killed, run="prober")

    def stop(self) -> None:
        self.is_over.set()
        for thread in self._threads:
            thread.join(15)


@contextmanager
def two_origins() -> Iterator[tuple[HttpOrigin, HttpOrigin, str]]:
    """A tool that goes on, one that is killed, and the policy of both."""
    with HttpOrigin() as echo, HttpOrigin() as killed:
        tools = [
            local_tool("echo", "127.0.0.1", echo.port),
            local_tool("killed", "127.0.0.1", killed.port),
        ]
        yield echo, killed, policy(*tools, budget=1_000_000)


class Life(NamedTuple):
    """One life of a sidecar under load. `used` before it began; `answered_s` and `crashed_s` on one
    clock."""

    used: int
    sent: int
    answered_s: list[float]
    crashed_s: float

    def lost_s(self, used_after: int) -> float:
        """How old the oldest answered call is that the next life does not know. Calls that were
        under way are known before they are answered, hence the spare ones."""
        kept = max(0, used_after - self.used - _CALLERS)
        lost = sorted(self.answered_s)[kept + _CALLERS :]
        return self.crashed_s - lost[0] if lost else 0.0


def live_and_crash(
    sidecar: SidecarProcess, echo: HttpOrigin, killed: HttpOrigin, for_s: float, key: str
) -> Life:
    """Load, one order in the middle of it, and SIGKILL the moment it is answered."""
    used = used_calls(sidecar)
    load = Load(sidecar, echo, killed)
    time.sleep(for_s)
    assert kill(sidecar, key).status_code == 200
    crash(sidecar)
    crashed_s = time.monotonic()
    load.stop()
    return Life(used, next(load.sent), load.answered_s, crashed_s)


def test_crashes_under_load_forget_no_switch_and_a_second_of_calls_at_most(tmp_path: Path) -> None:
    """SIGKILL at some moment, again and again. No call to the killed tool arrives from the first
    restart on; every switch that was answered for is there; what the run used in the second before
    a crash may be forgotten, anything older is not, and nothing is made up."""
    orders = ["tool:killed"]
    lost_s = []
    with two_origins() as (echo, killed, text):
        with running(tmp_path, text, **state_of(tmp_path)) as sidecar:
            assert call(sidecar, killed).status_code == 200
            assert kill(sidecar, orders[0]).status_code == 200
            life = live_and_crash(sidecar, echo, killed, 0.3, "run:another")
            orders.append("run:another")
        hits = killed.hits.total()
        for number in range(ROUNDS):
            with running(tmp_path, text, **state_of(tmp_path)) as sidecar:
                lost_s.append(life.lost_s(used_calls(sidecar)))
                assert used_calls(sidecar) <= life.used + life.sent + 1
                listed = control(sidecar, "GET", "/v1/switches").json()["switches"]
                assert set(orders) <= {switch["key"] for switch in listed}
                orders.append(f"run:extra-{number}")
                for_s = LOSS_WINDOW_S + 0.1 + 0.067 * (number % 5)
                life = live_and_crash(sidecar, echo, killed, for_s, orders[-1])
            assert len(life.answered_s) > 10
            assert killed.hits.total() == hits
    assert max(lost_s) < LOSS_WINDOW_S
    assert len(orders) == ROUNDS + 2


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_half_used_run_goes_on_with_its_other_half(tmp_path: Path, end: signal.Signals) -> None:
    """Of twelve calls five are used a second before the end: seven more, in one life or two."""
    with HttpOrigin() as origin:
        text = policy(local_tool("echo", "127.0.0.1", origin.port), budget=12)
        with running(tmp_path, text, **state_of(tmp_path)) as sidecar:
            for _ in range(5):
                assert call(sidecar, origin).status_code == 200
            if end is signal.SIGKILL:
                time.sleep(LOSS_WINDOW_S)
            sidecar.process.send_signal(end)
            sidecar.process.wait(10)
        with running(tmp_path, text, **state_of(tmp_path)) as sidecar:
            codes = [call(sidecar, origin).status_code for _ in range(9)]
    assert codes == [200] * 7 + [403] * 2
    assert origin.hits["/x"] == 12


def test_an_agents_hour_goes_on(tmp_path: Path) -> None:
    """Three calls of four before the crash, whatever run they were in."""
    with HttpOrigin() as origin:
        text = policy(
            local_tool("echo", "127.0.0.1", origin.port),
            top="budgets: {per_agent: {max_calls_per_hour: 4}}\n",
        )
        with running(tmp_path, text, **state_of(tmp_path)) as sidecar:
            for number in range(3):
                assert call(sidecar, origin, f"run-{number}").status_code == 200
            time.sleep(LOSS_WINDOW_S)
            crash(sidecar)
        with running(tmp_path, text, **state_of(tmp_path)) as sidecar:
            assert call(sidecar, origin, "run-8").status_code == 200
            assert call(sidecar, origin, "run-9").json()["code"] == "max_calls_per_hour"
            assert call(sidecar, origin, "run-9", "agent-2").status_code == 200


def test_a_runs_clock_goes_on_while_the_process_is_down(tmp_path: Path) -> None:
    with HttpOrigin() as origin:
        text = policy(local_tool("echo", "127.0.0.1", origin.port))
        settings = {**state_of(tmp_path), "AGENT_MAX_SECONDS": "2"}
        with running(tmp_path, text, **settings) as sidecar:
            assert call(sidecar, origin).status_code == 200
        time.sleep(2.0)
        with running(tmp_path, text, **settings) as sidecar:
            assert call(sidecar, origin).json()["code"] == "max_seconds"
            assert call(sidecar, origin, "another").status_code == 200


def test_a_stop_under_load_loses_nothing(tmp_path: Path) -> None:
    """SIGTERM while calls go on: what is known afterwards is what the origin has seen."""
    with two_origins() as (echo, killed, text):
        with running(tmp_path, text, **state_of(tmp_path)) as sidecar:
            load = Load(sidecar, echo, killed)
            time.sleep(0.5)
            sidecar.process.send_signal(signal.SIGTERM)
            assert sidecar.process.wait(10) == 0
            load.stop()
        with running(tmp_path, text, **state_of(tmp_path)) as sidecar:
            assert len(load.answered_s) > 10
            assert used_calls(sidecar) == echo.hits.total()
            assert used_calls(sidecar, "prober") == killed.hits.total()


def start_refused(folder: Path, **settings: str) -> list[str]:
    """What a sidecar says that does not start; exit code 1."""
    listen = ("PROXY", "CONTROL", "HEALTH")
    (folder / "policy.yaml").write_text(policy())
    done = subprocess.run(
        [*TOOLBOOTH, "run", "--policy", str(folder / "policy.yaml")],
        env={**bare_environment(), **{f"TOOLBOOTH_{n}_LISTEN": "127.0.0.1:0" for n in listen},
             **settings},
        cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    return done.stderr.splitlines()


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _scribble(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


def _from_the_future(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()


def _open_up(path: Path) -> None:
    path.chmod(0o666)


def _make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param(_halve, "malformed", id="half of it"),
        pytest.param(_scribble, "not a database", id="scribbled over"),
        pytest.param(_from_the_future, "another version", id="of a newer version"),
        pytest.param(_open_up, "0666", id="writable by all"),
        pytest.param(_make_a_folder, "is not a file", id="a folder"),
    ],
)
def test_a_state_file_that_is_not_right_starts_nothing(
    tmp_path: Path, harm: Callable[[Path], None], words: str
) -> None:
    """One line that names the file, exit code 1; never an empty kill list."""
    with running(tmp_path, policy(), **state_of(tmp_path)) as sidecar:
        assert kill(sidecar, "all").status_code == 200
    harm(tmp_path / "state.db")
    said = start_refused(tmp_path, **state_of(tmp_path))
    assert len(said) == 1
    assert said[0].startswith("toolbooth: cannot start: ")
    assert str(tmp_path / "state.db") in said[0]
    assert words in said[0]


def test_two_processes_do_not_share_a_file(tmp_path: Path) -> None:
    with running(tmp_path, policy(), **state_of(tmp_path)) as sidecar:
        said = start_refused(tmp_path, **state_of(tmp_path))
        assert len(said) == 1
        assert "in use by another process" in said[0]
        assert kill(sidecar, "all").status_code == 200


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux limits another process")
def test_a_disk_that_is_full_does_not_hold_up_a_kill(tmp_path: Path) -> None:
    """The order fails loudly and holds all the same; the sidecar goes on, and mends itself."""
    with HttpOrigin() as origin:
        text = policy(local_tool("echo", "127.0.0.1", origin.port))
        with running(tmp_path, text, **state_of(tmp_path)) as sidecar:
            assert call(sidecar, origin).status_code == 200
            limit = resource.RLIMIT_FSIZE
            resource.prlimit(sidecar.process.pid, limit, (100, resource.RLIM_INFINITY))
            answer = kill(sidecar, "tool:echo")
            assert (answer.status_code, answer.json()["code"]) == (507, "state_unavailable")
            assert "a restart would forget it" in answer.json()["detail"]
            assert call(sidecar, origin).json()["code"] == "tool_disabled"
            health = f"http://127.0.0.1:{sidecar.ports['health']}"
            assert requests.get(f"{health}/readyz", timeout=5).status_code == 200
            time.sleep(0.5)
            page = requests.get(f"{health}/metrics", timeout=5).text
            figures = dict(line.split() for line in page.splitlines() if "state_" in line[:20])
            assert float(figures["toolbooth_state_write_errors_total"]) > 0
            assert float(figures["toolbooth_state_lag_seconds"]) > 0.4
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            resource.prlimit(sidecar.process.pid, limit, unlimited)
            assert kill(sidecar, "tool:echo").status_code == 200
            wait_for(lambda: any("kept again" in line for line in sidecar.said))
            crash(sidecar)
            assert sum("not being kept" in line for line in sidecar.said) == 1
        with running(tmp_path, text, **state_of(tmp_path)) as sidecar:
            assert call(sidecar, origin).json()["code"] == "tool_disabled"


def test_memory_says_that_a_restart_forgets(tmp_path: Path) -> None:
    with running(tmp_path, policy()) as sidecar:
        assert any("a restart forgets them" in line for line in sidecar.said)
