"""The recorder: every record in the log or counted, no call ever waits, memory stays flat."""

import errno
import json
import os
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from proxy.policy.policy import RedactRule
from proxy.telemetry.captures import CaptureBudget, captured_size
from proxy.telemetry.recorder import Recorder
from proxy.telemetry.redact import Redactor
from proxy.telemetry.sinks import DescriptorSink, FileSink
from tests.fakes.clock import FakeClock
from tests.telemetry.fake_sinks import ScriptedSink
from tests.telemetry.records import make_record, make_sampled

REDACTOR = Redactor(RedactRule())


def ids(content: bytes) -> list[str]:
    """Call ids, line by line; fails on anything but one JSON object a line."""
    assert not content or content.endswith(b"\n")
    return [json.loads(line)["call_id"] for line in content.splitlines()]


def written_by(recorder: Recorder, timeout_s: float = 5.0) -> dict[str, int]:
    """Run the recorder over what was submitted; what got lost."""
    recorder.start()
    recorder.stop(timeout_s)
    return {reason: count for reason, count in recorder.dropped().items() if count}


class TestWriting:
    def test_every_record_is_written_once_and_in_order(self, tmp_path: Path) -> None:
        path = tmp_path / "calls.log"
        recorder = Recorder(FileSink(str(path), FakeClock()))
        for number in range(1000):
            recorder.submit(make_record(number), REDACTOR)
        assert written_by(recorder) == {}
        assert ids(path.read_bytes()) == [f"call-{n}" for n in range(1000)]
        assert (recorder.written, recorder.submitted, recorder.depth) == (1000, 1000, 0)

    def test_records_are_written_while_running(self) -> None:
        reader, writer = os.pipe()
        recorder = Recorder(DescriptorSink(writer))
        recorder.start()
        recorder.submit(make_record(7), REDACTOR)
        assert ids(os.read(reader, 65536)) == ["call-7"]  # blocks until the thread woke up
        recorder.stop(5.0)
        os.close(reader)
        os.close(writer)

    def test_what_is_shown_is_redacted(self) -> None:
        sink = ScriptedSink()
        recorder = Recorder(sink)
        recorder.submit(make_record(path="/x?token=hunter2"), REDACTOR)
        written_by(recorder)
        assert b"hunter2" not in sink.content
        assert b"token=[redacted]" in sink.content

    def test_a_record_that_cannot_be_formatted_costs_itself_only(self) -> None:
        sink = ScriptedSink()
        recorder = Recorder(sink)
        recorder.submit(make_record(1), REDACTOR)
        for broken in (make_record(2), make_sampled(3)):  # formatted at once, and in the thread
            broken.queue_ms = "hunter2"  # type: ignore[assignment]
            recorder.submit(broken, REDACTOR)
        recorder.submit(make_record(4), REDACTOR)
        assert written_by(recorder) == {"format_error": 2}
        assert ids(sink.content) == ["call-1", "call-2", "call-3", "call-4"]
        assert b"hunter2" not in sink.content
        assert json.loads(sink.content.splitlines()[1])["format_error"] is True

    def test_what_is_heavy_is_left_to_the_thread_and_keeps_its_place(self) -> None:
        sink = ScriptedSink()
        recorder = Recorder(sink)
        recorder.submit(make_record(1), REDACTOR)
        recorder.submit(make_sampled(2), REDACTOR)
        recorder.submit(make_record(3, path="/" + "x" * 600), REDACTOR)
        recorder.submit(make_record(4), REDACTOR)
        assert [isinstance(entry, bytes) for entry, _ in recorder._queue] == [
            True, False, False, True,
        ]  # fmt: skip
        assert written_by(recorder) == {}
        assert ids(sink.content) == ["call-1", "call-2", "call-3", "call-4"]

    def test_stopping_closes_the_sink_and_ends_the_thread(self) -> None:
        sink = ScriptedSink()
        recorder = Recorder(sink)
        written_by(recorder)
        assert sink.closed
        assert "recorder" not in [thread.name for thread in threading.enumerate()]

    def test_stopping_what_never_started_counts_the_records(self) -> None:
        recorder = Recorder(ScriptedSink())
        recorder.submit(make_record(), REDACTOR)
        recorder.stop(0.0)
        assert recorder.dropped()["shutdown"] == 1


class TestBrokenSinks:
    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
    def test_a_sink_that_recovers_gets_every_line_whole(self, code: int) -> None:
        sink = ScriptedSink(7, OSError(code, "no"), OSError(code, "no"), 3)
        recorder = Recorder(sink)
        for number in range(3):
            recorder.submit(make_record(number), REDACTOR)
        assert written_by(recorder) == {}
        assert ids(sink.content) == ["call-0", "call-1", "call-2"]
        assert recorder.sink_errors == 2

    def test_a_reader_that_went_away_costs_the_lines_and_is_tried_again(self) -> None:
        sink = ScriptedSink(OSError(errno.EPIPE, "gone"))
        recorder = Recorder(sink)
        for number in range(257):  # a write holds 256
            recorder.submit(make_record(number), REDACTOR)
        assert written_by(recorder) == {"sink_closed": 256}
        assert ids(sink.content) == ["call-256"]

    def test_a_line_cut_by_rotation_is_counted(self) -> None:
        sink = ScriptedSink(7, "rotated")
        recorder = Recorder(sink)
        recorder.submit(make_record(1), REDACTOR)
        recorder.submit(make_record(2), REDACTOR)
        assert written_by(recorder) == {"rotated": 1}
        assert ids(bytes(sink.files[1])) == ["call-2"]

    def test_a_full_disk_at_the_end_is_waited_for_no_longer_than_told(self) -> None:
        sink = ScriptedSink(*[OSError(errno.ENOSPC, "no")] * 10_000)
        recorder = Recorder(sink)
        recorder.submit(make_record(), REDACTOR)
        start = time.perf_counter()
        assert written_by(recorder, 0.2) == {"shutdown": 1}
        assert time.perf_counter() - start < 1.0
        assert recorder.sink_errors < 20  # it did not spin


