import json

from proxy.report.summary import Report, json_view, report_of
from proxy.report.tally import OTHER, Tally, Wanted
from tests.report.records import afternoon, line


def report(lines: list[bytes], top: int = 10) -> Report:
    tally = Tally(Wanted(top=top))
    tally.read(lines)
    return report_of(tally, [], 0, top)


def test_rows_are_ordered_by_spend_then_calls_and_cut() -> None:
    lines = [
        line(run_id="cheap", cost_usd=0), line(run_id="cheap", cost_usd=0),
        line(run_id="dear", cost_usd=1), line(run_id="quiet", cost_usd=0),
        line(run_id=OTHER, cost_usd=9),
    ]  # fmt: skip
    assert [row.name for row in report(lines).runs] == ["dear", "cheap", "quiet", OTHER]
    assert report(lines).calls_of_others == 1
    short = report(lines, top=1)
    assert ([row.name for row in short.runs], short.runs_known) == (["dear"], 3)


def test_a_stop_tells_what_its_runs_had_done() -> None:
    lines = [
        line(run_id="x", cost_usd=0.25), line(run_id="x", cost_usd=0.25),
        line(run_id="x", code="max_tool_calls", cost_usd=0, detail="Stop."),
        line(run_id="x", code="max_tool_calls", cost_usd=0, detail="Stop now."),
        line(run_id="y", cost_usd=1),
    ]  # fmt: skip
    found = report(lines)
    stop = found.stops[0]
    assert (stop.code, str(stop.by), stop.calls, stop.runs, stop.ended_runs) == (
        "max_tool_calls", "budget", 2, 1, 1,
    )  # fmt: skip
    assert (stop.runs_ok, stop.runs_cost_usd, stop.said) == (2, 0.5, "Stop now.")
    assert found.runs_ended == 1


def test_what_failed_is_not_among_what_was_refused() -> None:
    found = report([line(code="timeout"), line(code="busy"), line(code="client_gone"), line()])
    assert [stop.code for stop in found.stops] == ["busy"]
    assert [stop.code for stop in found.failures] == ["client_gone", "timeout"]


def test_an_afternoon_adds_up() -> None:
    found = report(afternoon(calls=1500), top=1000)
    for rows in (found.tools, found.runs):
        for field in ("calls", "ok", "refused", "failed", "gone", "retries", "tokens"):
            assert sum(getattr(row, field) for row in rows) == getattr(found.total, field)
    total = found.total
    assert total.calls == 1500 == total.ok + total.refused + total.failed + total.gone
    assert sum(stop.calls for stop in found.stops) == total.refused
    assert sum(sum(counts.values()) for _, counts in found.chart.slots) == 1500


def test_it_is_json() -> None:
    view = json.loads(json.dumps(json_view(report(afternoon(calls=300)))))
    assert view["total"]["calls"] == 300
    assert view["stopped"][0]["by"] in ("budget", "limit", "policy", "switch", "other")
    assert view["over_time"]["slots"][0]["from"].endswith("Z")
    assert json.loads(json.dumps(json_view(report([]))))["total"]["p50_ms"] is None
