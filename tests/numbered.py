"""Tests that belong to the numbers of a list: `@tests("F01: ...")` over each scenario. The titles
are the ids of the tests, and what the page of the list counts."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest
from _pytest.mark.structures import ParameterSet

_Test = TypeVar("_Test", bound=Callable[..., Any])


class NumberedTests:
    """Those of one module."""

    def __init__(self) -> None:
        self.params: list[ParameterSet] = []

    def __call__(self, title: str, *marks: pytest.MarkDecorator) -> Callable[[_Test], _Test]:
        def add(run: _Test) -> _Test:
            self.params.append(pytest.param(run, id=title, marks=marks))
            return run

        return add


def titles_of(modules: Iterable[NumberedTests]) -> list[str]:
    """Of all their tests."""
    return [str(param.id) for tests in modules for param in tests.params]


def counted(letter: str, titles: Iterable[str]) -> Counter[int]:
    """How many titles each number has, after its letter."""
    numbers = (re.match(rf"{letter}(\d\d): .", title) for title in titles)
    return Counter(int(found[1]) for found in numbers if found)