class TestBounds:
    def test_records_beyond_the_limit_are_dropped_and_counted(self) -> None:
        sink = ScriptedSink()
        recorder = Recorder(sink, limit_records=3)
        for number in range(5):
            recorder.submit(make_record(number), REDACTOR)
        assert recorder.depth == 3
        assert written_by(recorder) == {"queue_full": 2}
        assert ids(sink.content) == ["call-0", "call-1", "call-2"]

    def test_long_paths_count_too(self) -> None:
        recorder = Recorder(ScriptedSink(), limit_bytes=10_000)
        for number in range(3):
            recorder.submit(make_record(number, path="/" + "x" * 6000), REDACTOR)
        assert written_by(recorder) == {"queue_bytes": 2}

    def test_what_was_written_makes_room(self) -> None:
        reader, writer = os.pipe()
        recorder = Recorder(DescriptorSink(writer), limit_bytes=2000)  # room for one
        recorder.start()
        for number in range(5):
            recorder.submit(make_record(number), REDACTOR)
            assert ids(os.read(reader, 65536)) == [f"call-{number}"]
        recorder.stop(5.0)
        assert sum(recorder.dropped().values()) == 0
        os.close(reader)
        os.close(writer)

    def test_bodies_go_before_records(self) -> None:
        sink = ScriptedSink()
        need = captured_size(make_sampled())
        recorder = Recorder(sink, CaptureBudget(2 * need))
        for number in range(5):
            recorder.submit(make_sampled(number), REDACTOR)
        assert recorder.captures_dropped == 3
        assert written_by(recorder) == {}
        bodies = ["request" in json.loads(line) for line in sink.content.splitlines()]
        assert bodies == [True, True, False, False, False]
        assert recorder.budget.used_bytes == 0

    def test_what_the_call_took_is_settled_to_what_is_held(self) -> None:
        need = captured_size(make_sampled())
        recorder = Recorder(ScriptedSink(), CaptureBudget(10 * need))
        assert recorder.budget.take(3 * need)
        recorder.submit(make_sampled(), REDACTOR, taken_bytes=3 * need)
        assert recorder.budget.used_bytes == need
        assert recorder.budget.take(10)
        recorder.submit(make_sampled(), REDACTOR, taken_bytes=10)
        assert recorder.budget.used_bytes == 2 * need
        assert recorder.budget.take(7)
        recorder.submit(make_record(), REDACTOR, taken_bytes=7)  # nothing was captured after all
        assert recorder.budget.used_bytes == 2 * need
        written_by(recorder)
        assert recorder.budget.used_bytes == 0

    def test_a_dropped_record_gives_its_memory_back(self) -> None:
        recorder = Recorder(ScriptedSink(), limit_records=0)
        assert recorder.budget.take(500)
        recorder.submit(make_sampled(), REDACTOR, taken_bytes=500)
        assert recorder.budget.used_bytes == 0

    def test_a_call_whose_bodies_do_not_fit_gives_back_what_it_took(self) -> None:
        recorder = Recorder(ScriptedSink(), CaptureBudget(100))
        assert recorder.budget.take(100)
        recorder.submit(make_sampled(), REDACTOR, taken_bytes=100)
        assert (recorder.budget.used_bytes, recorder.captures_dropped) == (0, 1)


class TestBlockedSink:
    def test_full_tracing_into_a_blocked_pipe_keeps_memory_flat_and_calls_fast(self) -> None:
        reader, writer = os.pipe()  # nobody reads
        recorder = Recorder(DescriptorSink(writer), CaptureBudget(4 << 20))
        recorder.start()
        slow = 0
        tracemalloc.start()
        spent_s = 0.0
        for number in range(100_000):
            record = make_sampled(number)
            start = time.perf_counter()
            recorder.submit(record, REDACTOR)
            took = time.perf_counter() - start
            spent_s += took
            slow += took > 0.05
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 48 << 20  # 4 MiB bodies, 10,000 bare records, a write's worth of lines
        assert recorder.captures_dropped > 5_000
        assert recorder.dropped()["queue_full"] > 80_000
        assert spent_s / 100_000 < 100e-6
        assert slow < 20
        start = time.perf_counter()
        recorder.stop(0.3)
        assert time.perf_counter() - start < 2.0
        lost = sum(recorder.dropped().values())
        assert lost + recorder.written == 100_000
        os.close(reader)
        os.close(writer)
