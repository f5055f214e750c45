"""The queue between calls and the receiver of their spans."""

import threading
from collections.abc import Callable, Sequence

from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor
from proxy.telemetry.span_queue import SpanQueue
from proxy.telemetry.spans import SpanView
from tests.telemetry.traces import make_trace

REDACTOR = Redactor(RedactRule())


class Receiver:
    """Takes batches; `problem` says how many of one it loses."""

    def __init__(self, problem: Callable[[], int] = lambda: 0) -> None:
        self.batches: list[Sequence[SpanView]] = []
        self._problem = problem

    def __call__(self, views: Sequence[SpanView]) -> int:
        self.batches.append(views)
        return self._problem()


def test_what_is_queued_is_exported_in_order_and_in_batches() -> None:
    receiver = Receiver()
    queue = SpanQueue(receiver, batch_spans=4, delay_s=60)
    for number in range(1, 6):
        queue.submit(make_trace(number), REDACTOR)
    assert queue.depth == 10
    queue.start()
    queue.stop(5)
    assert [len(batch) for batch in receiver.batches] == [4, 4, 2]
    numbers = [view.context.trace_id for batch in receiver.batches for view in batch]
    assert numbers == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert (queue.exported, queue.depth, queue.failures) == (10, 0, 0)
    assert set(queue.dropped().values()) == {0}


def test_a_call_with_more_spans_than_a_batch_still_leaves() -> None:
    receiver = Receiver()
    queue = SpanQueue(receiver, batch_spans=2, delay_s=60)
    queue.submit(make_trace(attempts=5), REDACTOR)
    queue.start()
    queue.stop(5)
    assert [len(batch) for batch in receiver.batches] == [6]


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    queue = SpanQueue(Receiver(), limit_spans=5, delay_s=60)
    for number in range(4):
        queue.submit(make_trace(number + 1), REDACTOR)
    assert queue.depth == 4
    assert queue.dropped()["queue_full"] == 4


def test_a_full_batch_leaves_before_its_time() -> None:
    came = threading.Event()

    def take(views: Sequence[SpanView]) -> int:
        came.set()
        return 0

    queue = SpanQueue(take, batch_spans=4, delay_s=3600)
    queue.start()
    queue.submit(make_trace(1), REDACTOR)
    queue.submit(make_trace(2), REDACTOR)
    assert came.wait(5)
    queue.stop(5)


def test_a_batch_that_is_not_taken_is_counted_and_the_next_one_goes_on() -> None:
    answers = iter([2, 1, 0])
    queue = SpanQueue(Receiver(lambda: next(answers)), batch_spans=2, delay_s=60)
    for number in range(3):
        queue.submit(make_trace(number + 1), REDACTOR)
    queue.start()
    queue.stop(5)
    assert queue.dropped()["export_failed"] == 3
    assert (queue.exported, queue.failures) == (3, 2)


def test_an_exporters_bug_costs_its_batch_and_not_the_thread() -> None:
    calls = []

    def explode(views: Sequence[SpanView]) -> int:
        calls.append(len(views))
        raise RuntimeError("a bug")

    queue = SpanQueue(explode, batch_spans=2, delay_s=60)
    queue.submit(make_trace(1), REDACTOR)
    queue.submit(make_trace(2), REDACTOR)
    queue.start()
    queue.stop(5)
    assert calls == [2, 2]
    assert queue.dropped()["export_failed"] == 4


def test_a_trace_that_cannot_be_told_costs_itself() -> None:
    receiver = Receiver()
    queue = SpanQueue(receiver, delay_s=60)
    broken = make_trace(1)
    broken.facts = None
    queue.submit(broken, REDACTOR)
    queue.submit(make_trace(2), REDACTOR)
    queue.start()
    queue.stop(5)
    assert queue.dropped()["format_error"] == 2
    assert queue.exported == 2


def test_the_end_does_not_wait_for_a_receiver_that_hangs() -> None:
    let_go, is_hanging = threading.Event(), threading.Event()

    def hang(views: Sequence[SpanView]) -> int:
        is_hanging.set()
        let_go.wait(30)
        return len(views)

    queue = SpanQueue(hang, batch_spans=2, delay_s=0.01)
    queue.submit(make_trace(1), REDACTOR)
    queue.submit(make_trace(2), REDACTOR)
    queue.start()
    assert is_hanging.wait(5)
    told: list[str] = []
    queue.stop(0.01, lambda: told.append("give up"))
    assert told == ["give up"]
    assert queue.dropped()["shutdown"] == 4  # those on their way, and those that waited
    let_go.set()


def test_a_queue_that_never_started_stops_and_says_what_it_had() -> None:
    queue = SpanQueue(Receiver())
    queue.submit(make_trace(), REDACTOR)
    queue.stop(1)
    assert queue.dropped()["shutdown"] == 2
