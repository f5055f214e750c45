"""Guards, journal and store together: what is forgotten, and what is not."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proxy.guards.budget import Ledger, Reservation
from proxy.guards.switches import Switch, Switches
from proxy.model.call import Kind
from proxy.policy.policy import BudgetRule
from proxy.store import journal as module
from proxy.store.journal import Journal
from proxy.store.sqlite import SqliteStore
from proxy.store.store import Batch, Store, StoreError
from tests.fakes.clock import FakeClock
from tests.guards.rules import a_caller
from tests.store.memory_store import MemoryStore
from tests.store.values import a_switch

RULE = BudgetRule(
    max_steps=10, max_tool_calls=10, max_seconds=600, max_spend_micros=1000, max_bytes=10_000,
    max_calls_per_hour=40, max_spend_micros_per_day=3000, loop_limit=3, run_retention_s=86_400,
)  # fmt: skip


class Process(NamedTuple):
    """The state of one life of a sidecar."""

    clock: FakeClock
    switches: Switches
    ledger: Ledger
    journal: Journal
    said: list[str]

    def call(self, run: str = "run-1", cost_micros: int = 10, loop_key: int | None = None) -> bool:
        """Reserve and settle; False if refused."""
        place = self.ledger.reserve(RULE, a_caller(run), Kind.TOOL, cost_micros, loop_key)
        if isinstance(place, Reservation):
            place.settle(cost_micros, tokens=2)
        return isinstance(place, Reservation)


def start(store: Store, clock: FakeClock) -> Process:
    said: list[str] = []
    switches, ledger = Switches(clock), Ledger(clock)
    journal = Journal(store, switches, ledger, clock, said.append, retry_s=0.01)
    journal.restore(RULE)
    return Process(clock, switches, ledger, journal, said)


class LeftOpen:
    """A store that the next process can have without anybody having closed it."""

    def __init__(self, store: MemoryStore) -> None:
        self.load, self.write = store.load, store.write

    def close(self) -> None:
        pass


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def restarted(process: Process, store: MemoryStore, down_s: float = 0.0) -> Process:
    """Closed and started again, on a clock whose monotonic seconds mean something else."""
    assert process.journal.close(5)
    clock = FakeClock(monotonic=5.0, wall=process.clock.wall() + down_s)
    return start(LeftOpen(store), clock)


def test_a_restart_forgets_nothing_of_a_run(store: MemoryStore) -> None:
    process = start(LeftOpen(store), FakeClock())
    for _ in range(3):
        assert process.call()
    place = process.ledger.reserve(RULE, a_caller("run-1"), Kind.MODEL, 100, None)
    assert isinstance(place, Reservation)
    place.add_bytes(77)
    process.clock.advance(20)
    again = restarted(process, store, down_s=30)
    view = again.ledger.run_view(RULE, "run-1")
    assert view is not None
    assert view.used == (1, 3, 50.0, 130, 6, 77)  # what was held is spent; time down counts
    assert (view.idle_s, view.in_flight) == (50.0, 0)
    again.journal.close(5)


def test_limits_of_a_run_and_its_end_survive(store: MemoryStore) -> None:
    process = start(LeftOpen(store), FakeClock())
    process.call()
    process.ledger.limit("run-1", {"max_tool_calls": 2, "max_seconds": 5000.5})
    for _ in range(4):
        process.call("looping", loop_key=7)
    again = restarted(process, store)
    assert again.call()
    assert not again.call()
    assert not again.call("looping")
    view = again.ledger.run_view(RULE, "looping")
    assert view is not None
    assert (view.looped, view.refusals) == (True, 2)
    again.journal.close(5)


def test_the_clock_of_a_run_goes_on_while_the_process_is_down(store: MemoryStore) -> None:
    """`max_seconds` is 600: 300 before, 299 or 300 down."""
    process = start(LeftOpen(store), FakeClock())
    process.call()
    process.clock.advance(300)
    process.call()
    again = restarted(process, store, down_s=299)
    assert again.call()
    again = restarted(again, store, down_s=1)
    assert not again.call()
    again.journal.close(5)


@pytest.mark.parametrize(
    ("jump_s", "used_s"),
    [
        pytest.param(-3600.0, 300.0, id="set back: no second is given back"),
        pytest.param(3600.0, 3900.0, id="set ahead: counts as time down"),
    ],
)
def test_a_wall_clock_that_jumps(store: MemoryStore, jump_s: float, used_s: float) -> None:
    process = start(LeftOpen(store), FakeClock())
    process.call()
    process.clock.advance(300)
    process.call()
    again = restarted(process, store, down_s=jump_s)
    view = again.ledger.run_view(RULE, "run-1")
    assert view is not None
    assert view.used.seconds == used_s
    again.journal.close(5)


def test_an_agents_windows_survive(store: MemoryStore) -> None:
    process = start(LeftOpen(store), FakeClock())
    for i in range(40):
        assert process.call(f"run-{i}", cost_micros=1)
    again = restarted(process, store, down_s=3599)
    assert not again.call("new")
    again = restarted(again, store, down_s=1)
    assert again.call("new")
    again.journal.close(5)


def test_a_day_that_is_still_to_come_does_not_hold_an_agent_until_then(store: MemoryStore) -> None:
    """Spent under a wall clock a year ahead: counts for today, and tomorrow is a new day."""
    process = start(LeftOpen(store), FakeClock(wall=1_831_536_000.0))
    for run in "abc":
        process.call(run, cost_micros=1000)
    again = restarted(process, store, down_s=-365 * 86_400)
    assert not again.call("d", cost_micros=1)
    again.clock.advance(86_400)
    assert again.call("d", cost_micros=1)
    again.journal.close(5)


def test_what_is_over_is_not_restored_and_leaves_the_store(store: MemoryStore) -> None:
    process = start(LeftOpen(store), FakeClock())
    process.call()
    process.switches.engage("all", "soon over", "ops", ttl_s=60)
    again = restarted(process, store, down_s=2 * 86_400)
    assert again.ledger.run_view(RULE, "run-1") is None
    assert again.switches.active() == []
    assert again.journal.close(5)
    assert (store.runs, store.agents, store.switches) == ({}, {}, ())


def test_forgotten_runs_leave_the_store(store: MemoryStore) -> None:
    """By the operator; a late call of the forgotten run does not bring it back."""
    process = start(LeftOpen(store), FakeClock())
    place = process.ledger.reserve(RULE, a_caller("run-1"), Kind.TOOL, 10, None)
    assert isinstance(place, Reservation)
    process.call("begun anew")
    process.journal._collect()  # both are in the store, or on their way
    process.ledger.forget("run-1")
    place.add_bytes(10)
    place.settle(10)
    process.ledger.forget("begun anew")
    process.call("begun anew")
    assert process.journal.close(5)
    assert {run_id: run.tool_calls for run_id, run in store.runs.items()} == {"begun anew": 1}


def test_runs_beyond_the_table_come_back_all_the_same(store: MemoryStore) -> None:
    """A smaller `max_runs` refuses new runs; it forgets none."""
    process = start(LeftOpen(store), FakeClock())
    for i in range(5):
        process.call(f"run-{i}")
    process.journal.close(5)
    ledger = Ledger(FakeClock())
    ledger.restore(BudgetRule(max_runs=2), store.load().runs, ())
    assert len(ledger.runs_table) == 5
    refusal = ledger.reserve(BudgetRule(max_runs=2), a_caller("new"), Kind.TOOL, 0, None)
    assert not isinstance(refusal, Reservation)


def test_the_least_recently_called_is_the_first_again(store: MemoryStore) -> None:
    """Or runs that are over would hide behind one that is not, and the table would fill."""
    process = start(LeftOpen(store), FakeClock())
    for run in "abc":
        process.call(run)
        process.clock.advance(1)
    process.call("a")
    again = restarted(process, store)
    assert [view.run_id for view in again.ledger.runs(RULE, 9)] == ["a", "c", "b"]
    again.journal.close(5)


async def test_keep_returns_once_the_switch_is_written(store: MemoryStore) -> None:
    process = start(store, FakeClock())
    switch = process.switches.engage("tool:search.read", "bad", "ops")
    await process.journal.keep()
    assert list(store.switches) == [switch]
    process.switches.release("tool:search.read")
    await process.journal.keep()
    assert len(store.switches) == 0
    process.journal.close(5)


async def test_keep_fails_loudly_and_writing_goes_on(store: MemoryStore) -> None:
    process = start(store, FakeClock())
    store.fault = "the disk is full."
    switch = process.switches.engage("all", "bad", "ops")
    with pytest.raises(StoreError, match="full"):
        await process.journal.keep()
    assert process.switches.active() == [switch]
    assert process.journal.write_errors >= 1
    store.fault = None
    assert process.journal.close(5)
    assert store.switches == (switch,)


async def test_keep_does_not_wait_for_ever(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEEP_WAIT_S", 0.02)
    process = start(store, FakeClock())
    store.gate.clear()
    with pytest.raises(StoreError, match="not answered"):
        await process.journal.keep()
    assert not process.journal.close(0.01)
    assert not store.is_closed  # the thread may still be in there
    store.gate.set()


async def test_changes_are_collected_in_the_background(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also more of them than are taken at once, and switches nobody waits for."""
    monkeypatch.setattr(module, "EVERY_S", 0.01)
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    process = start(store, FakeClock())
    task = asyncio.get_running_loop().create_task(process.journal.run())
    for i in range(39):
        process.call(f"run-{i}")
    process.switches.engage("writes", "bad", "ops")
    async with asyncio.timeout(5):
        while len(store.runs) < 39 or not store.switches:
            await asyncio.sleep(0.005)
    writes = len(store.writes)
    await asyncio.sleep(0.05)
    assert len(store.writes) == writes  # nothing changed, nothing is written
    task.cancel()
    process.journal.close(5)


