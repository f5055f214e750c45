import pytest

from proxy.guards.budget import Ledger, Reservation
from proxy.model.call import Kind
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.policy.policy import BudgetRule
from tests.fakes.clock import FakeClock
from tests.guards.rules import a_caller

MIDNIGHT_S = 20_000 * 86_400.0  # 2024-10-04T00:00:00Z
HOURLY = BudgetRule(max_calls_per_hour=2)
DAILY = BudgetRule(max_spend_micros_per_day=100)


def call(
    ledger: Ledger, rule: BudgetRule, run: str, cost_micros: int = 0, agent: str = "agent-1"
) -> Reservation | Refusal:
    return ledger.reserve(rule, a_caller(run, agent), Kind.TOOL, cost_micros, None)


def granted(verdict: Reservation | Refusal) -> Reservation:
    assert isinstance(verdict, Reservation), verdict
    return verdict


def refused(verdict: Reservation | Refusal, reason: Reason) -> Refusal:
    assert isinstance(verdict, Refusal), "it was let through"
    assert verdict.reason is reason
    return verdict


def test_an_agent_cannot_escape_into_new_runs() -> None:
    ledger = Ledger(FakeClock())
    granted(call(ledger, HOURLY, "a")).settle(0)
    granted(call(ledger, HOURLY, "b")).settle(0)
    refused(call(ledger, HOURLY, "c"), Reason.MAX_CALLS_PER_HOUR)
    granted(call(ledger, HOURLY, "c", agent="agent-2"))


def test_the_hour_starts_at_the_first_call_in_it() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    granted(call(ledger, HOURLY, "a"))
    clock.advance(3000)
    granted(call(ledger, HOURLY, "b"))
    refusal = refused(call(ledger, HOURLY, "c"), Reason.MAX_CALLS_PER_HOUR)
    assert "in 10 minutes" in refusal.detail
    clock.advance(599.999)
    assert "in 1 minute." in refused(call(ledger, HOURLY, "c"), Reason.MAX_CALLS_PER_HOUR).detail
    clock.advance(0.001)
    clock.advance(1000)  # nobody calls: the next hour has not begun
    granted(call(ledger, HOURLY, "c"))
    granted(call(ledger, HOURLY, "d"))
    clock.advance(3599.999)
    refused(call(ledger, HOURLY, "e"), Reason.MAX_CALLS_PER_HOUR)
    clock.advance(0.001)
    granted(call(ledger, HOURLY, "e"))


def test_the_hour_ignores_the_wall_clock() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    for run in ("a", "b"):
        granted(call(ledger, HOURLY, run))
    clock.jump_wall(7200)
    refused(call(ledger, HOURLY, "c"), Reason.MAX_CALLS_PER_HOUR)


def test_a_refund_belongs_to_the_hour_it_was_counted_in() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    old = granted(call(ledger, HOURLY, "a"))
    clock.advance(3600)
    granted(call(ledger, HOURLY, "b"))
    granted(call(ledger, HOURLY, "c"))
    old.refund()
    refused(call(ledger, HOURLY, "d"), Reason.MAX_CALLS_PER_HOUR)


def test_a_refund_gives_its_call_back_to_the_hour() -> None:
    ledger = Ledger(FakeClock())
    granted(call(ledger, HOURLY, "a"))
    granted(call(ledger, HOURLY, "b")).refund()
    granted(call(ledger, HOURLY, "c"))
    refused(call(ledger, HOURLY, "d"), Reason.MAX_CALLS_PER_HOUR)


def test_daily_spend_holds_settles_and_says_when_the_next_day_opens() -> None:
    ledger = Ledger(FakeClock(wall=MIDNIGHT_S + 60))
    held = granted(call(ledger, DAILY, "a", 100))
    refused(call(ledger, DAILY, "b", 1), Reason.MAX_SPEND_USD_PER_DAY)
    held.settle(40)
    granted(call(ledger, DAILY, "b", 60))
    refusal = refused(call(ledger, DAILY, "c", 1), Reason.MAX_SPEND_USD_PER_DAY)
    assert "2024-10-05 at 00:00 UTC" in refusal.detail
    assert refusal.retry_after_ms is None


