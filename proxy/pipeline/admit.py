"""Admission: the limits a permitted call must fit into, in one fixed order.

Why this order. The budget comes first, since what it says is final for the run and should be
what the agent hears; it also makes overselling impossible, as nothing yields between looking and
reserving. The slot comes before the rate limit because a call may wait for the rate: holding a
slot meanwhile bounds how many can wait. The breaker comes last and only looks: a probe of a
half-open breaker must not be lost to a limit. What an earlier stage granted, `Visit.settle`
gives back when a later one refuses.
"""

from collections import Counter
from typing import Final

from proxy.guards.amount import NO_ESTIMATE, Estimate
from proxy.guards.budget import Reservation
from proxy.guards.loop import loop_key
from proxy.guards.meter import Meter, guess_usage
from proxy.model.call import Kind, Mode
from proxy.model.errors import Refusal, Stopped
from proxy.model.reason import Reason
from proxy.pipeline.early import read_early
from proxy.pipeline.upload import MAX_KEPT_BYTES, Upload
from proxy.pipeline.visit import Visit
from proxy.policy.policy import ToolRule
from proxy.wire.body import Ends

TIMEOUT: Final = Refusal(
    Reason.TIMEOUT,
    "The tool did not answer within its time limit; do not repeat the same call, try a smaller "
    "one or go on without it.",
    "tools.timeouts_ms",
)
RUN_OVER: Final = Refusal(
    Reason.MAX_SECONDS,
    "This run has used its seconds; stop calling tools and finish with what you have.",
    "budgets.max_seconds",
)


async def admit(visit: Visit, upload: Upload) -> None:
    """Raise `Stopped` unless the call fits; may wait for the rate limit, within the deadline."""
    booth, call, rule = visit.booth, visit.call, visit.rule
    now_s = booth.clock.monotonic()
    visit.live.set_deadline(call.started_s + rule.timeouts.call_s, now_s, TIMEOUT)
    keys: tuple[int, ...] = ()
    if visit.policy.budgets.loop_limit is not None:
        is_read = upload.is_whole or visit.mcp is not None
        if not is_read:
            is_read = await read_early(visit, upload, MAX_KEPT_BYTES)
            now_s = booth.clock.monotonic()
        if is_read:
            keys = _loop_keys(visit, upload)
    estimate = NO_ESTIMATE
    if rule.kind is Kind.MODEL and call.mode is not Mode.CONNECT:
        await _meter(visit, upload)
        estimate = NO_ESTIMATE if visit.meter is None else visit.meter.estimate
        now_s = booth.clock.monotonic()
    reserved = _reserve(visit, keys, estimate)
    if isinstance(reserved, Refusal):
        raise Stopped(reserved)
    visit.reservation = reserved
    upload.charge_to(visit.charge_bytes)
    run_end_s = reserved.run_deadline_s
    if run_end_s is not None and run_end_s < visit.live.deadline_s:
        visit.live.set_deadline(run_end_s, now_s, RUN_OVER)
    if visit.mcp is None:
        rate, rates = rule.rate, booth.rates
        refusal = visit.take_slot(rule)
        if refusal is None and rate is not None:
            if not rates.take_now(rule.rate_name, rate, call.caller):
                refusal = await rates.take(rule.rate_name, rate, call.caller)
            visit.record.queue_ms = (booth.clock.monotonic() - now_s) * 1000
    else:
        refusal = await _take_each(visit, visit.mcp.rules, now_s)
    if refusal is not None:
        raise Stopped(refusal)


def _reserve(visit: Visit, keys: tuple[int, ...], estimate: Estimate) -> Reservation | Refusal:
    ledger, rule, request = visit.booth.ledger, visit.rule, visit.mcp
    budgets, caller = visit.policy.budgets, visit.call.caller
    key = keys[0] if keys else None
    if request is None:
        return ledger.reserve(budgets, caller, rule.kind, rule.cost_micros, key, estimate=estimate)
    if not request.calls:
        return ledger.pass_free(budgets, caller)
    return ledger.reserve(
        budgets, caller, rule.kind, request.cost_micros, key, calls=len(request.calls),
        more_keys=keys[1:],
    )  # fmt: skip


async def _take_each(visit: Visit, rules: tuple[ToolRule, ...], started_s: float) -> Refusal | None:
    """A batch is as many calls as it holds. All it needs of a bucket is taken at once, and of none
    where one of them would refuse it: a shared bucket must not be drained by what is not sent."""
    take_place = visit.take_stream if visit.stream_idle_s else visit.take_slot
    for rule in rules:
        if (refusal := take_place(rule)) is not None:
            return refusal
    rates, caller = visit.booth.rates, visit.call.caller
    counts = Counter(rule.rate_name for rule in rules if rule.rate is not None)
    buckets = {rule.rate_name: rule.rate for rule in rules if rule.rate is not None}
    if len(buckets) > 1:
        for name, rate in buckets.items():
            if (refusal := rates.foresee(name, rate, caller, counts[name])) is not None:
                return refusal
    for name, rate in buckets.items():
        refusal = await rates.take(name, rate, caller, counts[name])
        visit.record.queue_ms = (visit.booth.clock.monotonic() - started_s) * 1000
        if refusal is not None:
            return refusal
    return None


def _loop_keys(visit: Visit, upload: Upload) -> tuple[int, ...]:
    """What identifies the call for loop detection, its body included; of a batch each of its
    calls. Not asked where the body is too large to keep: that is a call of its own."""
    target, request = visit.call.target, visit.mcp
    if request is not None:
        if not request.calls:
            return ()
        return tuple(
            loop_key(rule.name, "", target, body)
            for rule, body in zip(request.rules, request.loop_bodies, strict=True)
        )
    return (loop_key(visit.rule.name, visit.call.method, target, upload.kept),)


async def _meter(visit: Visit, upload: Upload) -> None:
    """Have what the model uses read from its answer, and guess it beforehand where a budget or a
    price depends on it. A call without content asks a model nothing: it lists, looks up, deletes,
    and an answer that repeats an earlier usage must not be paid for twice."""
    framing = visit.exchange.body.framing
    if framing.ends is Ends.AT_ONCE or (framing.ends is Ends.BY_LENGTH and not framing.length):
        return
    pricing, guess = visit.rule.pricing, None
    if pricing is not None or visit.policy.budgets.max_tokens is not None:
        is_whole = await read_early(visit, upload, MAX_KEPT_BYTES)
        size_bytes = framing.length if framing.ends is Ends.BY_LENGTH else len(upload.kept)
        guess = guess_usage(upload.kept if is_whole else b"", size_bytes)
    visit.meter = Meter(pricing, guess)
    visit.filter_for = visit.meter.filter_for
