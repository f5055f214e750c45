import re

import pytest

from proxy.report.lines import Source
from proxy.report.page import html_page
from proxy.report.summary import report_of
from proxy.report.tally import Tally, Wanted
from tests.report.records import afternoon, at, line
from tests.report.test_markup import Reader

HOSTILE = "</style><script>1</script><img src=x onerror=alert(1)>\"'\x1b[31m\u202e&amp;"
ELEMENTS = {
    "html", "head", "meta", "title", "style", "body", "header", "section", "div", "h1", "h2", "h3",
    "p", "b", "i", "span", "svg", "rect", "line", "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip


def page(lines: list[bytes], sources: list[Source] | None = None, top: int = 10) -> str:
    tally = Tally(Wanted(top=top))
    tally.read(lines)
    return html_page(report_of(tally, sources or [], 0, top))


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


def test_it_needs_nothing_but_itself() -> None:
    text = page(afternoon(calls=800))
    names = {name for name, _ in read(text).tags}
    assert names == ELEMENTS
    assert not re.search(r"https?:|src=|href=|url\(|@import|javascript", text)
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    "field", ["run_id", "tool", "code", "method", "host", "path", "detail", "call_id", "mode"]
)
def test_no_field_gets_out_of_its_place(field: str) -> None:
    fields: dict[str, object] = {"code": "max_steps", field: HOSTILE}
    reader = read(page([line(**fields)], [Source(HOSTILE, HOSTILE)]))
    names = [name for name, _ in reader.tags]
    assert "img" not in names
    assert "script" not in names
    assert not any(name.startswith("on") for _, found in reader.tags for name, _ in found)
    assert "\x1b" not in reader.text
    assert "\u202e" not in reader.text


def test_it_shows_what_the_text_shows() -> None:
    lines = [line(run_id="r1", tool="a"), line(ts=at(9), run_id="r2", code="max_tool_calls"), b"?"]
    text = read(page(lines, [Source("calls.log", "ends in the middle")])).text
    for shown in ("r1", "r2", "max_tool_calls", "50.0%", "calls.log ends in the middle.",
                  "Lines that are no records, and were not read: 1."):  # fmt: skip
        assert shown in text


def test_a_page_of_nothing_says_so() -> None:
    text = read(page([], [Source("empty.log", "")])).text
    assert "No calls." in text
    assert "Calls over time" not in text


def test_what_is_below_the_top_is_told() -> None:
    lines = [line(run_id=f"r{number}", tool=f"t{number}") for number in range(5)]
    text = read(page(lines, top=2)).text
    assert "… 3 more runs" in text
    assert "… 3 more tools" in text


def test_almost_all_is_not_all() -> None:
    lines = [line() for _ in range(5000)]
    assert "100%" in read(page(lines)).text
    assert "99.9%" in read(page([*lines, line(code="busy")])).text


def test_both_palettes_and_paper() -> None:
    text = page([line()])
    for wanted in ("color-scheme: light dark", "prefers-color-scheme: dark", "@media print"):
        assert wanted in text
