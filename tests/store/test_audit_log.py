"""Entries on their way to the audit log: in order, and by what may become of them."""

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from proxy.store import audit_log
from proxy.store.audit_chain import GENESIS, Entry, Head
from proxy.store.audit_file import AuditFile
from proxy.store.audit_log import CHECKPOINT_ENTRIES, CHECKPOINT_S, AuditLog
from proxy.store.store import StoreError
from tests.fakes.clock import FakeClock


class FakeFile:
    """`fault`: what the next writes fail with. `gate`: cleared, writes hang like a dead disk."""

    def __init__(self) -> None:
        self.head: Head = GENESIS
        self.entries: list[Entry] = []
        self.fault: str | None = None
        self.is_unsure = False
        self.gate = threading.Event()
        self.gate.set()
        self.attempts = 0

    def append(self, entries: Sequence[Entry]) -> None:
        self.attempts += 1
        self.gate.wait(10)
        if self.fault is not None:
            raise StoreError(self.fault)
        self.entries.extend(entries)
        self.head = Head(self.head.seq + len(entries), "h")

    def close(self) -> None:
        pass

    def names(self) -> list[object]:
        """Without checkpoints."""
        return [e.get("n") or e["action"] for e in self.entries if e["action"] != "checkpoint"]


class Bench:
    """A log on a file with faults, and what it said."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.file = FakeFile()
        self.said: list[str] = []
        self.anchored: list[Head] = []
        self.log = AuditLog(
            cast("AuditFile", self.file), self.clock, self.said.append, self.anchored.append,
            retry_s=0.01, limit=20,
        )  # fmt: skip
        self.log.start()

    async def until_written(self) -> None:
        end_s = time.monotonic() + 5
        while self.log.pending and time.monotonic() < end_s:
            await asyncio.sleep(0.002)
        assert not self.log.pending


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.file.gate.set()
    made.log.stop(5)


def act(number: object) -> Entry:
    return {"event": "admin", "action": "run.limit", "n": number, "outcome": "done"}


async def test_what_is_required_is_written_when_it_returns(bench: Bench) -> None:
    await bench.log.require(act(1))
    assert bench.file.names() == [1]
    assert (bench.log.written, bench.log.lost, bench.log.errors) == (1, 0, 0)


async def test_acts_at_once_keep_their_order(bench: Bench) -> None:
    """Whatever their way in."""
    bench.file.gate.clear()
    acts = []
    for number in range(1, 13):
        if number % 3 == 0:
            bench.log.note(act(number))
        elif number % 3 == 1:
            bench.log.offer(act(number))
        else:
            acts.append(asyncio.ensure_future(bench.log.require(act(number))))
            await asyncio.sleep(0)
    bench.file.gate.set()
    await asyncio.gather(*acts)
    assert await bench.log.settle()
    assert bench.file.names() == list(range(1, 13))


async def test_a_disk_that_fails_refuses_keeps_and_drops(bench: Bench) -> None:
    """Acts that can wait, kills, and what anybody can cause; the loss is told in the log."""
    bench.file.fault = "disk full."
    with pytest.raises(StoreError, match="disk full"):
        await bench.log.require(act("refused"))
    bench.log.note(act("kill 1"))
    assert not await bench.log.settle()
    bench.log.offer(act("dropped"))
    bench.log.note(act("kill 2"))
    assert bench.log.pending >= 1
    bench.file.fault = None
    await bench.until_written()
    assert await bench.log.settle()
    assert bench.file.names() == ["kill 1", "kill 2", "lost"]
    assert next(e for e in bench.file.entries if e["action"] == "lost")["count"] == 1
    assert (bench.log.lost, bench.log.pending) == (1, 0)
    assert bench.log.errors >= 2
    assert bench.said == [
        "the audit log is not being written: disk full.",
        "the audit log is being written again",
    ]


async def test_what_is_kept_is_bounded_and_what_is_not_is_counted(bench: Bench) -> None:
    bench.file.fault = "disk full."
    for number in range(100):
        bench.log.note(act(number + 1))
        await asyncio.sleep(0.0005)  # the writer tries meanwhile
    assert bench.log.pending == 20
    assert bench.log.lost == 80
    with pytest.raises(StoreError, match="wait for the disk already"):
        await bench.log.require(act("refused"))
    bench.file.fault = None
    await bench.until_written()
    assert bench.file.names() == [*range(1, 21), "lost"]
    assert bench.log.lost == 80


async def test_what_anybody_can_cause_leaves_room_for_what_was_done(bench: Bench) -> None:
    """Refused attempts while the disk hangs must not push a kill out of the log."""
    bench.file.gate.clear()
    for number in range(100, 200):
        bench.log.offer(act(number))
    bench.log.note(act(1))
    bench.file.gate.set()
    assert await bench.log.settle()
    assert 1 in bench.file.names()
    assert 150 not in bench.file.names()


async def test_what_comes_during_an_attempt_that_fails_stands_behind_it(bench: Bench) -> None:
    """And counts towards the bound together with what is being written."""
    bench.file.gate.clear()
    bench.file.fault = "disk full."
    for number in range(1, 13):
        bench.log.note(act(number))
    while not bench.file.attempts:
        await asyncio.sleep(0.002)
    for number in range(13, 31):
        bench.log.note(act(number))
    assert (bench.log.pending, bench.log.lost) == (20, 10)
    bench.file.gate.set()
    while bench.file.attempts < 2:
        await asyncio.sleep(0.002)
    assert bench.log.pending == 20
    bench.file.fault = None
    await bench.until_written()
    assert bench.file.names() == [*range(1, 21), "lost"]


async def test_a_disk_that_does_not_answer_refuses_in_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it takes after all is told not to have been done; what it never got is not written."""
    monkeypatch.setattr(audit_log, "WAIT_S", 0.05)
    monkeypatch.setattr(audit_log, "SETTLE_S", 0.05)
    bench.file.gate.clear()
    with pytest.raises(StoreError, match="has not answered for"):
        await bench.log.require(act("taken"))
    with pytest.raises(StoreError, match="has not answered for"):
        await bench.log.require(act("never got"))
    assert not await bench.log.settle()
    bench.file.gate.set()
    await bench.until_written()
    assert bench.file.names() == ["taken", "taken"]
    outcomes = [e["outcome"] for e in bench.file.entries if e.get("n")]
    assert outcomes == ["done", "not_done"]


