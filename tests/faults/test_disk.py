"""Disks, logs and the policy's file: F50 to F57."""

import asyncio
import errno
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from proxy.app.reload import Loaded, PolicyKeeper, Tempo
from proxy.policy.compile import load_policy
from proxy.policy.policy import Policy, RedactRule
from proxy.store.audit_check import Checker, lines_of
from proxy.store.audit_file import AuditFile
from proxy.store.audit_log import AuditLog
from proxy.store.sqlite import SqliteStore
from proxy.store.store import Batch, StoreError
from proxy.telemetry.recorder import Recorder
from proxy.telemetry.redact import Redactor
from proxy.telemetry.sinks import DescriptorSink, FileSink
from proxy.telemetry.span_queue import SpanQueue
from proxy.telemetry.spans import SpanView
from tests.conformance.world import END, GET
from tests.fakes.clock import FakeClock
from tests.fakes.waiting import until
from tests.faults.fault import Fault, Run
from tests.faults.world import a_world
from tests.numbered import NumberedTests
from tests.store.values import a_switch
from tests.telemetry.fake_sinks import ScriptedSink
from tests.telemetry.records import make_record
from tests.telemetry.traces import make_trace

FAULTS = (
    Fault(50, "the disk is full",
          "acts of operators that must be in the audit log are refused, kills hold and are written"
          " later, lost lines are counted; half a line is never in front of a whole one, and no"
          " restart is needed"),
    Fault(51, "a log is rotated, removed or read-only under the process",
          "the file is opened anew within a second; an audit log that cannot be is told, and acts"
          " are refused as at F50"),
    Fault(52, "whoever reads standard output has stopped",
          "calls go on (`ok`); records wait in a bounded queue, and what does not fit is counted",
          ("ok",)),
    Fault(53, "the receiver of spans is slow or down",
          "calls go on; spans wait in a bounded queue, and what does not fit is counted",
          deviation="the newest is dropped and not the oldest, so that a trace that was queued"
          " stays whole."),
    Fault(54, "the disk of the audit log hangs",
          "calls go on (`ok`): a thread of its own waits for the disk", ("ok",)),
    Fault(55, "a new policy is invalid, missing, half written or open to all",
          "the last good one stays in force; the API, the log and a metric say why"),
    Fault(56, "a storm of reloads", "many requests become few reloads"),
    Fault(57, "the state file is cut off or is none", "nothing starts, and it is left as it is"),
)  # fmt: skip
faults = NumberedTests()

GOOD = "tools: {allowlist: [a], catalog: {a: {match: [{host: a.example}]}}}\n"
REDACTOR = Redactor(RedactRule())


@faults("F50: a full disk leaves no half line before a whole one in the log of records")
async def _(folder: Path) -> None:
    sink = ScriptedSink(40, OSError(errno.ENOSPC, "No space left on device"))
    recorder = Recorder(sink)
    recorder.start()
    for number in range(3):
        recorder.submit(make_record(number), REDACTOR)
    await until(lambda: recorder.written == 3)
    await asyncio.to_thread(recorder.stop, 5.0)
    assert recorder.sink_errors == 1
    lines = sink.content.splitlines()
    assert [json.loads(line)["call_id"] for line in lines] == ["call-0", "call-1", "call-2"]


