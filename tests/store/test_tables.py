"""Rows and values."""

import pytest

from proxy.guards.kept import KeptAgent, KeptRun
from proxy.guards.run_limits import LIMITS
from proxy.store.tables import SELECT_AGENTS, SELECT_RUNS, agent_row, run_of, run_row
from tests.store.values import a_run, an_agent


def _columns(select: str) -> list[str]:
    return select.removeprefix("SELECT ").partition(" FROM ")[0].split(", ")


def test_columns_stand_in_the_order_of_the_fields() -> None:
    """Rows are read by position: a column out of place would be a count for an age."""
    by_name = sorted(KeptRun._fields)
    assert sorted(_columns(SELECT_RUNS)) == by_name
    assert _columns(SELECT_RUNS) == list(KeptRun._fields)
    assert _columns(SELECT_AGENTS) == list(KeptAgent._fields)
    assert agent_row(an_agent()) == tuple(an_agent())


@pytest.mark.parametrize("limits", [{}, dict.fromkeys(LIMITS, 7), {"max_seconds": 0.5}])
def test_a_run_comes_back_with_its_limits(limits: dict[str, int | float]) -> None:
    run = a_run(limits=limits, looped=True)
    assert run_of(run_row(run)) == run  # type: ignore[arg-type]
