"""The first page people read: short, and true."""

import json
import re

import pytest

from tests.repo.error_page import example_document
from tests.repo.tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
_MAX_LINES = 150
_BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


def _blocks(language: str) -> list[str]:
    return [text for found, text in _BLOCK.findall(README) if found == language]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= _MAX_LINES


def test_it_begins_with_the_two_commands() -> None:
    commands = [line.split("#")[0].strip() for line in _blocks("console")[0].splitlines()]
    assert commands == ["$ make demo", "$ make test"]


def test_the_make_targets_it_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z]+)", README))
    assert named >= {"demo", "test", "run", "check"}
    assert named - targets == set()


def test_the_refusal_it_shows_is_the_one_the_sidecar_writes() -> None:
    assert json.loads(_blocks("json")[0]) == example_document()


def test_the_policy_it_shows_fits_a_screen() -> None:
    (policy,) = _blocks("yaml")
    assert len(policy.splitlines()) <= 20


@pytest.mark.parametrize(
    "word", ["cooperative", "restart forgets kill switches", "not authentication"]
)
def test_it_says_the_uncomfortable_things(word: str) -> None:
    assert word in README
