"""The writer's thread: in order, merged, never lost, never waited for."""

import queue
import threading
import time
from collections.abc import Iterator

import pytest

from proxy.store.store import Batch, StoreError
from proxy.store.writer import Writer
from tests.fakes.clock import FakeClock
from tests.store.memory_store import MemoryStore
from tests.store.values import a_run, a_switch


def put_and_wait(writer: Writer, batch: Batch) -> StoreError | None:
    """What became of the next attempt."""
    outcome: queue.Queue[StoreError | None] = queue.Queue()
    writer.put(batch, outcome.put)
    return outcome.get(timeout=5)


class Bench:
    """A writer on a store with faults, and what it said."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.said: list[str] = []
        self.writer = Writer(self.store, self.clock, self.said.append, retry_s=0.01)
        self.writer.start()

    def put_and_wait(self, batch: Batch) -> StoreError | None:
        return put_and_wait(self.writer, batch)

    def settle(self) -> None:
        """Until nothing waits, or 5 s."""
        end_s = time.monotonic() + 5
        while self.writer._oldest_s() is not None and time.monotonic() < end_s:
            time.sleep(0.002)
        assert self.writer._oldest_s() is None


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.store.gate.set()
    made.writer.stop(5)


def test_what_is_put_is_written(bench: Bench) -> None:
    bench.writer.put(Batch(runs={"run-1": a_run()}))
    bench.settle()
    assert bench.store.runs == {"run-1": a_run()}
    assert bench.writer.stop(5)
    assert bench.writer.has_ended


def test_who_asks_is_told_when_the_switches_are_written(bench: Bench) -> None:
    assert bench.put_and_wait(Batch((a_switch(),))) is None
    assert bench.store.switches == (a_switch(),)


def test_switches_go_first_and_on_their_own(bench: Bench) -> None:
    """A run that cannot be written must not take a kill with it."""
    bench.put_and_wait(Batch((a_switch(),), {"run-1": a_run()}))
    bench.settle()
    first, second = bench.store.writes
    assert (first.switches, first.runs) == ((a_switch(),), {})
    assert (second.switches, second.runs) == (None, {"run-1": a_run()})


def test_while_the_disk_hangs_changes_are_merged_and_nobody_waits(bench: Bench) -> None:
    bench.store.gate.clear()
    bench.writer.put(Batch(runs={"first": a_run("first")}))
    while bench.writer._pending:
        time.sleep(0.001)  # taken, and stuck in the write
    for steps in range(1000):
        bench.writer.put(Batch(runs={"run-1": a_run(steps=steps)}))
    assert len(bench.writer._pending) == 1
    bench.clock.advance(7)
    assert bench.writer.lag_s == 7
    bench.writer.put(Batch(runs={"other": a_run("other")}), since_s=bench.clock.monotonic() - 6)
    assert bench.writer.lag_s == 7  # what is being written is older
    bench.store.gate.set()
    bench.settle()
    assert bench.writer.lag_s == 0
    assert bench.store.runs["run-1"].steps == 999
    assert len(bench.store.writes) == 2


def test_what_is_put_may_be_older_than_the_moment_it_is_put(bench: Bench) -> None:
    """Changes are collected now and then, and a crash forgets the first of them too."""
    bench.store.gate.clear()
    bench.clock.advance(5)
    bench.writer.put(Batch((a_switch(),)))
    assert bench.writer.lag_s == 0
    while bench.writer._pending:
        time.sleep(0.001)  # taken, and stuck in the write
    bench.writer.put(Batch((a_switch("all"),)))
    bench.writer.put(Batch(runs={"run-1": a_run()}), since_s=bench.clock.monotonic() - 2)
    bench.writer.put(Batch(runs={"run-1": a_run()}))
    assert bench.writer.lag_s == 2
    bench.store.gate.set()
    bench.settle()
    assert bench.writer.lag_s == 0


def test_a_failure_is_told_once_counted_and_tried_again(bench: Bench) -> None:
    """What failed stays in line, under what came later."""
    bench.store.fault = "the disk is full."
    bench.writer.put(Batch(runs={"a": a_run("a"), "b": a_run("b")}))
    while bench.writer.errors < 3:
        time.sleep(0.002)
    bench.writer.put(Batch(runs={"b": a_run("b", steps=9)}))
    assert bench.writer.lag_s == 0  # the fake clock has not moved
    bench.clock.advance(3)
    assert bench.writer.lag_s == 3
    bench.store.fault = None
    bench.settle()
    assert {run.run_id: run.steps for run in bench.store.runs.values()} == {"a": 1, "b": 9}
    bench.writer.stop(5)
    assert len(bench.said) == 2
    assert "not being kept" in bench.said[0]
    assert "the disk is full" in bench.said[0]
    assert "again" in bench.said[1]


def test_who_asks_while_it_fails_is_told_so_at_once() -> None:
    """The retry is a minute away; an operator does not wait for it."""
    store, said = MemoryStore(), list[str]()
    writer = Writer(store, FakeClock(), said.append, retry_s=60)
    writer.start()
    store.fault = "the disk is full."
    for _ in range(3):
        assert str(put_and_wait(writer, Batch((a_switch(),)))) == "the disk is full."
    store.fault = None
    assert put_and_wait(writer, Batch((a_switch(),))) is None
    assert writer.stop(5)


def test_stop_writes_what_is_left(bench: Bench) -> None:
    bench.store.gate.clear()
    bench.writer.put(Batch(runs={"a": a_run("a")}))
    bench.writer.put(Batch((a_switch(),), {"b": a_run("b")}))
    threading.Timer(0.05, bench.store.gate.set).start()
    assert bench.writer.stop(5)
    assert (list(bench.store.runs), bench.store.switches) == (["a", "b"], (a_switch(),))


def test_stop_says_when_not_all_was_written(bench: Bench) -> None:
    bench.store.fault = "the disk is full."
    bench.writer.put(Batch(runs={"a": a_run("a")}))
    assert not bench.writer.stop(5)
    assert bench.writer.has_ended


def test_stop_does_not_wait_for_a_dead_disk(bench: Bench) -> None:
    bench.store.gate.clear()
    bench.writer.put(Batch(runs={"a": a_run("a")}))
    assert not bench.writer.stop(0.05)
    assert not bench.writer.has_ended
