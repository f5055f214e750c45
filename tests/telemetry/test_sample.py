"""Sampling by run."""

import pytest

from proxy.telemetry.sample import is_sampled


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        pytest.param(0.0, False, id="zero samples nothing"),
        pytest.param(-1.0, False, id="less than zero neither"),
        pytest.param(float("nan"), False, id="not a number neither"),
        pytest.param(1.0, True, id="one samples everything"),
        pytest.param(2.0, True, id="more than one too"),
    ],
)
def test_the_ends_are_exact(rate: float, expected: bool) -> None:
    assert all(is_sampled(f"run-{i}", rate) is expected for i in range(2000))


@pytest.mark.parametrize("form", ["run-{}", "{:032x}", "shared:10.0.0.{}", "{}-job"])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_the_share_is_about_the_rate_for_consecutive_ids(form: str, rate: float) -> None:
    hits = sum(is_sampled(form.format(i), rate) for i in range(20_000))
    assert 0.8 * rate < hits / 20_000 < 1.2 * rate


def test_a_run_is_sampled_whole_and_at_every_higher_rate() -> None:
    chosen = [run for run in map(str, range(5000)) if is_sampled(run, 0.01)]
    assert chosen
    assert all(is_sampled(run, 0.01) and is_sampled(run, 0.02) for run in chosen)


def test_the_verdict_is_the_same_on_every_machine() -> None:
    assert [i for i in range(400) if is_sampled(f"run-{i}", 0.01)] == [48, 60, 148, 178, 352]


def test_any_text_is_a_run_id() -> None:
    assert is_sampled("\ud800", 0.999999999) in (True, False)
