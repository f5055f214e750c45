"""What keeping state costs, call by call and at start: `python -m bench.state`."""

import tempfile
import time
from pathlib import Path

from proxy.guards.budget import Ledger, Reservation
from proxy.guards.switches import Switches
from proxy.model.call import Caller, Kind
from proxy.model.clock import SystemClock
from proxy.policy.policy import BudgetRule
from proxy.store.journal import Journal
from proxy.store.sqlite import SqliteStore

RULE = BudgetRule(
    max_steps=10**9, max_tool_calls=10**9, max_seconds=10**9, max_spend_micros=10**15,
    max_calls_per_hour=10**9, max_spend_micros_per_day=10**15, max_runs=250_000,
)  # fmt: skip


def callers(count: int) -> list[Caller]:
    return [Caller(f"run-{i}", f"agent-{i}", run_given=True) for i in range(count)]


def call(ledger: Ledger, caller: Caller) -> None:
    held = ledger.reserve(RULE, caller, Kind.TOOL, 1000, None)
    assert isinstance(held, Reservation)
    held.settle(1000)


def per_call(ledger: Ledger, who: list[Caller], journal: Journal | None) -> float:
    """Microseconds for reserve and settle; with a journal, collecting now and then is in it."""
    best_s = float("inf")
    for _ in range(5):
        started_s = time.perf_counter()
        for number in range(100_000):
            call(ledger, who[number % len(who)])
            if journal is not None and number % 2_000 == 0:
                journal._collect()  # noqa: SLF001
        best_s = min(best_s, time.perf_counter() - started_s)
    return best_s * 10


def pure_marking(ledger: Ledger, who: list[Caller]) -> float:
    """Microseconds for reserve and settle while changes are noted and nobody takes them."""
    ledger.watch()
    return per_call(ledger, who, None)


def bench_calls(clock: SystemClock) -> None:
    for runs in (10, 1000):
        who, label = callers(runs), f"reserve+settle, {runs} runs"
        print(f"{label + ', memory':<48}{per_call(Ledger(clock), who, None):8.3f} us")
        print(f"{label + ', noting':<48}{pure_marking(Ledger(clock), who):8.3f} us")
        with tempfile.TemporaryDirectory() as folder:
            ledger = Ledger(clock)
            store = SqliteStore(Path(folder) / "s.db")
            journal = Journal(store, Switches(clock), ledger, clock, print)
            journal.restore(RULE)
            cost_us = per_call(ledger, who, journal)
            print(f"{label + ', written every 2,000 calls':<48}{cost_us:8.3f} us")
            journal.close(30)


def bench_restart(clock: SystemClock, folder: Path) -> None:
    path = folder / "s.db"
    ledger = Ledger(clock)
    journal = Journal(SqliteStore(path), Switches(clock), ledger, clock, print)
    journal.restore(RULE)
    for caller in callers(100_000):
        call(ledger, caller)
    started_s = time.perf_counter()
    journal._collect()  # noqa: SLF001
    print(f"{'one slice of collecting':<48}{(time.perf_counter() - started_s) * 1e3:8.3f} ms")
    started_s = time.perf_counter()
    assert journal.close(60)
    print(f"{'writing 100,000 runs and agents':<48}{time.perf_counter() - started_s:8.3f} s")
    print(f"{'size of the file':<48}{path.stat().st_size / 1e6:8.3f} MB")
    started_s = time.perf_counter()
    store = SqliteStore(path)
    checked_s = time.perf_counter()
    print(f"{'restart: open and check':<48}{checked_s - started_s:8.3f} s")
    journal = Journal(store, Switches(clock), Ledger(clock), clock, print)
    journal.restore(RULE)
    print(f"{'restart: load and put back':<48}{time.perf_counter() - checked_s:8.3f} s")
    journal.close(60)


def main() -> None:
    clock = SystemClock()
    bench_calls(clock)
    with tempfile.TemporaryDirectory() as folder:
        bench_restart(clock, Path(folder))


if __name__ == "__main__":
    main()
