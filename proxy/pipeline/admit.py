"""Admission: the limits a permitted call must fit into, in one fixed order.

Why this order. The budget comes first, since what it says is final for the run and should be
what the agent hears; it also makes overselling impossible, as nothing yields between looking and
reserving. The slot comes before the rate limit because a call may wait for the rate: holding a
slot meanwhile bounds how many can wait. The breaker comes last and only looks: a probe of a
half-open breaker must not be lost to a limit. What an earlier stage granted, `Visit.settle`
gives back when a later one refuses.
"""

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

TIMEOUT = Refusal(
    Reason.TIMEOUT,
    "The tool did not answer within its time limit; do not repeat the same call, try a smaller "
    "one or go on without it.",
    "tools.timeouts_ms",
)
RUN_OVER = Refusal(
    Reason.MAX_SECONDS,
    "This run has used its seconds; stop calling tools and finish with what you have.",
    "budgets.max_seconds",
)


async def admit(visit: Visit, upload: Upload) -> None:
    """Raise `Stopped` unless the call fits; may wait for the rate limit, within the deadline."""
    booth, call, rule = visit.booth, visit.call, visit.rule
    now_s = booth.clock.monotonic()
    visit.live.set_deadline(call.started_s + rule.timeouts.call_s, now_s, TIMEOUT)
    key = None
    if visit.policy.budgets.loop_limit is not None:
        key = await _loop_key(visit, upload)
        now_s = booth.clock.monotonic()
    estimate = NO_ESTIMATE
    if rule.kind is Kind.MODEL and call.mode is not Mode.CONNECT:
        await _meter(visit, upload)
        estimate = NO_ESTIMATE if visit.meter is None else visit.meter.estimate
        now_s = booth.clock.monotonic()
    reserved = _reserve(visit, key, estimate)
    if isinstance(reserved, Refusal):
        raise Stopped(reserved)
    visit.reservation = reserved
    upload.charge_to(visit.charge_bytes)
    run_end_s = reserved.run_deadline_s
    if run_end_s is not None and run_end_s < visit.live.deadline_s:
        visit.live.set_deadline(run_end_s, now_s, RUN_OVER)
    if visit.mcp is None:
        refusal = await _take_limits(visit, rule, now_s)
    else:  # a batch is as many calls as it holds
        refusal = None
        for each in visit.mcp.rules:
            refusal = refusal or await _take_limits(visit, each, now_s)
    if refusal is not None:
        raise Stopped(refusal)


def _reserve(visit: Visit, key: int | None, estimate: Estimate) -> Reservation | Refusal:
    ledger, rule, request = visit.booth.ledger, visit.rule, visit.mcp
    budgets, caller = visit.policy.budgets, visit.call.caller
    if request is None:
        return ledger.reserve(budgets, caller, rule.kind, rule.cost_micros, key, estimate=estimate)
    if not request.calls:
        return ledger.pass_free(budgets, caller)
    return ledger.reserve(
        budgets, caller, rule.kind, request.cost_micros, key, calls=len(request.calls)
    )


async def _take_limits(visit: Visit, rule: ToolRule, started_s: float) -> Refusal | None:
    booth = visit.booth
    refusal = visit.take_slot(rule)
    if refusal is None and rule.rate is not None:
        refusal = await booth.rates.take(rule.rate_name, rule.rate, visit.call.caller)
        visit.record.queue_ms = (booth.clock.monotonic() - started_s) * 1000
    return refusal


async def _loop_key(visit: Visit, upload: Upload) -> int | None:
    """The call's identity for loop detection, its body included. A body too large to keep makes
    it a call of its own."""
    if visit.mcp is not None:
        if not visit.mcp.calls:
            return None
        target, body = visit.call.target, visit.mcp.loop_body
        return loop_key(visit.rule.name, "", target.path, target.origin.authority, body)
    if not await read_early(visit, upload, MAX_KEPT_BYTES):
        return None
    target = visit.call.target
    return loop_key(
        visit.rule.name, visit.call.method, target.path, target.origin.authority, upload.kept
    )


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
