"""Limits of one run that an operator set by hand.

They belong to the run and not to the policy: a run that is allowed more must stay allowed more
when the policy is reloaded, and its neighbours must not notice.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from proxy.policy.policy import BudgetRule

LIMITS = (
    "max_steps", "max_tool_calls", "max_seconds", "max_spend_micros", "max_tokens", "max_bytes",
)  # fmt: skip


class RunLimits:
    """`changes` by name of the `BudgetRule` field; what is not in it is the policy's. Never
    changed, so that a call under way keeps the rule it was let through with."""

    __slots__ = ("_base", "_merged", "changes")

    def __init__(self, changes: Mapping[str, int | float]) -> None:
        unknown = [name for name in changes if name not in LIMITS]
        if unknown:
            raise ValueError(f"no limit of a run: {unknown[0]}")
        self.changes = dict(changes)
        self._base: BudgetRule | None = None
        self._merged: BudgetRule | None = None

    def over(self, rule: BudgetRule) -> BudgetRule:
        """`rule` with the changes on top; put together once for each policy."""
        if self._merged is None or self._base is not rule:
            changes: dict[str, Any] = self.changes
            self._base, self._merged = rule, replace(rule, **changes)
        return self._merged

    def with_changes(self, changes: Mapping[str, int | float | None]) -> "RunLimits | None":
        """These limits with `changes` made to them, where None goes back to the policy's. None if
        nothing is left of them."""
        merged = {**self.changes, **changes}
        kept = {name: value for name, value in merged.items() if value is not None}
        return RunLimits(kept) if kept else None
