from email.utils import formatdate
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.retry import (
    RetryBudget,
    RetryBudgets,
    backoff_s,
    can_replay,
    is_retryable_failure,
    is_retryable_status,
    parse_retry_after,
)
from proxy.model.reason import Reason
from proxy.policy.policy import RetryRule
from tests.fakes.clock import FakeClock
from tests.guards.rules import a_tool

RULE = RetryRule(max_retries=2, backoff_s=(0.2, 0.8), budget_ratio=0.2)
WALL_S = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples


@pytest.mark.parametrize(
    ("method", "retry_writes", "has_key", "expected"),
    [
        pytest.param("GET", False, False, True, id="GET"),
        pytest.param("HEAD", False, False, True, id="HEAD"),
        pytest.param("OPTIONS", False, False, True, id="OPTIONS"),
        pytest.param("PUT", False, False, True, id="PUT"),
        pytest.param("DELETE", False, False, True, id="DELETE"),
        pytest.param("POST", False, False, False, id="POST is not repeated"),
        pytest.param("PATCH", False, False, False, id="PATCH is not repeated"),
        pytest.param("get", False, False, False, id="methods are case-sensitive"),
        pytest.param("POST", True, False, True, id="POST if the operator says so"),
        pytest.param("POST", False, True, True, id="POST with an idempotency key"),
    ],
)
def test_what_may_be_sent_twice(
    method: str, retry_writes: bool, has_key: bool, expected: bool
) -> None:
    assert can_replay(a_tool(retry_writes=retry_writes), method, has_key) is expected


def test_only_these_failures_are_tried_again() -> None:
    retryable = {reason for reason in Reason if is_retryable_failure(reason)}
    assert retryable == {
        Reason.UPSTREAM_DNS,
        Reason.UPSTREAM_CONNECT,
        Reason.UPSTREAM_RESET,
    }


def test_only_these_statuses_are_tried_again() -> None:
    assert {status for status in range(100, 600) if is_retryable_status(status)} == {
        429,
        502,
        503,
        504,
    }


@pytest.mark.parametrize(
    ("index", "draw", "expected"),
    [
        pytest.param(0, 0.5, 0.1, id="the first retry draws from the first step"),
        pytest.param(1, 0.5, 0.4, id="the second from the second"),
        pytest.param(9, 0.5, 0.4, id="later ones from the last"),
        pytest.param(0, 0.0, 0.0, id="it may be at once"),
    ],
)
def test_backoff_is_full_jitter_over_the_steps(index: int, draw: float, expected: float) -> None:
    assert backoff_s(RULE, index, lambda: draw) == pytest.approx(expected)


def test_backoff_without_steps_is_at_once() -> None:
    assert backoff_s(RetryRule(1, (), 0.2), 0, lambda: 0.9) == 0.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"120", 120.0, id="seconds"),
        pytest.param(b" 7 ", 7.0, id="seconds with whitespace"),
        pytest.param(b"0", 0.0, id="zero seconds"),
        pytest.param(b"Sun, 06 Nov 1994 08:50:37 GMT", 60.0, id="an IMF-fixdate"),
        pytest.param(b"Sunday, 06-Nov-94 08:50:37 GMT", 60.0, id="an RFC 850 date"),
        pytest.param(b"Sun Nov  6 08:50:37 1994", 60.0, id="an asctime date"),
        pytest.param(b"Sun, 06 Nov 1994 08:48:37 GMT", 0.0, id="a date that is past"),
        pytest.param(b"31536000", 31_536_000.0, id="a year"),
        pytest.param(b"31536001", inf, id="more than a year"),
        pytest.param(b"9" * 60, inf, id="more than the age of the universe"),
        pytest.param(b"Sun, 06 Nov 9999 08:49:37 GMT", inf, id="a date far away"),
        pytest.param(b"9" * 65, None, id="too long to read"),
        pytest.param(b"", None, id="nothing"),
        pytest.param(b"-5", None, id="negative seconds"),
        pytest.param(b"+5", None, id="a sign"),
        pytest.param(b"1.5", None, id="a fraction"),
        pytest.param(b"1e3", None, id="an exponent"),
        pytest.param(b"1_000", None, id="an underscore"),
        pytest.param(b"soon", None, id="a word"),
        pytest.param(b"Sun, 99 Foo 1994 08:49:37 GMT", None, id="a month that is none"),
        pytest.param("٣".encode(), None, id="digits of another script"),
    ],
)
def test_retry_after(value: bytes, expected: float | None) -> None:
    assert parse_retry_after(value, WALL_S) == expected


