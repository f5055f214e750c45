import pytest

from proxy.guards.concurrency import Slots
from proxy.model.reason import Reason


def test_the_limit_is_reached_exactly_and_a_release_makes_room() -> None:
    slots = Slots()
    assert [slots.acquire("t", 2) for _ in range(2)] == [None, None]
    refusal = slots.acquire("t", 2)
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after_ms) == (Reason.BUSY, 1000)
    assert slots.in_flight("t") == 2
    slots.release("t")
    assert slots.acquire("t", 2) is None


def test_tools_do_not_take_each_others_places() -> None:
    slots = Slots()
    slots.acquire("a", 1)
    assert slots.acquire("b", 1) is None


def test_a_lowered_limit_waits_for_calls_to_end() -> None:
    slots = Slots()
    for _ in range(3):
        slots.acquire("t", 3)
    slots.release("t")
    assert slots.acquire("t", 2) is not None
    slots.release("t")
    assert slots.acquire("t", 2) is None


def test_giving_back_a_place_twice_is_an_error() -> None:
    slots = Slots()
    slots.acquire("t", 1)
    slots.release("t")
    assert slots.in_flight("t") == 0
    with pytest.raises(KeyError):
        slots.release("t")
