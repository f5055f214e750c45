"""State that is slow, gone, damaged, shared or from another time: F42 to F49.

There is no shared store yet: `redis://` is refused at the start. What is shown here is what holds
for the state there is, a file of SQLite.
"""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from proxy.guards.budget import Ledger, Reservation
from proxy.guards.switches import Switches
from proxy.model.call import Kind
from proxy.model.errors import Refusal
from proxy.policy.policy import BudgetRule
from proxy.store.journal import Journal
from proxy.store.sqlite import SqliteStore
from proxy.store.store import Batch, Store, StoreError
from proxy.store.tables import VERSION
from tests.fakes.clock import FakeClock
from tests.fakes.waiting import until
from tests.faults.fault import Fault, Run
from tests.guards.rules import a_caller
from tests.numbered import NumberedTests
from tests.store.memory_store import MemoryStore
from tests.store.values import a_run, a_switch, an_agent

_NO_REDIS = "there is no Redis store yet, and `redis://` does not start; this is the state file."

FAULTS = (
    Fault(42, "the state cannot be had at the start",
          "nothing starts, and one line names the file and why", deviation=_NO_REDIS),
    Fault(43, "the state goes away under load",
          "calls are judged by what is in memory and wait for nothing; the writer tries again, and"
          " everything is kept once it can", deviation=_NO_REDIS),
    Fault(44, "the state hangs", "as F43: no call waits for the disk", deviation=_NO_REDIS),
    Fault(45, "the state becomes read-only, and writable again",
          "as F43: kill switches hold meanwhile, and nothing is lost but by a crash",
          deviation=_NO_REDIS),
    Fault(46, "a value of a wrong type, garbage, or a newer version in the state",
          "nothing starts: it is never taken for zero", deviation=_NO_REDIS),
    Fault(47, "entries vanish from the state",
          "no other program can delete them while the sidecar runs; a file without its kill list"
          " does not start", deviation=_NO_REDIS),
    Fault(48, "the wall clock differs between one start and the next",
          "an hour and a day give nothing back; time that ran backwards counts as none",
          deviation=_NO_REDIS),
    Fault(49, "no right to the state, or two sidecars on one file",
          "the second is refused with a reason of its own; the first goes on", deviation=_NO_REDIS),
)  # fmt: skip
faults = NumberedTests()

RULE = BudgetRule(
    max_steps=10, max_tool_calls=10, max_seconds=600, max_spend_micros=1000, max_bytes=10_000,
    max_calls_per_hour=3, max_spend_micros_per_day=100, loop_limit=30, run_retention_s=86_400,
)  # fmt: skip


