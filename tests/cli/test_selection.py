"""Selectors and durations."""

import argparse

import pytest

from proxy.cli.selection import add_selectors, count, duration_s, switch_key


def key_of(*arguments: str) -> str:
    parser = argparse.ArgumentParser()
    add_selectors(parser)
    return switch_key(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["search.read"], "tool:search.read"),
        (["--writes"], "writes"),
        (["--all"], "all"),
        (["--run", "a/b"], "run:a/b"),
        (["--agent", "x"], "agent:x"),
    ],
)
def test_each_selector_is_one_switch(arguments: list[str], key: str) -> None:
    """The names of the control API."""
    assert key_of(*arguments) == key


@pytest.mark.parametrize(
    "arguments",
    [[], [""], ["--run", ""], ["--agent", ""], ["a", "--all"], ["--all", "--writes"]],
)
def test_nothing_or_two_things_are_bad_usage(arguments: list[str]) -> None:
    """A kill is about one thing; an empty variable in a script must not widen it."""
    with pytest.raises(SystemExit) as end:
        key_of(*arguments)
    assert end.value.code == 2


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86_400)]
)
def test_durations(text: str, seconds: int) -> None:
    """A number and a unit."""
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["10", "0m", "-5m", "1.5h", "10 m", "10M", "m", "", "1h30m", "٣m"])
def test_what_is_no_duration(text: str) -> None:
    """Ten what? Nothing is guessed."""
    with pytest.raises(argparse.ArgumentTypeError, match="10m"):
        duration_s(text)


def test_counts() -> None:
    """From 0 to 1000."""
    assert (count("0"), count("1000")) == (0, 1000)
    for text in ("1001", "-1", "x", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            count(text)
