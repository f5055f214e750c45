"""The beginning and the end of a trace."""

import pytest

from proxy.model.trace import TraceContext
from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor
from proxy.telemetry.span_queue import SpanQueue
from proxy.telemetry.tracing import Tracing, begin_attempt, unsampled
from tests.telemetry.records import make_record
from tests.telemetry.traces import FACTS

PARENT = TraceContext(0xABC, 0xDEF, 1, "a=b")


def tracing_with(*, sampled: bool = True) -> Tracing:
    tracing = Tracing(lambda parent, trace_id: sampled, SpanQueue(lambda views: 0))
    redactor = Redactor(RedactRule())
    tracing.redactor = lambda: redactor
    return tracing


def test_a_call_continues_the_trace_of_its_parent() -> None:
    record = make_record()
    tracing_with().begin(record, PARENT, 5.0)
    assert record.trace is not None
    assert record.trace_id == f"{0xABC:032x}"
    context = record.trace.context
    assert (context.trace_id, context.flags, context.state) == (0xABC, 1, "a=b")
    assert context.span_id not in (0, 0xDEF)
    assert record.trace.parent is PARENT
    assert (record.trace.started_s, record.trace.started_wall_s) == (5.0, record.ts)


def test_a_call_without_a_parent_begins_a_trace() -> None:
    records = [make_record(), make_record()]
    for record in records:
        tracing_with().begin(record, None, 5.0)
    first, second = (record.trace_id for record in records)
    assert first != second
    assert len(first) == 32
    assert records[0].trace is not None
    assert records[0].trace.parent is None
    assert records[0].trace.context.flags == 3  # sampled, and random (level 2)


def test_a_call_that_is_not_sampled_has_an_id_and_no_trace() -> None:
    record = make_record()
    tracing = tracing_with(sampled=False)
    tracing.begin(record, PARENT, 5.0)
    assert (record.trace_id, record.trace) == (f"{0xABC:032x}", None)
    tracing.finish(record, FACTS, 6.0)
    assert tracing.queue.depth == 0


def test_the_sampler_is_asked_once_about_parent_and_id() -> None:
    asked: list[tuple[TraceContext | None, int]] = []

    def sampler(parent: TraceContext | None, trace_id: int) -> bool:
        asked.append((parent, trace_id))
        return False

    Tracing(sampler, SpanQueue(lambda views: 0)).begin(make_record(), PARENT, 5.0)
    assert asked == [(PARENT, 0xABC)]


def test_beginning_again_forgets_what_was_begun() -> None:
    record, tracing = make_record(), tracing_with()
    tracing.begin(record, None, 5.0)
    tracing.begin(record, PARENT, 5.0, TraceContext(1, 2))
    assert record.trace is not None
    assert record.trace_id == f"{0xABC:032x}"
    assert record.trace.link == TraceContext(1, 2)


def test_a_trace_is_handed_on_once_and_the_record_lets_go_of_it() -> None:
    record, tracing = make_record(), tracing_with()
    tracing.begin(record, PARENT, 5.0)
    tracing.finish(record, FACTS, 6.0)
    tracing.finish(record, FACTS, 7.0)
    assert record.trace is None
    assert tracing.queue.depth == 1


def test_every_attempt_is_a_parent_of_its_own() -> None:
    record = make_record()
    tracing_with().begin(record, PARENT, 5.0)
    assert record.trace is not None
    contexts = [begin_attempt(record.trace, 5.0 + number) for number in range(3)]
    assert len({context.span_id for context in contexts}) == 3
    assert {context._replace(span_id=0) for context in contexts} == {
        record.trace.context._replace(span_id=0)
    }


@pytest.mark.parametrize("trace_id", ["0" * 31 + "1", "f" * 32])
def test_a_trace_that_is_not_recorded_says_so_upstream(trace_id: str) -> None:
    context = unsampled(trace_id)
    assert (f"{context.trace_id:032x}", context.is_sampled) == (trace_id, False)
    assert context.span_id
