"""What is printed fits, and obeys nobody."""

import sys

import pytest

from proxy.cli.tables import Colour, cut, duration, facts, paint, shown, table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), ("", "-"), (True, "yes"), (0, "0"), (0.5, "0.5"), ("a\x1b[31m", "a\\x1b[31m"),
        ("a\nb", "a\\x0ab"), ("\u202eexe", "\\u202eexe"),
    ],
)  # fmt: skip
def test_values_are_visible(value: object, text: str) -> None:
    """Controls and direction marks become text."""
    assert shown(value) == text


def test_a_table_is_aligned() -> None:
    """Text to the left, numbers to the right, no spaces at the end."""
    assert table(("TOOL", "CALLS"), [("a", 5), ("search", 12)]) == (
        "TOOL    CALLS\na           5\nsearch     12"
    )


def test_a_table_fits_80_columns() -> None:
    """The flexible column gives way."""
    lines = table(("A", "B", "C"), [("x" * 100, "y" * 30, "z" * 20)]).split("\n")
    assert all(len(line) <= 80 for line in lines)
    assert "y" * 30 in lines[1]
    assert "x…" in lines[1]


def test_facts_wrap_below_themselves() -> None:
    """No line is longer than 80."""
    lines = facts([("a", 1), ("warning", "word " * 30)]).split("\n")
    assert lines[0] == "a        1"
    assert all(len(line) <= 80 for line in lines)
    assert all(line.startswith(" " * 9 + "word") for line in lines[2:])
    assert len(lines) == 4


def test_cutting() -> None:
    """Exactly the width still fits."""
    assert (cut("abcd", 4), cut("abcde", 4)) == ("abcd", "abc…")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m 0s"), (3600, "1h 0m"), (90_000, "1d 1h")],
)
def test_durations(seconds: float, text: str) -> None:
    """Two units are enough."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("is_terminal", "no_color", "text"),
    [(True, "", "\x1b[31mno\x1b[0m"), (True, "1", "no"), (False, "", "no")],
)
def test_colour_only_where_it_is_seen(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool, no_color: str, text: str
) -> None:
    """A terminal, and NO_COLOR not set."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    assert paint("no", Colour.RED) == text
