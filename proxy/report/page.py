"""The report as one HTML file that needs nothing else (pure).

No script, no image, no font and no address of anything: it can be mailed, kept and printed, and
opening it tells nobody. A policy in its head forbids what a value would have to do to get out.
"""

from proxy.report.markup import safe, tag
from proxy.report.plots import bars, calls_over_time, durations
from proxy.report.quantities import byte_text, count_text, ms_text, usd_text
from proxy.report.style import STYLE
from proxy.report.summary import Report, Row, Slow, Stop

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>Toolbooth report</title>
"""

_Cell = tuple[str, str]  # class, markup


def html_page(report: Report) -> str:
    """The whole file."""
    parts = [_header(report)]
    if report.total.calls:
        parts += [
            _tiles(report),
            _section(
                "Calls over time",
                f"Each bar is {_span(report.chart.slot_s)}, in UTC.",
                calls_over_time(report.chart),
            ),
            tag("div", _stopped(report) + _spend(report), class_="pair"),
            _tools(report),
            _latency(report),
            _runs(report),
            _slowest(report),
        ]
    body = "\n".join(part for part in parts if part)
    return f"{_HEAD}<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"


def _header(report: Report) -> str:
    total = report.total
    lines = ["<h1>Toolbooth report</h1>"]
    if total.calls:
        lines.append(tag("p", f"{safe(total.first)} to {safe(total.last)}"))
    else:
        lines.append(tag("p", "No calls."))
    lines.append(tag("p", "From " + safe(", ".join(s.name for s in report.sources) or "nothing")))
    warnings = [f"{source.name} {source.problem}." for source in report.sources if source.problem]
    if report.unread:
        warnings.append(f"Lines that are no records, and were not read: {report.unread}.")
    if report.remainders:
        warnings.append(
            f"Records without content, as it could not be written: {report.remainders}."
        )
    if report.calls_of_others:
        warnings.append(
            f"Calls of runs beyond {report.runs_known}, not told apart: {report.calls_of_others}."
        )
    if report.left_out:
        lines.append(tag("p", f"{count_text(report.left_out)} other calls were left out."))
    lines += [tag("p", safe(warning), class_="warning") for warning in warnings]
    return tag("header", "".join(lines))


def _tiles(report: Report) -> str:
    total = report.total
    tiles = [
        (count_text(total.calls), "calls"),
        (_share(total.ok, total.calls), "let through"),
        (count_text(total.refused), "refused"),
        (count_text(total.failed), "failed"),
        (f"${usd_text(total.cost_usd)}", "spent"),
        (count_text(total.tokens), "tokens"),
        (count_text(total.retries), "retries"),
        (count_text(report.runs_ended), f"of {count_text(report.runs_known)} runs ended early"),
    ]
    return tag(
        "div",
        "".join(
            tag("div", tag("b", safe(value)) + tag("span", safe(name)), class_="tile")
            for value, name in tiles
        ),
        class_="tiles",
    )


def _stopped(report: Report) -> str:
    rows = [(stop.code, float(stop.calls), count_text(stop.calls)) for stop in report.stops]
    failed = [(stop.code, float(stop.calls), count_text(stop.calls)) for stop in report.failures]
    content = bars(rows, "refused") if rows else tag("p", "Nothing was refused.")
    if failed:
        content += tag("p", "Without an answer", class_="more") + bars(failed, "failed")
    return _section("Refused, by reason", "", content)


def _spend(report: Report) -> str:
    runs = [row for row in report.runs if row.cost_usd]
    if not runs:
        return _section("Spend by run", "", tag("p", "Nothing was spent."))
    rows = [(row.name or "(none)", row.cost_usd, f"${usd_text(row.cost_usd)}") for row in runs]
    return _section("Spend by run", "", bars(rows))


def _tools(report: Report) -> str:
    heads = ("Tool", "Calls", "Let through", "Refused", "Failed", "Gone", "Retries", "USD",
             "Tokens", "Sent", "Received", "p50", "p95", "Longest")  # fmt: skip
    rows = [[("id", safe(row.name or "(none)")), *_numbers(row)] for row in report.tools]
    note = _more(report.tools_known - len(rows), "tools")
    if report.tunnels:
        note += tag("p", f"{count_text(report.tunnels)} tunnels are left out of the times: one "
                    "lasts as long as it is open.", class_="more")  # fmt: skip
    return _section("Tools", "", _table(heads, rows) + note)


def _latency(report: Report) -> str:
    captions = {
        row.name: f"{count_text(row.calls)} calls, p50 {ms_text(row.p50_ms)}, "
        f"p95 {ms_text(row.p95_ms)}"
        for row in report.tools
    }
    plots = durations(report.chart, captions)
    if not plots:
        return ""
    said = (
        "Each bar stands for twice the time of the one before, on the same scale for all tools. "
        "Calls refused before they were sent are left out, and so are tunnels."
    )
    return _section("How long calls take", said, plots)


def _runs(report: Report) -> str:
    heads = ("Run", "Calls", "Let through", "Refused", "Failed", "Gone", "Retries", "USD",
             "Tokens", "Sent", "Received", "p50", "p95", "Longest", "First call",
             "Ended by")  # fmt: skip
    rows = [
        [
            ("id", safe(row.name or "(none)")),
            *_numbers(row),
            ("", safe(row.first[5:19].replace("T", " "))),
            ("", safe(row.ended_by or "-")),
        ]
        for row in report.runs
    ]
    stops = [_stop_cells(stop) for stop in report.stops]
    content = _table(heads, rows) + _more(report.runs_known - len(rows), "runs")
    section = _section("Runs", "Those that spent most, then those that called most.", content)
    if not stops:
        return section
    stop_heads = ("Code", "By", "Calls", "Runs", "Ended", "Their calls let through", "Their USD",
             "What the last one was told")  # fmt: skip
    said = "What stopped calls, and what the runs it stopped had done in all."
    return section + _section("Stopped", said, _table(stop_heads, stops))


def _slowest(report: Report) -> str:
    if not report.slowest:
        return ""
    heads = ("Took", "Tool", "Code", "Attempts", "At", "Run", "Call id", "Call")
    return _section("Slowest calls", "", _table(heads, [_slow_cells(s) for s in report.slowest]))


def _numbers(row: Row) -> list[_Cell]:
    counts = (row.calls, row.ok, row.refused, row.failed, row.gone, row.retries)
    texts = [
        *(count_text(count) for count in counts),
        usd_text(row.cost_usd),
        count_text(row.tokens),
        byte_text(row.sent_bytes),
        byte_text(row.received_bytes),
        ms_text(row.p50_ms),
        ms_text(row.p95_ms),
        ms_text(row.max_ms),
    ]
    return [("n zero" if text in ("0", "0 B", "-") else "n", text) for text in texts]


def _stop_cells(stop: Stop) -> list[_Cell]:
    counts = (stop.calls, stop.runs, stop.ended_runs, stop.runs_ok)
    return [
        ("id", safe(stop.code)),
        ("", safe(stop.by)),
        *(("n", count_text(count)) for count in counts),
        ("n", usd_text(stop.runs_cost_usd)),
        ("long", safe(stop.said or "-")),
    ]


def _slow_cells(slow: Slow) -> list[_Cell]:
    return [
        ("n", ms_text(slow.total_ms)),
        ("id", safe(slow.tool or "(none)")),
        ("", safe(slow.code)),
        ("n", str(slow.attempts)),
        ("", safe(slow.at[5:23].replace("T", " "))),
        ("id", safe(slow.run_id)),
        ("id", safe(slow.call_id)),
        ("id", safe(f"{slow.method} {slow.place}")),
    ]


def _table(heads: tuple[str, ...], rows: list[list[_Cell]]) -> str:
    numeric = [kind.startswith("n") for kind, _ in rows[0]] if rows else []
    top = "".join(
        tag("th", safe(head), **({"class_": "n"} if is_n else {}))
        for head, is_n in zip(heads, numeric, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(tag("td", text, class_=kind) for kind, text in row) + "</tr>"
        for row in rows
    )
    table = f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
    return tag("div", table, class_="wide")


def _section(title: str, said: str, content: str) -> str:
    note = tag("p", safe(said)) if said else ""
    return tag("section", tag("h2", safe(title)) + note + content)


def _more(count: int, of_what: str) -> str:
    return tag("p", f"… {count_text(count)} more {of_what}", class_="more") if count > 0 else ""


def _share(part: int, whole: int) -> str:
    """Never 100 % for what is not all of it."""
    if part == whole:
        return "100%"
    return f"{min(99.9, part / whole * 100):.1f}%"


def _span(seconds: int) -> str:
    for size, unit in ((604_800, "week"), (86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}s" if count > 1 else f"a {unit}".replace("a hour", "an hour")
    return f"{seconds} seconds" if seconds > 1 else "a second"
