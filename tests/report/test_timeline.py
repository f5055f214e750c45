from hypothesis import given
from hypothesis import strategies as st

from proxy.report.outcome import Outcome
from proxy.report.timeline import MOST_SLOTS, Timeline


@given(
    st.lists(
        st.tuples(st.integers(0, 4_000_000_000), st.sampled_from(Outcome)), min_size=1, max_size=80
    )
)
def test_every_call_is_in_its_slot_whatever_the_order(calls: list[tuple[int, Outcome]]) -> None:
    timeline = Timeline()
    for at_s, outcome in calls:
        timeline.add(at_s, outcome)
    slots = timeline.slots()
    assert len(slots) <= MOST_SLOTS
    for begin_s, counts in slots:
        inside = [o for at_s, o in calls if begin_s <= at_s < begin_s + timeline.width_s]
        assert counts == {outcome: inside.count(outcome) for outcome in Outcome}
    assert sum(sum(counts.values()) for _, counts in slots) == len(calls)


def test_slots_are_no_wider_than_they_need_to_be() -> None:
    timeline = Timeline()
    timeline.add(1000.0, Outcome.OK)
    timeline.add(1239.9, Outcome.OK)
    assert (timeline.width_s, len(timeline.slots())) == (1, 240)
    timeline.add(999.9, Outcome.FAILED)
    assert timeline.width_s == 5
    assert timeline.slots()[0] == (
        995.0,
        {Outcome.OK: 0, Outcome.REFUSED: 0, Outcome.FAILED: 1, Outcome.GONE: 0},
    )


def test_no_calls_are_no_slots() -> None:
    assert Timeline().slots() == []