@given(st.binary(max_size=80) | st.text("0123456789 :,-+GMTSunJa", max_size=40).map(str.encode))
def test_retry_after_never_raises_and_is_never_negative(value: bytes) -> None:
    delay_s = parse_retry_after(value, WALL_S)
    assert delay_s is None or delay_s >= 0


@given(st.integers(0, 31_536_000))
def test_a_written_date_is_read_back(ahead_s: int) -> None:
    date = formatdate(WALL_S + ahead_s, usegmt=True).encode()
    assert parse_retry_after(date, WALL_S) == ahead_s


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        pytest.param(0, 3, id="a quiet tool has three"),
        pytest.param(15, 3, id="20 % of 15 is three"),
        pytest.param(19, 3, id="20 % of 19 is not yet four"),
        pytest.param(20, 4, id="20 % of 20 is four"),
        pytest.param(100, 20, id="20 % of 100 is twenty"),
    ],
)
def test_retries_are_a_share_of_recent_calls(calls: int, expected: int) -> None:
    clock = FakeClock()
    budget = RetryBudget(clock)
    for _ in range(calls):
        budget.deposit(clock.monotonic())
    assert sum(budget.withdraw(RULE) for _ in range(200)) == expected


def test_the_share_is_of_the_last_ten_seconds() -> None:
    clock = FakeClock()
    budget = RetryBudget(clock)
    for _ in range(100):
        budget.deposit(clock.monotonic())
    clock.advance(10)
    assert [budget.withdraw(RULE) for _ in range(4)] == [True, True, True, False]
    clock.advance(10)
    assert budget.withdraw(RULE)


def test_tools_have_budgets_of_their_own() -> None:
    budgets = RetryBudgets(FakeClock())
    assert budgets.of("a") is budgets.of("a")
    while budgets.of("a").withdraw(RULE):
        pass
    assert budgets.of("b").withdraw(RULE)


def test_a_full_holder_drops_idle_budgets_and_shares_one_otherwise() -> None:
    clock = FakeClock()
    budgets = RetryBudgets(clock, limit=2)
    for tool in ("a", "b", "c", "d"):
        budgets.of(tool).deposit(clock.monotonic())
    assert (len(budgets), budgets.overflowed) == (2, 2)
    assert budgets.of("c") is budgets.of("d")
    clock.advance(10)
    for tool in ("c", "d"):
        budgets.of(tool).deposit(clock.monotonic())
    assert budgets.of("c") is not budgets.of("d")
    assert (len(budgets), budgets.overflowed) == (2, 4)


def test_what_a_budget_did_not_allow_is_counted_by_tool_and_never_forgotten() -> None:
    clock = FakeClock()
    budgets = RetryBudgets(clock, limit=1)
    budget = budgets.of("a")
    budget.deposit(clock.monotonic())
    assert [budget.withdraw(RULE) for _ in range(5)] == [True, True, True, False, False]
    assert budgets.denied() == {"a": 2}
    beyond = budgets.of("b")  # no room: the shared one
    assert [beyond.withdraw(RULE) for _ in range(4)][-1] is False
    assert budgets.denied() == {"a": 2, "_other": 1}
    clock.advance(11)
    budgets.of("c")  # takes the place of the idle one
    assert budgets.denied() == {"a": 2, "_other": 1}


def test_denials_of_dropped_budgets_are_kept_for_so_many_tools_only() -> None:
    clock = FakeClock()
    budgets = RetryBudgets(clock, limit=2)
    for name in ("a", "b", "c", "d"):
        budget = budgets.of(name)
        assert not [budget.withdraw(RULE) for _ in range(4)][-1]
        clock.advance(11)
    budgets.of("e")
    budgets.of("f")
    assert budgets.denied() == {"a": 1, "b": 1, "_other": 2}


def test_what_is_left_of_a_budget() -> None:
    clock = FakeClock()
    budgets = RetryBudgets(clock)
    for _ in range(100):
        budgets.of("busy").deposit(clock.monotonic())
    budgets.of("quiet").deposit(clock.monotonic())
    budgets.of("quiet").withdraw(RULE)
    budgets.of("gone").deposit(clock.monotonic())
    ratios = {"busy": 0.2, "quiet": 0.2}
    assert budgets.left(ratios.get) == {"busy": 20, "quiet": 2}
