"""The memory limit of captured bodies."""

from proxy.model.record import Capture
from proxy.telemetry.captures import CaptureBudget, capture_size, captured_size
from tests.telemetry.records import make_record, make_sampled


def test_it_gives_what_fits_and_not_one_byte_more() -> None:
    budget = CaptureBudget(100)
    assert budget.take(60)
    assert not budget.take(41)
    assert budget.take(40)
    assert (budget.used_bytes, budget.refused) == (100, 1)


def test_what_is_given_back_can_be_taken_again() -> None:
    budget = CaptureBudget(100)
    assert budget.take(100)
    budget.give(50)
    assert budget.take(50)
    assert not budget.take(1)


def test_giving_back_too_much_does_not_raise_the_limit() -> None:
    budget = CaptureBudget(100)
    budget.give(1000)
    assert budget.used_bytes == 0
    assert not budget.take(101)


def test_a_size_counts_body_and_fields() -> None:
    assert capture_size(None) == 0
    empty = capture_size(Capture([]))
    full = Capture([(b"ab", b"cde")])
    full.body += b"x" * 1000
    assert capture_size(full) >= empty + 1005
    assert captured_size(make_record()) == 0
    assert captured_size(make_sampled(size_bytes=8192)) >= 2 * 8192
