"""What of a run and an agent is kept, and how old it is when it comes back."""

from collections.abc import Callable

import pytest

from proxy.guards.agents import Agent
from proxy.guards.budget import Ledger, Reservation
from proxy.guards.kept import Instant, down_s, instant, kept_count
from proxy.guards.runs import Run
from proxy.model.call import Kind
from proxy.policy.policy import BudgetRule
from tests.fakes.clock import FakeClock
from tests.guards.rules import a_caller

RULE = BudgetRule(max_calls_per_hour=100)
SAVED = Instant(500.0, 2_000_000.0)


@pytest.mark.parametrize(
    ("count", "kept"),
    [(-1, 0), (0, 0), (2**63 - 1, 2**63 - 1), (2**63, 2**63 - 1), (10**400, 2**63 - 1)],
)
def test_counts_fit_what_they_are_stored_in(count: int, kept: int) -> None:
    """Token counts come from upstreams; one that is too large must not stop the writing."""
    assert kept_count(count) == kept


@pytest.mark.parametrize(
    ("wall_s", "expected_s"),
    [
        pytest.param(2_000_007.5, 7.5, id="later"),
        pytest.param(2_000_000.0, 0.0, id="at once"),
        pytest.param(1_000_000.0, 0.0, id="before it was saved"),
    ],
)
def test_time_since_is_never_negative(wall_s: float, expected_s: float) -> None:
    assert down_s(SAVED.wall_s, Instant(3.0, wall_s)) == expected_s


def test_a_run_comes_back_older_by_the_time_since() -> None:
    run = Run("run-1", 400.0)
    run.last_s = 490.0
    run.steps, run.spend_micros, run.held_micros = 3, 20, 5
    run.tokens = 10**30
    again = Run.revived(run.kept(SAVED), Instant(7.0, SAVED.wall_s + 60))
    assert (again.started_s, again.last_s) == (7.0 - 160, 7.0 - 70)
    assert (again.steps, again.spend_micros, again.held_micros) == (3, 25, 0)
    assert (again.tokens, again.in_flight, again.is_dirty) == (2**63 - 1, 0, False)


def test_an_agent_comes_back_older_by_the_time_since() -> None:
    agent = Agent("agent-1", 400.0, day=23)
    agent.last_s, agent.calls, agent.spend_micros, agent.held_micros = 480.0, 9, 100, 11
    kept = agent.kept(SAVED)
    again = Agent.revived(kept, Instant(7.0, SAVED.wall_s + 60), today=24)
    assert (again.hour_started_s, again.last_s) == (7.0 - 160, 7.0 - 80)
    assert (again.calls, again.day, again.spend_micros, again.held_micros) == (9, 23, 111, 0)
    assert Agent.revived(kept, SAVED, today=20).day == 20


def test_every_change_of_a_call_is_noted() -> None:
    """Taken in between, each of them shows up again: in what it was reserved, used, settled."""
    clock = FakeClock()
    ledger = Ledger(clock)
    ledger.watch()
    place = ledger.reserve(RULE, a_caller(), Kind.TOOL, 10, None)
    assert isinstance(place, Reservation)
    seen = []
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: place.add_bytes(5),
        lambda: place.settle(7, 2),
        lambda: ledger.limit("run-1", {"max_steps": 1}),
        lambda: ledger.reserve(RULE, a_caller(), Kind.MODEL, 0, None),
    ]
    for step in steps:
        step()
        runs, agents = ledger.take_changes(10)
        run, agent = runs["run-1"], agents.get("agent-1")
        assert run is not None
        seen.append(
            (run.tool_calls, run.byte_count, run.spend_micros, run.tokens, dict(run.limits),
             run.refusals, agent and agent.calls)
        )  # fmt: skip
    limits = {"max_steps": 1}
    assert seen == [
        (1, 0, 10, 0, {}, 0, 1),
        (1, 5, 10, 0, {}, 0, None),
        (1, 5, 7, 2, {}, 0, 1),
        (1, 5, 7, 2, limits, 0, None),
        (1, 5, 7, 2, limits, 0, 2),
    ]
    assert not ledger.has_changes


def test_a_refund_and_a_refusal_are_noted() -> None:
    ledger = Ledger(FakeClock())
    ledger.watch()
    place = ledger.reserve(RULE, a_caller(), Kind.TOOL, 10, None)
    assert isinstance(place, Reservation)
    ledger.take_changes(10)
    place.refund()
    runs, agents = ledger.take_changes(10)
    run, agent = runs["run-1"], agents["agent-1"]
    assert run is not None
    assert agent is not None
    assert (run.tool_calls, run.spend_micros, agent.calls, agent.spend_micros) == (0, 0, 0, 0)
    ledger.reserve(BudgetRule(max_tool_calls=0), a_caller(), Kind.TOOL, 0, None)
    refused = ledger.take_changes(10).runs["run-1"]
    assert refused is not None
    assert refused.refusals == 1


def test_both_clocks_are_read_at_once() -> None:
    assert instant(FakeClock(5.0, 7.0)) == Instant(5.0, 7.0)
