"""Copies of a call for its record: for runs that are sampled, and for calls that turn out slow.

Whether a call is slow is known at its end, so with `slow_ms` every call keeps copies while it lasts
and the fast ones drop them. That costs the copying, and memory for as many calls as are under way.
These copies may fill no more than half of the capture budget: what is sampled for sure comes first.
"""

from typing import Final

from proxy.pipeline.upload import Upload
from proxy.pipeline.visit import Visit
from proxy.policy.policy import ObservabilityRule
from proxy.telemetry.sample import is_sampled

_HEADS_BYTES: Final = 4096  # what two heads take in a sampled record, roughly


def sample(visit: Visit, upload: Upload, rule: ObservabilityRule) -> None:
    """Begin copying if the call's run is sampled, or may have to be shown for being slow."""
    if not rule.sampled_tool_results:
        return
    record, captures = visit.record, visit.booth.captures
    rate = rule.result_sample_rate
    if rule.sample_rates:
        rate = rule.sample_rates.get(visit.rule.name, rate)
    size = _HEADS_BYTES + 2 * rule.max_result_bytes
    if is_sampled(visit.call.caller.run_id, rate):
        record.sampled = captures.take(size)
    elif rule.slow_ms is not None:
        visit.slow_ms = rule.slow_ms
        has_room = 2 * (captures.used_bytes + size) <= captures.limit_bytes
        record.sampled = has_room and captures.take(size)
    if record.sampled:
        visit.captured_bytes = size
        record.request = visit.capture(visit.exchange.head.fields)
        upload.capture_to(record.request)


def keep_if_slow(visit: Visit, slow_ms: int) -> None:
    """The call has ended: drop its copies if it was fast. A slow one that found no room for them
    is counted."""
    record, captures = visit.record, visit.booth.captures
    if record.total_ms >= slow_ms:
        captures.refused += not record.sampled
        return
    captures.give(visit.captured_bytes)
    visit.captured_bytes = 0
    record.sampled = False
    record.request = record.result = None