@faults("F50: a full disk refuses acts, and the audit log goes on without a restart")
async def _(folder: Path) -> None:
    path, said = folder / "audit.log", list[str]()
    file = AuditFile(path, None, FakeClock())
    log = AuditLog(file, FakeClock(), said.append, lambda _: None, retry_s=0.01)
    log.start()
    await log.require({"event": "admin", "action": "first"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxy.store.audit_file.os.fsync", full)
        with pytest.raises(StoreError):
            await log.require({"event": "admin", "action": "refused"})
        log.note({"event": "admin", "action": "kill"})
        await until(lambda: log.errors >= 2)
    await until(lambda: log.pending == 0)
    await log.require({"event": "admin", "action": "last"})
    assert await asyncio.to_thread(log.stop, 5.0)
    assert len(said) == 2
    checker = Checker(None)
    checker.begin_file(path.name)
    for line in lines_of(path.read_bytes()):
        checker.feed(line)
    checker.end_file()
    assert checker.finish().problems == []
    actions = [json.loads(line)["action"] for line in path.read_bytes().splitlines()]
    assert [one for one in actions if one in ("first", "kill", "last")] == ["first", "kill", "last"]


def full(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _moved(way: str) -> None:
    async def run(folder: Path) -> None:
        path, clock = folder / "calls.log", FakeClock()
        sink = FileSink(str(path), clock)
        sink.write(memoryview(b"old\n"), 0.0)
        path.rename(folder / "calls.log.1") if way == "rotated" else path.unlink()
        clock.advance(1.0)
        assert sink.write(memoryview(b"new\n"), 0.0) == 0  # the writer looks at the generation
        assert sink.write(memoryview(b"new\n"), 0.0) == 4
        assert path.read_bytes() == b"new\n"
        sink.close()

    faults(f"F51: a log of records that is {way} is followed")(run)


_moved("rotated")
_moved("removed")


@faults("F52: calls go on while nobody reads the records, and drops are counted")
async def _(folder: Path) -> None:
    reader, writer = os.pipe()
    recorder = Recorder(DescriptorSink(writer), limit_records=50)
    recorder.start()
    async with a_world(calls=["ok"] * 3) as world:
        report = world.sidecar.booth.report

        def also_blocked(record: object, captured_bytes: int) -> None:
            report(record, captured_bytes)  # type: ignore[arg-type]
            for number in range(400):
                recorder.submit(make_record(number), REDACTOR)

        world.sidecar.booth.report = also_blocked
        for _ in range(3):
            assert b" 200 OK" in await world.ask(GET + END)
    assert recorder.dropped()["queue_full"] > 0
    assert recorder.depth <= 50
    os.close(reader)
    await asyncio.to_thread(recorder.stop, 5.0)
    os.close(writer)


@faults("F53: a receiver of spans that hangs leaves a bounded queue, and drops are counted")
async def _(folder: Path) -> None:
    hangs, came = threading.Event(), threading.Event()

    def receiver(_: Sequence[SpanView]) -> int:
        came.set()
        hangs.wait(10)
        return 0

    queue = SpanQueue(receiver, limit_spans=6, batch_spans=2, delay_s=60)
    queue.start()
    queue.submit(make_trace(1), REDACTOR)
    await until(came.is_set)
    for number in range(2, 100):
        queue.submit(make_trace(number), REDACTOR)
    assert queue.depth <= 6
    assert queue.dropped()["queue_full"] >= 180
    hangs.set()
    await asyncio.to_thread(queue.stop, 5.0)
    assert queue.exported >= 6


@faults("F54: calls go on while the disk of the audit log hangs")
async def _(folder: Path) -> None:
    released, came = threading.Event(), threading.Event()
    file = AuditFile(folder / "audit.log", None, FakeClock())
    log = AuditLog(file, FakeClock(), lambda _: None, lambda _: None, retry_s=0.01)
    sync = os.fsync

    def hanging(descriptor: int) -> None:
        came.set()
        released.wait(10)
        sync(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proxy.store.audit_file.os.fsync", hanging)
        log.start()
        act = asyncio.create_task(log.require({"event": "admin", "action": "slow"}))
        async with a_world(calls=["ok"] * 2) as world:
            await until(came.is_set)
            for _ in range(2):
                assert b" 200 OK" in await world.ask(GET + END)
            assert not act.done()
        released.set()
        await act
    assert await asyncio.to_thread(log.stop, 5.0)


class Desk:
    """A policy's file, its keeper, and what came into force."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "policy.yaml"
        self.path.write_text(GOOD)
        self.adopted: list[Policy] = []
        self.audited: list[dict[str, object]] = []
        self.keeper = PolicyKeeper(
            self.path, {}, Loaded(load_policy(GOOD, env={}), REDACTOR, GOOD.encode()),
            redactor_of=lambda one: Redactor(one.observability.redact),
            adopt=lambda one, _: self.adopted.append(one), clock=FakeClock(),
            audit=self.audited.append, tempo=Tempo(look_every_s=0.005, settle_s=0.002),
        )  # fmt: skip


def _spoiled(title: str, spoil: str) -> None:
    async def run(folder: Path) -> None:
        desk = Desk(folder)
        if spoil == "missing":
            desk.path.unlink()
        elif spoil == "open to all":
            desk.path.write_text(GOOD.replace("a.example", "b.example"))
            desk.path.chmod(0o666)
        else:
            desk.path.write_text(spoil)
        await desk.keeper.reload()
        state = desk.keeper.state
        assert (desk.adopted, state.text) == ([], GOOD)
        assert state.last_error is not None
        assert desk.keeper.results["failed"] == 1
        assert [entry["outcome"] for entry in desk.audited] == ["failed"]
        desk.path.write_text(GOOD.replace("a.example", "c.example"))
        desk.path.chmod(0o600)
        await desk.keeper.reload()
        assert len(desk.adopted) == 1
        assert desk.keeper.state.last_error is None

    faults(title)(run)


_spoiled("F55: an invalid policy is not loaded", "tools: {allowlst: []}\n")
_spoiled("F55: nor half of one", GOOD[: len(GOOD) // 2])
_spoiled("F55: nor an empty one", "")
_spoiled("F55: a missing one changes nothing", "missing")
_spoiled("F55: one that all may write to is not loaded", "open to all")


@faults("F56: fifty requests to reload become few reloads, and the last text is in force")
async def _(folder: Path) -> None:
    desk = Desk(folder)
    watching = asyncio.create_task(desk.keeper.watch())
    for number in range(50):
        desk.path.write_text(GOOD.replace("a.example", f"a{number}.example"))
        desk.keeper.ask()
    await until(lambda: "a49" in desk.keeper.state.text)
    watching.cancel()
    assert 1 <= len(desk.adopted) <= 3


def _broken(title: str, keep_bytes: int, more: bytes) -> None:
    async def run(folder: Path) -> None:
        path = folder / "state.db"
        store = SqliteStore(path)
        store.write(Batch(tuple(a_switch(f"tool:t{number}") for number in range(300))))
        store.close()
        content = path.read_bytes()[:keep_bytes] + more
        path.write_bytes(content)
        with pytest.raises(StoreError):
            SqliteStore(path).load()
        assert path.read_bytes() == content

    faults(title)(run)


_broken("F57: a state file cut in the middle starts nothing", 8192, b"")
_broken("F57: nor one of garbage", 0, b"garbage" * 1000)
_broken("F57: nor an empty one", 0, b"")


@pytest.mark.parametrize("run", faults.params)
async def test_fault(run: Run, tmp_path: Path) -> None:
    await run(tmp_path)
