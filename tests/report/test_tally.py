import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.report import tally as module
from proxy.report.tally import OTHER, Tally, Wanted
from tests.report.records import NOON_S, at, line


def tallied(lines: list[bytes], wanted: Wanted | None = None) -> Tally:
    tally = Tally(wanted or Wanted())
    tally.read(lines)
    return tally


def test_calls_are_summed_by_tool_and_by_run() -> None:
    tally = tallied(
        [
            line(tool="a", run_id="x"),
            line(tool="b", run_id="x", code="max_tool_calls"),
            line(tool="a", run_id="y", code="timeout"),
            line(tool="a", run_id="x", code="max_seconds"),
        ]
    )
    assert {name: sums.calls for name, sums in tally.tools.items()} == {"a": 3, "b": 1}
    assert {name: sums.ended_by for name, sums in tally.runs.items()} == {
        "x": "max_tool_calls",
        "y": "",
    }
    assert tally.total.calls == 4


def test_what_is_no_record_is_counted_by_what_it_is() -> None:
    tally = tallied([b"hello", line(), b'{"call_id":"a","code":"ok","format_error":true}', b"{}"])
    assert (tally.total.calls, tally.unread, tally.remainders) == (1, 2, 1)


@pytest.mark.parametrize(
    ("wanted", "calls"),
    [
        pytest.param(Wanted(), 4, id="all"),
        pytest.param(Wanted(since_s=NOON_S + 10), 3, id="since, that moment included"),
        pytest.param(Wanted(until_s=NOON_S + 10), 1, id="until, that moment excluded"),
        pytest.param(Wanted(since_s=NOON_S + 10, until_s=NOON_S + 20), 1, id="both"),
        pytest.param(Wanted(run="x"), 2, id="a run"),
        pytest.param(Wanted(tool="files"), 2, id="a tool with what is inside of it"),
        pytest.param(Wanted(tool="files.read"), 1, id="a tool inside of another"),
        pytest.param(Wanted(tool="file"), 0, id="not the beginning of a name"),
        pytest.param(Wanted(run="x", tool="files"), 1, id="a run and a tool"),
    ],
)
def test_what_is_wanted(wanted: Wanted, calls: int) -> None:
    lines = [
        line(tool="files.read", run_id="x"), line(ts=at(10), tool="files", run_id="y"),
        line(ts=at(20), tool="filesystem", run_id="x"), line(ts=at(30), tool="a", run_id="z"),
    ]  # fmt: skip
    tally = tallied(lines, wanted)
    assert (tally.total.calls, tally.left_out) == (calls, 4 - calls)


def test_a_flood_of_names_is_summed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOST_RUNS", "MOST_TOOLS", "MOST_CODES"):
        monkeypatch.setattr(module, name, 3)
    lines = [
        line(tool=f"t{number}", run_id=f"r{number}", code=f"max_{number}") for number in range(9)
    ]
    tally = tallied([*lines, lines[0]])
    for table in (tally.tools, tally.runs):
        assert len(table) == 4
        assert table[OTHER].calls == 6
    assert tally.total.codes == {"max_0": 2, "max_1": 1, "max_2": 1, OTHER: 6}
    assert len(tally.said) == 4


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(0, 5))
def test_the_slowest_are_kept_the_earlier_of_equals_first(times: list[int], top: int) -> None:
    tally = tallied(
        [line(total_ms=ms, call_id=str(number)) for number, ms in enumerate(times)], Wanted(top=top)
    )
    expected = sorted(enumerate(times), key=lambda item: (-item[1], item[0]))[:top]
    assert [(int(e.call_id), e.total_ms) for e in tally.slowest()] == expected


def test_a_tunnel_is_not_slow_but_long() -> None:
    assert tallied([line(mode="connect", total_ms=9e6)]).slowest() == []