def test_lag_is_what_a_crash_would_forget(store: MemoryStore) -> None:
    """Not written, and not even collected: a journal that stands still is seen."""
    process = start(store, FakeClock())
    process.call()
    process.clock.advance(3)
    assert process.journal.lag_s == 3
    store.gate.clear()
    process.journal._collect()
    process.clock.advance(4)
    assert process.journal.lag_s == 7  # being written is not yet written
    store.gate.set()
    process.journal.close(5)
    assert process.journal.lag_s == 0


def test_a_switch_that_cannot_be_stops_the_start(store: MemoryStore) -> None:
    """Never a shorter kill list."""
    store.write(Batch((a_switch("all"), a_switch("nonsense"))))
    with pytest.raises(StoreError, match="a switch that cannot be"):
        start(store, FakeClock())


def test_policies_in_force_are_remembered(store: MemoryStore) -> None:
    process = start(LeftOpen(store), FakeClock())
    process.journal.saw_policy("v1", b"tools: {}", "file")
    process.clock.advance(9)
    process.journal.saw_policy("v1", b"tools: {}", "file")
    process.journal.saw_policy("v1", b"tools:  {}", "api")
    process.journal.close(5)
    seen = store.load().policies
    assert [(p.version, p.first_seen_s, p.source) for p in seen] == [
        ("v1", 1_800_000_000.0, "file"), ("v1", 1_800_000_009.0, "api"),
    ]  # fmt: skip
    assert len({p.digest for p in seen}) == 2