async def test_a_file_that_lets_nothing_be_taken_back_is_told_what_was_not_done(
    bench: Bench,
) -> None:
    bench.file.fault, bench.file.is_unsure = "disk full.", True
    with pytest.raises(StoreError):
        await bench.log.require(act(1))
    bench.file.fault, bench.file.is_unsure = None, False
    await bench.until_written()
    assert [e["outcome"] for e in bench.file.entries if e.get("n")] == ["not_done"]


async def test_whoever_goes_away_has_not_acted(bench: Bench) -> None:
    """A request that is cut off while its entry is being written."""
    bench.file.gate.clear()
    task = asyncio.ensure_future(bench.log.require(act(1)))
    while not bench.file.attempts:
        await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bench.file.gate.set()
    await bench.until_written()
    assert [e["outcome"] for e in bench.file.entries if e.get("n")] == ["done", "not_done"]


async def test_checkpoints_come_at_start_now_and_then_and_at_the_end(bench: Bench) -> None:
    await bench.log.require(act(1))
    for number in range(CHECKPOINT_ENTRIES):
        await bench.log.require(act(number + 2))
    await bench.log.require(act("late"))
    bench.clock.advance(CHECKPOINT_S + 1)
    await bench.log.require(act("later"))
    assert bench.log.stop(5)
    found = [(e["why"], e["count"]) for e in bench.file.entries if e["action"] == "checkpoint"]
    assert found == [("start", 1), ("regular", 100), ("regular", 2), ("stop", 0)]
    assert [head.seq for head in bench.anchored] == [2, 103, 106, 107]


async def test_a_checkpoint_comes_by_itself(bench: Bench) -> None:
    await bench.log.require(act(1))
    await bench.log.require(act(2))
    bench.clock.advance(CHECKPOINT_S + 1)
    end_s = time.monotonic() + 5
    while len(bench.anchored) < 2 and time.monotonic() < end_s:
        await asyncio.sleep(0.002)
    assert len(bench.anchored) == 2


async def test_a_stop_writes_what_is_left_or_says_that_it_did_not(bench: Bench) -> None:
    bench.log.note(act(1))
    assert bench.log.stop(5)
    assert bench.file.names() == [1]
    other = Bench()
    other.file.fault = "disk full."
    other.log.note(act(1))
    assert not other.log.stop(5)
    hanging = Bench()
    hanging.file.gate.clear()
    hanging.log.note(act(1))
    assert not hanging.log.stop(0.05)
    hanging.file.gate.set()
