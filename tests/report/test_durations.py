import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.report.durations import Durations

MS = st.floats(min_value=0.2, max_value=3e7)


def of(values: list[float]) -> Durations:
    durations = Durations()
    for value in values:
        durations.add(value)
    return durations


@given(st.lists(MS, min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_right_to_within_a_tenth(values: list[float], share: float) -> None:
    exact = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    found = of(values).percentile_ms(share)
    assert found == pytest.approx(exact, rel=0.1)


@given(st.lists(MS, max_size=60))
def test_octaves_hold_every_call_once_in_order(values: list[float]) -> None:
    octaves = of(values).octaves()
    assert sum(count for _, count in octaves) == len(values)
    bounds = [bound for bound, _ in octaves]
    assert bounds == [bounds[0] * 2**place for place in range(len(bounds))]


def test_nothing_says_nothing() -> None:
    empty = of([])
    assert (empty.percentile_ms(0.5), empty.octaves(), empty.longest_ms) == (None, [], 0.0)


def test_extremes_stay_in_the_first_and_the_last_bucket() -> None:
    durations = of([0.0, 0.01, 1e14])
    assert durations.percentile_ms(0.5) == 0.125
    assert durations.longest_ms == 1e14
    assert sum(count for _, count in durations.octaves()) == 3
    assert len(durations.octaves()) < 40