def test_the_day_ends_at_midnight_utc() -> None:
    clock = FakeClock(wall=MIDNIGHT_S + 86_399)
    ledger = Ledger(clock)
    granted(call(ledger, DAILY, "a", 100)).settle(100)
    clock.advance(0.999)
    refused(call(ledger, DAILY, "b", 1), Reason.MAX_SPEND_USD_PER_DAY)
    clock.advance(0.001)
    granted(call(ledger, DAILY, "b", 100))


@pytest.mark.parametrize("back_s", [3600, 86_400, 10 * 86_400])
def test_a_wall_clock_set_back_neither_refunds_nor_doubles(back_s: int) -> None:
    clock = FakeClock(wall=MIDNIGHT_S + 60)
    ledger = Ledger(clock)
    granted(call(ledger, DAILY, "a", 100)).settle(100)
    clock.jump_wall(-back_s)
    refused(call(ledger, DAILY, "b", 1), Reason.MAX_SPEND_USD_PER_DAY)
    clock.jump_wall(back_s)
    refused(call(ledger, DAILY, "b", 1), Reason.MAX_SPEND_USD_PER_DAY)


def test_an_agent_first_seen_while_the_clock_is_back_belongs_to_the_later_day() -> None:
    clock = FakeClock(wall=MIDNIGHT_S + 60)
    ledger = Ledger(clock)
    granted(call(ledger, DAILY, "a"))
    clock.jump_wall(-86_400)
    granted(call(ledger, DAILY, "b", 100, agent="agent-2")).settle(100)
    clock.jump_wall(86_400)
    refused(call(ledger, DAILY, "b", 1, agent="agent-2"), Reason.MAX_SPEND_USD_PER_DAY)


def test_a_call_over_midnight_is_charged_once_to_the_new_day() -> None:
    clock = FakeClock(wall=MIDNIGHT_S + 86_399)
    ledger = Ledger(clock)
    held = granted(call(ledger, DAILY, "a", 60))
    clock.advance(2)
    refused(call(ledger, DAILY, "b", 41), Reason.MAX_SPEND_USD_PER_DAY)
    held.settle(50)
    refused(call(ledger, DAILY, "b", 51), Reason.MAX_SPEND_USD_PER_DAY)
    granted(call(ledger, DAILY, "b", 50))


def test_without_per_agent_limits_nothing_is_kept_about_agents() -> None:
    ledger = Ledger(FakeClock())
    granted(call(ledger, BudgetRule(), "a"))
    assert len(ledger.agents_table) == 0


def test_a_full_table_refuses_new_agents_and_keeps_the_old_ones() -> None:
    clock = FakeClock(wall=MIDNIGHT_S)
    ledger = Ledger(clock)
    rule = BudgetRule(max_calls_per_hour=2, max_runs=2)
    granted(call(ledger, rule, "a", agent="1")).settle(0)
    granted(call(ledger, rule, "b", agent="2")).settle(0)
    refusal = refused(call(ledger, rule, "a", agent="3"), Reason.STATE_UNAVAILABLE)
    assert refusal.retry_after_ms is not None
    assert ledger.agents_table.refused_full == 1
    granted(call(ledger, rule, "a", agent="1")).settle(0)
    refused(call(ledger, rule, "a", agent="1"), Reason.MAX_CALLS_PER_HOUR)


def test_an_agent_is_dropped_only_when_both_windows_are_over_and_nothing_is_in_flight() -> None:
    clock = FakeClock(wall=MIDNIGHT_S)
    ledger = Ledger(clock)
    rule = BudgetRule(max_calls_per_hour=2, max_runs=1)
    held = granted(call(ledger, rule, "a", agent="1"))
    clock.advance(86_399)  # the hour is over, the day is not
    refused(call(ledger, rule, "a", agent="2"), Reason.STATE_UNAVAILABLE)
    clock.advance(1)  # both are over, but a call is in flight
    refused(call(ledger, rule, "a", agent="2"), Reason.STATE_UNAVAILABLE)
    held.settle(0)  # charged to the day it ends in, which therefore binds as well
    clock.advance(86_399)
    refused(call(ledger, rule, "a", agent="2"), Reason.STATE_UNAVAILABLE)
    clock.advance(1)
    granted(call(ledger, rule, "a", agent="2"))
    assert len(ledger.agents_table) == 1
