"""`toolbooth report`: what the records say, as tables of 80 columns, a page or JSON."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from proxy.cli.exit_codes import BAD_USAGE, DONE, CommandError
from proxy.cli.tables import Colour, cut, duration, facts, paint, shown, table
from proxy.model.clock import parse_timestamp
from proxy.report.lines import STDIN, Lines
from proxy.report.page import html_page
from proxy.report.quantities import byte_text, count_text, ms_text, usd_text
from proxy.report.summary import Report, Row, Stop, json_view, report_of
from proxy.report.tally import Tally, Wanted

_LONGEST_NAME = 36


def report(arguments: argparse.Namespace) -> int:
    """Read the records and say what they add up to. Exit 1 for a file that cannot be read."""
    paths = arguments.file or [STDIN]
    if paths.count(STDIN) > 1:
        raise CommandError("standard input can be read only once", BAD_USAGE)
    if STDIN in paths and sys.stdin.isatty():
        raise CommandError("name files of records, or pipe them in", BAD_USAGE)
    tally = Tally(_wanted(arguments))
    lines = Lines(paths)
    try:
        tally.read(lines)
    except OSError as error:
        name = shown(str(error.filename or "standard input"))
        raise CommandError(f"cannot read {name}: {error.strerror or error}") from None
    found = report_of(tally, lines.sources, lines.too_long, arguments.top)
    if arguments.html is not None:
        _write(arguments.html, html_page(found))
    if arguments.json:
        print(json.dumps(json_view(found)))
    elif arguments.html != STDIN:
        print(report_text(found))
    if arguments.html not in (None, STDIN):
        print(f"page: {shown(arguments.html)}", file=sys.stderr)
    return DONE


def _wanted(arguments: argparse.Namespace) -> Wanted:
    return Wanted(
        arguments.since, arguments.until, arguments.run, arguments.tool, top=arguments.top
    )


def _write(path: str, page: str) -> None:
    """The whole page or none of it: a report that is looked at is not replaced by half of one."""
    if path == STDIN:
        print(page)
        return
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".report-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(page)
        Path(name).replace(target)
    except OSError as error:
        raise CommandError(f"cannot write {shown(path)}: {error.strerror or error}") from None


def report_text(found: Report) -> str:
    """The report for a terminal."""
    parts = [facts(_fact_pairs(found))]
    if not found.total.calls:
        return parts[0]
    parts.append(_tool_table(found))
    parts.append(_run_table(found))
    if found.stops:
        parts.append(_stop_table("REFUSED WITH", found.stops, Colour.YELLOW))
    if found.failures:
        parts.append(_stop_table("NO ANSWER", found.failures, Colour.RED))
    if found.slowest:
        parts.append(_slow_table(found))
    return "\n\n".join(parts)


def _fact_pairs(found: Report) -> list[tuple[str, object]]:
    total = found.total
    pairs: list[tuple[str, object]] = [
        ("read", ", ".join(source.name for source in found.sources)),
        *((f"{source.name}", source.problem) for source in found.sources if source.problem),
    ]
    if found.unread:
        pairs.append(("not read", f"lines that are no records: {count_text(found.unread)}"))
    if found.remainders:
        pairs.append(("incomplete", f"records without content: {count_text(found.remainders)}"))
    if found.left_out:
        pairs.append(("left out", f"calls not asked for: {count_text(found.left_out)}"))
    if not total.calls:
        return [*pairs, ("calls", "none")]
    span_s = (parse_timestamp(total.last) or 0) - (parse_timestamp(total.first) or 0)
    tokens = f", {count_text(total.tokens)} tokens" if total.tokens else ""
    return [
        *pairs,
        ("time", f"{total.first} to {total.last} ({duration(span_s)})"),
        ("calls", f"{count_text(total.calls)}: {_outcomes(total)}"),
        ("runs", f"{count_text(found.runs_known)}, {count_text(found.runs_ended)} ended early"),
        *_others(found),
        ("spend", f"{usd_text(total.cost_usd)} USD{tokens}"),
        ("retries", count_text(total.retries)),
        (
            "bytes",
            f"{byte_text(total.sent_bytes)} sent, {byte_text(total.received_bytes)} received",
        ),
    ]


def _others(found: Report) -> list[tuple[str, object]]:
    """Runs beyond those that get sums of their own."""
    count = found.calls_of_others
    return [("", f"and {count_text(count)} calls of further runs, not told apart")] if count else []


def _outcomes(row: Row) -> str:
    counts = (
        (row.ok, "let through"), (row.refused, "refused"), (row.failed, "failed"),
        (row.gone, "left by the client"),
    )  # fmt: skip
    return ", ".join(f"{count_text(count)} {word}" for count, word in counts if count)


class _Right(int):
    """A number that is shown in words of ours, on the right like any other."""

    words: str

    def __new__(cls, words: str) -> "_Right":
        number = super().__new__(cls)
        number.words = words
        return number

    def __str__(self) -> str:
        return self.words


def _count(count: int) -> _Right:
    return _Right(count_text(count))


def _ms(ms: float | None) -> _Right:
    return _Right(ms_text(ms))


def _tool_table(found: Report) -> str:
    rows = [
        (
            _cut(row.name or "(none)", _LONGEST_NAME),
            _count(row.calls), _count(row.ok), _count(row.refused),
            _count(row.failed), _count(row.retries), _Right(usd_text(row.cost_usd)),
            _ms(row.p50_ms), _ms(row.p95_ms), _ms(row.max_ms),
        )
        for row in found.tools
    ]  # fmt: skip
    headings = ("TOOL", "CALLS", "OK", "REFUSED", "FAILED", "RETRY", "USD", "P50", "P95", "MAX")
    return table(headings, rows) + _more(found.tools_known - len(rows), "tools")


def _run_table(found: Report) -> str:
    rows = [
        (
            _cut(row.name or "(none)", _LONGEST_NAME), _count(row.calls), _count(row.refused),
            _count(row.failed), _Right(usd_text(row.cost_usd)), _count(row.tokens),
            _ms(row.p95_ms), _ms(row.max_ms), _cut(row.ended_by, 14),
        )
        for row in found.runs
    ]  # fmt: skip
    headings = ("RUN", "CALLS", "REFUSED", "FAILED", "USD", "TOKENS", "P95", "MAX", "ENDED BY")
    return table(headings, rows) + _more(found.runs_known - len(rows), "runs")


def _stop_table(heading: str, stops: list[Stop], colour: Colour) -> str:
    """How many calls of how many runs, how many of those it ended, and what they did in all."""
    rows = [
        (
            _cut(stop.code, 24), str(stop.by), _count(stop.calls), _count(stop.runs),
            _count(stop.ended_runs), _count(stop.runs_ok), _Right(usd_text(stop.runs_cost_usd)),
        )
        for stop in stops
    ]  # fmt: skip
    headings = (heading, "BY", "CALLS", "RUNS", "ENDED", "THEIR OK", "THEIR USD")
    first, _, rest = table(headings, rows).partition("\n")
    return f"{paint(first, colour)}\n{rest}"


def _slow_table(found: Report) -> str:
    rows = [
        (
            _ms(slow.total_ms), _cut(slow.tool, 12), _cut(slow.code, 12), slow.at[5:19],
            _cut(slow.run_id, 17), f"{slow.method} {slow.place}",
        )
        for slow in found.slowest
    ]  # fmt: skip
    return table(("SLOWEST", "TOOL", "CODE", "AT (UTC)", "RUN", "CALL"), rows, flexible=5)


def _cut(text: str, width: int) -> str:
    """What is visible of it: an escape takes more room than what it stands for."""
    return cut(shown(text), width)


def _more(count: int, of_what: str) -> str:
    return f"\n… {count_text(count)} more {of_what} (--top)" if count > 0 else ""
