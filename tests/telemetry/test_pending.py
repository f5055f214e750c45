"""Half-written lines: finished first, or lost whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.pending import PendingLines
from tests.telemetry.fake_sinks import ScriptedSink


def pending_on(sink: ScriptedSink, *lines: bytes) -> PendingLines:
    pending = PendingLines(sink)
    for line in lines:
        pending.add(line)
    return pending


def test_everything_goes_out_in_one_write() -> None:
    sink = ScriptedSink()
    pending = pending_on(sink, b"one\n", b"two\n")
    assert pending.write(0.0) == (2, 0)
    assert (len(pending), pending.size_bytes, sink.content) == (0, 0, b"one\ntwo\n")


@pytest.mark.parametrize(
    ("taken", "finished"),
    [
        pytest.param(0, 0, id="nothing"),
        pytest.param(3, 0, id="all but the line end"),
        pytest.param(4, 1, id="exactly one line"),
        pytest.param(5, 1, id="one and a bit"),
    ],
)
def test_the_rest_of_a_line_comes_before_the_next(taken: int, finished: int) -> None:
    sink = ScriptedSink(taken)
    pending = pending_on(sink, b"one\n", b"two\n")
    assert pending.write(0.0) == (finished, 0)
    pending.add(b"three\n")
    assert pending.write(0.0) == (3 - finished, 0)
    assert sink.content == b"one\ntwo\nthree\n"


def test_an_error_loses_nothing() -> None:
    sink = ScriptedSink(2, OSError(28, "No space left on device"))
    pending = pending_on(sink, b"one\n")
    pending.write(0.0)
    with pytest.raises(OSError, match="space"):
        pending.write(0.0)
    assert pending.write(0.0) == (1, 0)
    assert sink.content == b"one\n"


def test_half_a_line_is_not_finished_in_another_file() -> None:
    sink = ScriptedSink(2, "rotated")
    pending = pending_on(sink, b"one\n", b"two\n")
    assert pending.write(0.0) == (0, 0)
    assert pending.write(0.0) == (0, 1)
    assert pending.write(0.0) == (1, 0)
    assert sink.files == [b"on", b"two\n"]


def test_rotation_between_lines_loses_nothing() -> None:
    sink = ScriptedSink(4, "rotated")
    pending = pending_on(sink, b"one\n", b"two\n")
    assert [pending.write(0.0) for _ in range(3)] == [(1, 0), (0, 0), (1, 0)]
    assert sink.files == [b"one\n", b"two\n"]


def test_dropping_counts_what_was_not_finished() -> None:
    sink = ScriptedSink(5)
    pending = pending_on(sink, b"one\n", b"two\n", b"three\n")
    pending.write(0.0)
    assert pending.drop() == 2
    assert (len(pending), pending.size_bytes) == (0, 0)
    pending.add(b"four\n")
    assert pending.write(0.0) == (1, 0)


@given(st.lists(st.integers(0, 9), max_size=30), st.lists(st.binary(max_size=6), max_size=8))
def test_whatever_the_sink_takes_the_lines_arrive_whole(
    script: list[int], lines: list[bytes]
) -> None:
    sink = ScriptedSink(*script)
    pending = pending_on(sink, *(line.replace(b"\n", b"") + b"\n" for line in lines))
    expected = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    finished = 0
    for _ in range(len(script) + 1):
        finished += pending.write(0.0)[0]
        left = len(pending)
        assert finished + left == len(lines)
    assert sink.content == expected
