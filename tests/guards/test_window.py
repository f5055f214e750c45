import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.window import RollingWindow


@pytest.mark.parametrize(
    ("later_s", "expected"),
    [
        pytest.param(0.0, 1, id="just now"),
        pytest.param(9.4, 1, id="nine seconds on"),
        pytest.param(9.5, 0, id="the tenth second has begun"),
        pytest.param(10_000.0, 0, id="long ago"),
    ],
)
def test_an_event_is_forgotten_within_ten_seconds(later_s: float, expected: int) -> None:
    window = RollingWindow()
    window.add(100.5, 1, 1)
    window.roll(100.5 + later_s)
    assert (window.total, window.marked) == (expected, expected)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(0, 3)), max_size=60))
def test_it_equals_the_sum_over_the_last_ten_seconds(steps: list[tuple[int, int, int]]) -> None:
    window = RollingWindow()
    events = []
    now = 1000
    for wait, total, marked in steps:
        now += wait
        window.add(now, total, marked)
        events.append((now, total, marked))
        recent = [event for event in events if event[0] > now - 10]
        assert window.total == sum(event[1] for event in recent)
        assert window.marked == sum(event[2] for event in recent)
