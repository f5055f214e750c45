"""Limits of one run, over whatever policy is in force."""

import pytest

from proxy.guards.budget import Ledger, Reservation
from proxy.guards.run_limits import RunLimits
from proxy.model.call import Caller, Kind
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.policy.policy import BudgetRule
from tests.fakes.clock import FakeClock

RULE = BudgetRule(max_tool_calls=1, max_bytes=10)
CALLER = Caller("r1", "a1", True)


def call(ledger: Ledger, caller: Caller = CALLER, rule: BudgetRule = RULE) -> Reservation | Refusal:
    return ledger.reserve(rule, caller, Kind.TOOL, 0, None)


def test_a_run_that_had_used_its_calls_goes_on_with_more() -> None:
    """Exactly as many more, and its neighbours get none of them."""
    ledger = Ledger(FakeClock())
    for caller in (CALLER, Caller("r2", "a1", True)):
        assert isinstance(call(ledger, caller), Reservation)
        assert isinstance(call(ledger, caller), Refusal)
    assert ledger.limit("r1", {"max_tool_calls": 3})
    assert isinstance(call(ledger), Reservation)
    assert isinstance(call(ledger), Reservation)
    refused = call(ledger)
    assert isinstance(refused, Refusal)
    assert (refused.reason, "3 tool calls" in refused.detail) == (Reason.MAX_TOOL_CALLS, True)
    assert isinstance(call(ledger, Caller("r2", "a1", True)), Refusal)


def test_lower_limits_hold_too_and_none_goes_back() -> None:
    ledger = Ledger(FakeClock())
    call(ledger, rule=BudgetRule(max_tool_calls=9))
    ledger.limit("r1", {"max_tool_calls": 1, "max_bytes": 5})
    assert isinstance(call(ledger, rule=BudgetRule(max_tool_calls=9)), Refusal)
    ledger.limit("r1", {"max_tool_calls": None})
    view = ledger.run_view(RULE, "r1")
    assert view is not None
    assert view.limits == {"max_bytes": 5}
    place = call(ledger, rule=BudgetRule(max_tool_calls=9))
    assert isinstance(place, Reservation)
    assert place.add_bytes(5)
    assert not place.add_bytes(1)


def test_they_outlive_the_policy_and_end_with_the_run() -> None:
    """What is left is told by the run's own limits, what they do not name by the policy's."""
    ledger = Ledger(FakeClock())
    call(ledger)
    ledger.limit("r1", {"max_tool_calls": 5})
    for rule in (RULE, BudgetRule(max_tool_calls=2, max_steps=7)):
        view = ledger.run_view(rule, "r1")
        assert view is not None
        assert (view.left.tool_calls, view.left.steps) == (4, rule.max_steps)
    ledger.forget("r1")
    call(ledger)
    assert isinstance(call(ledger), Refusal)


def test_a_run_nobody_knows_has_no_limits_of_its_own() -> None:
    """Else anybody could fill the table through them."""
    ledger = Ledger(FakeClock())
    assert not ledger.limit("r1", {"max_tool_calls": 5})
    assert len(ledger.runs_table) == 0


def test_they_are_laid_over_a_rule_once() -> None:
    """Every call asks."""
    limits = RunLimits({"max_steps": 3})
    assert limits.over(RULE) is limits.over(RULE)
    assert limits.over(RULE) == BudgetRule(max_tool_calls=1, max_bytes=10, max_steps=3)
    assert limits.over(BudgetRule()) == BudgetRule(max_steps=3)


def test_only_the_limits_of_a_run_can_be_set() -> None:
    with pytest.raises(ValueError, match="max_runs"):
        RunLimits({"max_runs": 1})
    assert RunLimits({"max_steps": 3}).with_changes({"max_steps": None}) is None