KEYS = ("all", "writes", "tool:a", "agent:b", "run:c")
RUNS = ("run-1", "run-2", "run-3")


class RestartMachine(RuleBasedStateMachine):
    """Any acts of operators and agents with restarts in between, against guards that never
    restart. Both see the same clock, so they must agree to the last micro."""

    folder: Path

    @initialize()
    def begin(self) -> None:
        self.store = MemoryStore()
        self.life = start(LeftOpen(self.store), FakeClock())
        self.switches, self.ledger = Switches(self.life.clock), Ledger(self.life.clock)
        self.open: list[tuple[Reservation, Reservation]] = []

    @rule(key=st.sampled_from(KEYS), ttl_s=st.none() | st.integers(1, 100))
    def engage(self, key: str, ttl_s: int | None) -> None:
        for switches in (self.switches, self.life.switches):
            switches.engage(key, "reason", "ops", ttl_s)

    @rule(key=st.sampled_from(KEYS))
    def release(self, key: str) -> None:
        assert self.switches.release(key) == self.life.switches.release(key)

    @rule(
        run=st.sampled_from(RUNS), kind=st.sampled_from(Kind), cost_micros=st.integers(0, 300),
        byte_count=st.integers(0, 3000),
    )  # fmt: skip
    def reserve(self, run: str, kind: Kind, cost_micros: int, byte_count: int) -> None:
        caller = a_caller(run)
        model = self.ledger.reserve(RULE, caller, kind, cost_micros, None)
        real = self.life.ledger.reserve(RULE, caller, kind, cost_micros, None)
        assert isinstance(model, Reservation) == isinstance(real, Reservation)
        if isinstance(model, Reservation) and isinstance(real, Reservation):
            assert model.add_bytes(byte_count) == real.add_bytes(byte_count)
            self.open.append((model, real))

    @rule(cost_micros=st.integers(0, 300), is_refund=st.booleans())
    def settle(self, cost_micros: int, is_refund: bool) -> None:
        if not self.open:
            return
        for place in self.open.pop():
            if is_refund:
                place.refund()
            else:
                place.settle(cost_micros, cost_micros)

    @rule(run=st.sampled_from(RUNS))
    def forget(self, run: str) -> None:
        assert self.ledger.forget(run) == self.life.ledger.forget(run)

    @rule(seconds=st.integers(0, 200))
    def advance(self, seconds: int) -> None:
        self.life.clock.advance(seconds)

    @rule()
    def collect(self) -> None:
        self.life.journal._collect()

    @rule(down_s=st.integers(0, 200))
    def restart(self, down_s: int) -> None:
        """What is under way ends first, as in a drain. The model only lives through the time."""
        while self.open:
            self.settle(0, False)
        assert self.life.journal.close(5)
        self.life.clock.advance(down_s)
        self.life = start(LeftOpen(self.store), self.life.clock)

    @invariant()
    def both_know_the_same(self) -> None:
        if not hasattr(self, "life"):
            return
        assert _told(self.switches) == _told(self.life.switches)
        for run in RUNS:
            model, real = self.ledger.run_view(RULE, run), self.life.ledger.run_view(RULE, run)
            assert model == real

    def teardown(self) -> None:
        if hasattr(self, "life"):
            self.life.journal.close(5)


def _told(switches: Switches) -> dict[str, Switch]:
    return {switch.key: switch for switch in switches.active()}


TestRestart = RestartMachine.TestCase
TestRestart.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_the_same_in_a_file(tmp_path: Path) -> None:
    """Journal and state file together, closed and opened again."""
    path = tmp_path / "state.db"
    process = start(SqliteStore(path), FakeClock())
    switch = process.switches.engage("run:run-1", "looks odd", "ops", ttl_s=60)
    process.call()
    assert process.journal.close(5)
    again = start(SqliteStore(path), FakeClock())
    assert again.switches.active() == [switch]
    view = again.ledger.run_view(RULE, "run-1")
    assert view is not None
    assert view.used.tool_calls == 1
    again.journal.close(5)
