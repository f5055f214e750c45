import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.allowance import left_text, usd, warning_text
from proxy.guards.runs import Run
from proxy.policy.policy import BudgetRule

WARN_AT = (0.8, 0.95)


@pytest.mark.parametrize(
    ("micros", "expected"),
    [
        pytest.param(0, "0.00", id="nothing"),
        pytest.param(1_000_000, "1.00", id="a dollar"),
        pytest.param(990_000, "0.99", id="cents"),
        pytest.param(999_500, "0.9995", id="trailing zeros go"),
        pytest.param(1, "0.000001", id="one micro"),
        pytest.param(100_000, "0.10", id="two decimals stay"),
        pytest.param(12_345_678_900, "12345.6789", id="many dollars"),
    ],
)
def test_dollars(micros: int, expected: str) -> None:
    assert usd(micros) == expected


@given(st.integers(0, 10**15))
def test_dollars_read_back_exactly(micros: int) -> None:
    whole, decimals = usd(micros).split(".")
    assert 2 <= len(decimals) <= 6
    assert int(whole) * 10**6 + int(decimals.ljust(6, "0")) == micros


def a_run(tool_calls: int = 0, steps: int = 0, spend_micros: int = 0) -> Run:
    run = Run("run-1", 1000.0)
    run.tool_calls = tool_calls
    run.steps = steps
    run.spend_micros = spend_micros
    return run


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        pytest.param(9, None, id="three quarters"),
        pytest.param(10, "tool-calls 80% used (10 of 12)", id="past the first threshold"),
        pytest.param(11, "tool-calls 80% used (11 of 12)", id="between the two"),
        pytest.param(12, "tool-calls 95% used (12 of 12)", id="past both shows the higher"),
        pytest.param(13, "tool-calls 95% used (13 of 12)", id="over a lowered limit"),
    ],
)
def test_the_highest_threshold_passed_is_shown(used: int, expected: str | None) -> None:
    rule = BudgetRule(max_tool_calls=12, warn_at=WARN_AT)
    assert warning_text(a_run(tool_calls=used), rule, 1000.0) == expected


@pytest.mark.parametrize(
    ("limit", "used", "warns"),
    [
        pytest.param(5, 4, True, id="exactly 80 %"),
        pytest.param(10_000, 8_000, True, id="exactly 80 % of many"),
        pytest.param(10_000, 7_999, False, id="just under"),
    ],
)
def test_a_threshold_is_passed_when_it_is_reached(limit: int, used: int, warns: bool) -> None:
    rule = BudgetRule(max_steps=limit, warn_at=WARN_AT)
    assert (warning_text(a_run(steps=used), rule, 1000.0) is not None) is warns


def test_the_limit_the_run_is_nearest_to_is_named() -> None:
    rule = BudgetRule(
        max_steps=10, max_tool_calls=10, max_spend_micros=1_000_000, max_seconds=60, warn_at=WARN_AT
    )
    run = a_run(steps=8, tool_calls=2, spend_micros=900_000)
    assert warning_text(run, rule, 1000.0) == "spend-usd 80% used (0.90 of 1.00)"
    assert warning_text(run, rule, 1058.9) == "seconds 95% used (58 of 60)"


def test_held_spend_counts_as_used() -> None:
    rule = BudgetRule(max_spend_micros=1_000_000, warn_at=WARN_AT)
    run = a_run(spend_micros=100_000)
    run.held_micros = 850_000
    assert warning_text(run, rule, 1000.0) == "spend-usd 95% used (0.95 of 1.00)"
    assert left_text(run, rule, 1000.0) == b"spend-usd=0.05"


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(BudgetRule(max_tool_calls=12), id="no thresholds"),
        pytest.param(BudgetRule(warn_at=WARN_AT), id="no limits"),
        pytest.param(BudgetRule(max_tool_calls=0, warn_at=WARN_AT), id="a limit of zero"),
    ],
)
def test_no_warning_without_limit_or_threshold(rule: BudgetRule) -> None:
    assert warning_text(a_run(tool_calls=12), rule, 1000.0) is None


def test_nothing_left_is_never_below_zero() -> None:
    rule = BudgetRule(max_steps=1, max_seconds=10, max_spend_micros=5)
    run = a_run(steps=3, spend_micros=9)
    assert left_text(run, rule, 2000.0) == b"steps=0, seconds=0, spend-usd=0.00"
