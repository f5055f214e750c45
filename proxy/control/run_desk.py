"""What an operator can see of runs and do to them.

Stopping a run is not here: that is a switch (`run:ID`), which holds for unknown runs too.
"""

import asyncio
from collections.abc import Callable, Iterable
from heapq import nlargest
from itertools import chain, islice

from proxy.control.access import Visitor
from proxy.control.operator import Operator
from proxy.control.orders import RunQuery
from proxy.control.problem import ProblemError, failed
from proxy.control.views import View, run_view
from proxy.guards.runs import Run

_AT_A_TIME = 5_000  # about 2 ms: a long table must not hold up calls


class RunDesk:
    """The runs of one sidecar."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._ledger = operator.ledger

    async def runs(self, query: RunQuery) -> View:
        """The first runs in the order asked for, and how many are remembered."""
        table = self._ledger.runs_table
        if query.sort == "last":
            found: Iterable[Run] = table.recent(query.limit)
        else:
            measure = _spend if query.sort == "spend" else _refusals
            found = await _largest(table.every(), query.limit, measure)
        engaged = self._operator.engaged()
        views = self._ledger.runs_of(self._operator.policy().budgets, found)
        return {
            "runs": [run_view(run, engaged.get(f"run:{run.run_id}")) for run in views],
            "remembered": len(table),
        }

    def run(self, run_id: str) -> View:
        """One run; 404 if it is not remembered."""
        run = self._ledger.run_view(self._operator.policy().budgets, run_id)
        if run is None:
            raise _unknown(run_id)
        return run_view(run, self._operator.engaged().get(f"run:{run_id}"))

    async def limit(
        self, visitor: Visitor, run_id: str, changes: dict[str, int | float | None]
    ) -> View:
        """Set limits of this run alone, in place of the policy's."""
        self.run(run_id)
        await self._operator.audit_first(visitor, "run.limit", f"run:{run_id}", changes=changes)
        if not self._ledger.limit(run_id, changes):
            raise _unknown(run_id)
        return self.run(run_id)

    async def forget(self, visitor: Visitor, run_id: str) -> View:
        """Let the run begin anew at its next call; what it was. 409 while a call of it is under
        way: that call would still be charged to what nobody looks at any more."""
        self._idle_run(run_id)
        await self._operator.audit_first(visitor, "run.forget", f"run:{run_id}")
        view = self._idle_run(run_id)  # a call may have begun meanwhile
        self._ledger.forget(run_id)
        return view

    def _idle_run(self, run_id: str) -> View:
        view = self.run(run_id)
        if view["in_flight"]:
            detail = (
                f"A call of the run {run_id[:100]!a} is under way; stop it first with the switch "
                "run:ID, or wait."
            )
            raise failed(409, "run_in_flight", detail)
        return view


async def _largest(runs: list[Run], limit: int, measure: Callable[[Run], int]) -> list[Run]:
    """The `limit` runs of the largest measure, largest first; among equals the last called."""
    best: list[Run] = []
    latest_first = reversed(runs)
    while piece := list(islice(latest_first, _AT_A_TIME)):
        best = nlargest(limit, chain(best, piece), key=measure)
        await asyncio.sleep(0)
    return best


def _spend(run: Run) -> int:
    return run.spend_micros + run.held_micros


def _refusals(run: Run) -> int:
    return run.refusals


def _unknown(run_id: str) -> ProblemError:
    detail = f"No run {run_id[:100]!a} is remembered; it starts with its first call."
    return failed(404, "run_unknown", detail)
