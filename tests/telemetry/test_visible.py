"""Text that is safe to print."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry.visible import shown, visible_line, visible_text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("plain, ünïcode 日本 😀", "plain, ünïcode 日本 😀", id="letters stay"),
        pytest.param("a\nb\r\tc", "a\\x0ab\\x0d\\x09c", id="line ends and tabs"),
        pytest.param("\x1b[31m\x07\x7f\x9b", "\\x1b[31m\\x07\\x7f\\x9b", id="terminal escapes"),
        pytest.param("\u2028\u2029", "\\u2028\\u2029", id="separators"),
        pytest.param("\u202e\u2066\u200f\ufeff", "\\u202e\\u2066\\u200f\\ufeff", id="direction"),
        pytest.param("a\U000e0041\u00adb", "a\\U000e0041\\xadb", id="invisible letters"),
        pytest.param("\ud800", "\\ud800", id="half a surrogate pair"),
    ],
)
def test_a_line_shows_what_hides(text: str, line: str) -> None:
    assert visible_line(text) == line


def test_a_text_keeps_its_lines() -> None:
    assert visible_text("a\r\nb\n\tc\rd\x1b\u2028") == "a\nb\n\tc\\x0dd\\x1b\\u2028"


def test_bytes_that_are_no_utf8_are_escaped() -> None:
    assert shown(b"a\xffb\n") == "a\\xffb\\x0a"


@given(st.text())
def test_a_line_is_one_line_for_everybody(text: str) -> None:
    line = visible_line(text)
    assert len(line.splitlines()) <= 1
    line.encode("utf-8")
