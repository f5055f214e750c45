"""From sums to the rows that are shown: sorted, cut to the top, and the same for every form (pure).

Texts are as they were logged; each form makes them safe for where it shows them.
"""

from typing import Any, NamedTuple

from proxy.model.clock import utc_timestamp
from proxy.report.entry import Entry
from proxy.report.lines import Source
from proxy.report.outcome import Outcome, Stopper, outcome_of, stopper_of
from proxy.report.sums import Sums
from proxy.report.tally import OTHER, Tally


class Row(NamedTuple):
    """One tool, one run, or all calls. Percentiles are None without calls to take them from;
    times are RFC 3339. `ended_by`: the code that ended a run."""

    name: str
    calls: int
    ok: int
    refused: int
    failed: int
    gone: int
    retries: int
    cost_usd: float
    tokens: int
    sent_bytes: int
    received_bytes: int
    p50_ms: float | None
    p95_ms: float | None
    max_ms: float | None
    first: str
    last: str
    ended_by: str


class Stop(NamedTuple):
    """What one code stopped: `calls` of `runs` runs, `ended_runs` of them for good. Those runs have
    had `runs_ok` calls let through and spent `runs_cost_usd` in all, which is what was left
    unfinished. `said` is what the last call was told."""

    code: str
    by: Stopper
    calls: int
    runs: int
    ended_runs: int
    runs_ok: int
    runs_cost_usd: float
    said: str


class Slow(NamedTuple):
    """One of the slowest calls."""

    at: str
    total_ms: float
    tool: str
    code: str
    attempts: int
    run_id: str
    method: str
    place: str
    call_id: str


class Chart(NamedTuple):
    """What the plots need beside the rows. `slots`: (Unix seconds, calls by outcome) for every
    `slot_s` seconds; `octaves`: tool and its (upper bound in ms, calls)."""

    slot_s: int
    slots: list[tuple[float, dict[Outcome, int]]]
    octaves: list[tuple[str, list[tuple[float, int]]]]


class Report(NamedTuple):
    """Everything that is shown. `tools_known`, `runs_known` and `runs_ended` also count those that
    are below the top; `calls_of_others`: calls of runs beyond the 10,000 known apart."""

    total: Row
    tunnels: int
    tools: list[Row]
    tools_known: int
    runs: list[Row]
    runs_known: int
    runs_ended: int
    calls_of_others: int
    stops: list[Stop]
    failures: list[Stop]
    slowest: list[Slow]
    chart: Chart
    sources: list[Source]
    unread: int
    remainders: int
    left_out: int


def report_of(tally: Tally, sources: list[Source], too_long: int, top: int) -> Report:
    """The report, with at most `top` runs, tools and slow calls."""
    tools = _rows(tally.tools)
    runs = _rows(tally.runs)
    stops, failures = _stops(tally)
    return Report(
        total=_row("", tally.total),
        tunnels=tally.total.tunnels,
        tools=tools[:top],
        tools_known=sum(row.name != OTHER for row in tools),
        runs=runs[:top],
        runs_known=sum(row.name != OTHER for row in runs),
        runs_ended=sum(bool(row.ended_by) for row in runs),
        calls_of_others=sum(row.calls for row in runs if row.name == OTHER),
        stops=stops,
        failures=failures,
        slowest=[_slow(entry) for entry in tally.slowest()],
        chart=Chart(
            tally.timeline.width_s,
            tally.timeline.slots(),
            [(row.name, tally.tools[row.name].durations.octaves()) for row in tools[:top]],
        ),
        sources=sources,
        unread=tally.unread + too_long,
        remainders=tally.remainders,
        left_out=tally.left_out,
    )


def json_view(report: Report) -> dict[str, Any]:
    """The report as plain values for JSON."""
    return {
        "total": report.total._asdict(),
        "tunnels": report.tunnels,
        "tools": [row._asdict() for row in report.tools],
        "tools_known": report.tools_known,
        "runs": [row._asdict() for row in report.runs],
        "runs_known": report.runs_known,
        "runs_ended": report.runs_ended,
        "calls_of_other_runs": report.calls_of_others,
        "stopped": [stop._asdict() for stop in report.stops],
        "failures": [stop._asdict() for stop in report.failures],
        "slowest": [slow._asdict() for slow in report.slowest],
        "over_time": {
            "slot_seconds": report.chart.slot_s,
            "slots": [
                {"from": utc_timestamp(at_s), **counts} for at_s, counts in report.chart.slots
            ],
        },
        "durations": {
            name: [{"below_ms": bound, "calls": count} for bound, count in octaves]
            for name, octaves in report.chart.octaves
        },
        "files": [source._asdict() for source in report.sources],
        "lines_not_read": report.unread,
        "records_without_content": report.remainders,
        "calls_left_out": report.left_out,
    }


def _rows(table: dict[str, Sums]) -> list[Row]:
    """Most spent first, then most calls; those summed together last."""
    rows = [_row(name, sums) for name, sums in table.items()]
    return sorted(rows, key=lambda r: (r.name == OTHER, -r.cost_usd, -r.calls, r.name))


def _row(name: str, sums: Sums) -> Row:
    durations = sums.durations
    counts = sums.by_outcome
    return Row(
        name=name,
        calls=sums.calls,
        ok=counts[Outcome.OK],
        refused=counts[Outcome.REFUSED],
        failed=counts[Outcome.FAILED],
        gone=counts[Outcome.GONE],
        retries=sums.retries,
        cost_usd=sums.cost_usd,
        tokens=sums.tokens,
        sent_bytes=sums.sent_bytes,
        received_bytes=sums.received_bytes,
        p50_ms=_rounded(durations.percentile_ms(0.50)),
        p95_ms=_rounded(durations.percentile_ms(0.95)),
        max_ms=_rounded(durations.longest_ms) if durations.count else None,
        first=utc_timestamp(sums.first_s) if sums.calls else "",
        last=utc_timestamp(sums.last_s) if sums.calls else "",
        ended_by=sums.ended_by,
    )


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 1)


def _stops(tally: Tally) -> tuple[list[Stop], list[Stop]]:
    """What was refused and what failed, by code, most calls first."""
    found = [_stop(code, calls, tally) for code, calls in tally.total.codes.items()]
    found.sort(key=lambda stop: (-stop.calls, stop.code))
    refused = [stop for stop in found if outcome_of(stop.code) is Outcome.REFUSED]
    failed = [stop for stop in found if outcome_of(stop.code) is not Outcome.REFUSED]
    return refused, failed


def _stop(code: str, calls: int, tally: Tally) -> Stop:
    hit = [run for run in tally.runs.values() if code in run.codes]
    return Stop(
        code=code,
        by=stopper_of(code),
        calls=calls,
        runs=len(hit),
        ended_runs=sum(run.ended_by == code for run in hit),
        runs_ok=sum(run.by_outcome[Outcome.OK] for run in hit),
        runs_cost_usd=sum(run.cost_micros for run in hit) / 1_000_000,
        said=tally.said.get(code, ""),
    )


def _slow(entry: Entry) -> Slow:
    return Slow(
        at=utc_timestamp(entry.at_s),
        total_ms=round(entry.total_ms, 1),
        tool=entry.tool,
        code=entry.code,
        attempts=entry.attempts,
        run_id=entry.run_id,
        method=entry.method,
        place=entry.place,
        call_id=entry.call_id,
    )
