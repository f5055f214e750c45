"""Traces of calls: begun with the call if the sampler says so, handed on when it is over.

On the event loop, and cheap there: ids, a context read from two headers, one question to the
sampler, a few slots. A call that is not sampled has no `Trace` at all. What spans say is worked
out in the exporter's thread (`span_queue`, `spans`).
"""

import random
from collections.abc import Callable

from proxy.model.record import CallRecord
from proxy.model.trace import RANDOM, SAMPLED, Attempt, CallFacts, Trace, TraceContext
from proxy.telemetry.redact import Redactor
from proxy.telemetry.span_queue import SpanQueue

# (what the client said, the trace's id) -> is this trace recorded?
Sampler = Callable[[TraceContext | None, int], bool]


class Tracing:
    """One for the process, where tracing is on. `redactor`: what hides secrets now."""

    def __init__(self, sampler: Sampler, queue: SpanQueue) -> None:
        self.queue = queue
        self.redactor: Callable[[], Redactor] | None = None
        self._sampler = sampler

    def begin(
        self,
        record: CallRecord,
        parent: TraceContext | None,
        started_s: float,
        link: TraceContext | None = None,
    ) -> None:
        """Give the call its trace: that of `parent`, or a new one. Sets `record.trace_id`, and
        `record.trace` if the trace is sampled. Again with another parent: as if for the first
        time."""
        trace_id = parent.trace_id if parent is not None else _random_bits(128)
        record.trace_id = f"{trace_id:032x}"
        record.trace = None
        if not self._sampler(parent, trace_id):
            return
        flags = RANDOM if parent is None else parent.flags & RANDOM
        state = parent.state if parent is not None else ""
        context = TraceContext(trace_id, _random_bits(64), flags | SAMPLED, state)
        record.trace = Trace(context, parent, started_s, record.ts, link)

    def finish(self, record: CallRecord, facts: CallFacts, ended_s: float) -> None:
        """The call is over, as far as its trace goes. Never blocks."""
        trace, record.trace = record.trace, None
        if trace is None or self.redactor is None:
            return
        trace.facts, trace.ended_s = facts, ended_s
        self.queue.submit(trace, self.redactor())


def begin_attempt(trace: Trace, now_s: float) -> TraceContext:
    """One more attempt starts; its span is what the upstream has for a parent."""
    attempt = Attempt(_random_bits(64), now_s)
    trace.attempts.append(attempt)
    return trace.context._replace(span_id=attempt.span_id)


def unsampled(trace_id: str) -> TraceContext:
    """The context to send upstream for a trace that began here and is not recorded, so that nobody
    behind us begins another."""
    return TraceContext(int(trace_id, 16), _random_bits(64), 0)


def _random_bits(count: int) -> int:
    """An id; all zeroes is none."""
    return random.getrandbits(count) or 1