class Life:
    """The guards of one life of a sidecar, and the journal that writes behind them."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.said: list[str] = []
        self.switches, self.ledger = Switches(clock), Ledger(clock)
        self.journal = Journal(
            store, self.switches, self.ledger, clock, self.said.append, retry_s=0.01
        )
        self.journal.restore(RULE)

    def call(self, run: str = "run-1", cost_micros: int = 10) -> Refusal | None:
        place = self.ledger.reserve(RULE, a_caller(run), Kind.TOOL, cost_micros, None)
        if not isinstance(place, Reservation):
            return place
        place.settle(cost_micros, tokens=1)
        return None


def filled(folder: Path) -> Path:
    """A state file with a switch, a run and an agent in it, closed."""
    path = folder / "state.db"
    store = SqliteStore(path)
    store.write(Batch((a_switch(),), {"run-1": a_run()}, {"agent-1": an_agent()}))
    store.close()
    return path


def refusal(path: Path) -> str:
    """Why the file does not open, and that it is left as it is."""
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError) as refused, closing(SqliteStore(path)) as store:
        store.load()
    assert (path.read_bytes() if path.is_file() else b"") == before
    return str(refused.value)


@faults("F42: a file locked by another program starts nothing")
async def _(folder: Path) -> None:
    path = filled(folder)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert "locked" in refusal(path)
    other.close()
    SqliteStore(path).close()


@faults("F42: a folder that is not there starts nothing")
async def _(folder: Path) -> None:
    assert str(folder / "gone") in refusal(folder / "gone" / "state.db")


@faults("F43: a disk that fails costs no call, and all is kept when it is back")
async def _(folder: Path) -> None:
    store = MemoryStore()
    life = Life(store, FakeClock())
    writing = asyncio.create_task(life.journal.run())
    store.fault = "disk I/O error."
    assert life.call() is None
    await until(lambda: len(life.said) == 1)
    assert "disk I/O error" in life.said[0]
    assert life.call() is None
    store.fault = None
    await until(lambda: "run-1" in store.runs and store.runs["run-1"].tool_calls == 2)
    writing.cancel()
    assert life.journal.close(5)


@faults("F44: a call does not wait for a disk that hangs")
async def _(folder: Path) -> None:
    store = MemoryStore()
    store.gate.clear()
    life = Life(store, FakeClock())
    writing = asyncio.create_task(life.journal.run())
    assert [life.call() for _ in range(3)] == [None] * 3
    over = life.call()
    assert over is not None
    assert over.reason == "max_calls_per_hour"
    assert store.runs == {}  # every decision above was taken while the disk hung
    writing.cancel()
    store.gate.set()
    assert life.journal.close(5)
    assert store.runs["run-1"].tool_calls == 3


@faults("F45: a switch holds while the file is read-only, and is kept afterwards")
async def _(folder: Path) -> None:
    path = folder / "state.db"
    store = SqliteStore(path)
    store._connection.execute("PRAGMA query_only = 1")
    with pytest.raises(StoreError, match="readonly"):
        store.write(Batch((a_switch(),)))
    store._connection.execute("PRAGMA query_only = 0")
    store.write(Batch((a_switch(),)))
    store.close()
    again = SqliteStore(path)
    assert again.load().switches == (a_switch(),)
    again.close()


def _spoiled(title: str, sql: str, words: str) -> None:
    async def run(folder: Path) -> None:
        path = filled(folder)
        other = sqlite3.connect(path)
        other.execute("PRAGMA ignore_check_constraints = 1")
        other.execute(sql)
        other.commit()
        other.close()
        assert words in refusal(path)

    faults(title)(run)


_spoiled("F46: a count that is a word", "UPDATE runs SET steps = 'many'", "damaged")
_spoiled("F46: a count below zero", "UPDATE runs SET steps = -1", "damaged")
_spoiled("F46: an end of a switch that is a word", "UPDATE switches SET expires_s = 'x'", "damaged")
_spoiled("F46: garbage for limits", "UPDATE runs SET limits = '{'", "cannot be read")
_spoiled("F46: a newer version", f"PRAGMA user_version = {VERSION + 1}", "another version")
_spoiled("F47: no kill list", "DROP TABLE switches", "switches")


@faults("F47: another program cannot delete a switch under our feet")
async def _(folder: Path) -> None:
    store = SqliteStore(filled(folder))
    other = sqlite3.connect(folder / "state.db", timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("DELETE FROM switches")
    other.close()
    assert store.load().switches == (a_switch(),)
    store.close()


def _jumped(title: str, seconds: float) -> None:
    async def run(folder: Path) -> None:
        path, clock = folder / "state.db", FakeClock()
        first = Life(SqliteStore(path), clock)
        first.switches.engage("tool:a", "bad", "ops")
        assert [first.call(cost_micros=30) for _ in range(3)] == [None] * 3
        assert first.journal.close(5)
        again = Life(SqliteStore(path), FakeClock(5.0, clock.wall() + seconds))
        assert [switch.key for switch in again.switches.active()] == ["tool:a"]
        refused = again.call(cost_micros=1)
        assert refused is not None
        assert refused.reason == "max_calls_per_hour"
        assert again.journal.close(5)

    faults(title)(run)


_jumped("F48: an hour is not given back by a clock set back a day", -86_400)
_jumped("F48: nor by one set back a year", -365 * 86_400)
_jumped("F48: nor by a minute of being down", 60)


@faults("F49: two sidecars do not share one file")
async def _(folder: Path) -> None:
    first = SqliteStore(filled(folder))
    assert "in use by another process" in refusal(folder / "state.db")
    first.write(Batch((a_switch("all"),)))
    first.close()
    second = SqliteStore(folder / "state.db")
    assert second.load().switches == (a_switch("all"),)
    second.close()


@faults("F49: a file that others may write to is refused")
async def _(folder: Path) -> None:
    path = filled(folder)
    path.chmod(0o666)
    assert "0666" in refusal(path)


@pytest.mark.parametrize("run", faults.params)
async def test_fault(run: Run, tmp_path: Path) -> None:
    await run(tmp_path)
