"""The soft mark of memory."""

from proxy.guards.memory import FEW_CALLS, ONE_EVERY_S, MemoryMark
from proxy.model.reason import Reason

MARK = 100


def over() -> MemoryMark:
    mark = MemoryMark(MARK)
    mark.note(MARK)
    return mark


def test_without_a_mark_nothing_is_too_much() -> None:
    mark = MemoryMark()
    mark.note(10**15)
    assert not mark.is_over


def test_refusing_ends_a_little_below_where_it_began() -> None:
    """Else it would begin and end with every call."""
    mark = MemoryMark(MARK)
    seen = []
    for resident in (99, 100, 99, 96, 94, 99, 100):
        mark.note(resident)
        seen.append(mark.is_over)
    assert seen == [False, True, True, True, False, False, True]


def test_above_the_mark_calls_are_refused_and_told_when_to_come_back() -> None:
    mark = over()
    refusal = mark.refuse(FEW_CALLS, 0.0)
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after_ms) == (Reason.BUSY, 1000)
    assert refusal.rule == "TOOLBOOTH_MEMORY_SOFT_MIB"
    assert mark.refused == 1


def test_where_few_are_under_way_one_is_let_in_now_and_then() -> None:
    """A heap that does not shrink must not be the end of all calls."""
    mark = over()
    answers = [mark.refuse(0, n * ONE_EVERY_S / 2) is None for n in range(4)]
    assert answers == [True, False, True, False]
    assert mark.refused == 2


def test_below_the_mark_everybody_is_let_in() -> None:
    mark = over()
    mark.note(0)
    assert mark.refuse(10**6, 0.0) is None
    assert mark.refused == 0
