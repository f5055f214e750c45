"""One line of the list of faults, and how its tests are collected."""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import pytest
from _pytest.mark.structures import ParameterSet

Run = Callable[..., Coroutine[Any, Any, None]]


class Fault(NamedTuple):
    """`becomes`: what a caller and an operator see of it, with the code in backticks. `deviation`:
    what is otherwise than one would expect of a proxy, and why; empty where nothing is. `codes`
    are the outcome codes that the records of its calls have, empty where no call is touched."""

    number: int
    what: str
    becomes: str
    codes: tuple[str, ...] = ()
    deviation: str = ""


class FaultTests:
    """The tests of one module: `@faults("F01: ...")` over each scenario. The titles are the ids of
    the tests, and what `docs/faults.md` counts."""

    def __init__(self) -> None:
        self.params: list[ParameterSet] = []

    def __call__(self, title: str) -> Callable[[Run], Run]:
        def add(run: Run) -> Run:
            self.params.append(pytest.param(run, id=title))
            return run

        return add
