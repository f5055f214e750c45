"""The walk of a call. Read this first: it is the architecture, top to bottom.

    select     which tool is this?             policy.match, on the raw target
    authorize  may it be called at all?        policy.authorize, then the operator's switches
    read       what does a request to an MCP server say? (pipeline.mcp, for `kind: mcp`)
    admit      does it fit what is left?       budget, slot, rate limit (pipeline.admit)
    prepare    what goes on to the upstream?   wire.forward
    attempt    dial, send, retry               breaker, address guard (pipeline.attempt)
    relay      the answer back, metered        pipeline.relay, or pipeline.tunnel
    settle     charge, refund, release         Visit.settle
    record     one record, always              Booth.report

A tunnel whose TLS is intercepted leaves after authorize: it costs nothing, and each request inside
is a call of its own (pipeline.intercept).

Each stage is one line below; the first refusal ends the walk. One policy snapshot holds for all
of it. Settle and record happen once, whatever happened. A failure to decide is a refusal: an
unexpected exception ends in a 500, never in a call let through.

Why this order: what is cheapest and most final is asked first, so that a refused call has cost
nothing, resolved no name and opened no connection.
"""

import asyncio
from typing import Final

from proxy.guards.meter import readable_coding
from proxy.mcp.request import McpRequest
from proxy.model.call import Effect, Kind, Mode, ToolCall, is_probe_host
from proxy.model.errors import CLIENT_GONE, BadMessage, Refusal, Stopped, UpstreamFailed
from proxy.model.promise import into_task
from proxy.model.reason import Reason
from proxy.model.record import CallRecord
from proxy.pipeline.admit import admit
from proxy.pipeline.attempt import attempt
from proxy.pipeline.booth import Booth
from proxy.pipeline.exchange import Exchange
from proxy.pipeline.injection import inject
from proxy.pipeline.intercept import intercept, select_intercepted
from proxy.pipeline.live import LiveCall
from proxy.pipeline.mcp import judge_request, refuse_request, report_others
from proxy.pipeline.probe import answer_probe
from proxy.pipeline.relay import relay
from proxy.pipeline.reply import reply
from proxy.pipeline.sampling import keep_if_slow, sample
from proxy.pipeline.tracing import continue_trace, end_trace, replace_context
from proxy.pipeline.tunnel import switch_protocols, tunnel
from proxy.pipeline.upload import Upload, upload_of
from proxy.pipeline.visit import Visit
from proxy.pipeline.walker import Walker
from proxy.policy.authorize import authorize_tunnel
from proxy.policy.effect import effect_of
from proxy.policy.match import find_tunnel_tools
from proxy.policy.policy import ToolRule
from proxy.policy.route import find_route
from proxy.wire.forward import Outgoing, baggage_without_run, hops_left, via_of

_DRAINING: Final = Refusal(
    Reason.DRAINING, "The sidecar is shutting down; try again shortly.", retry_after_ms=1000
)
_BUG: Final = Refusal(
    Reason.INTERNAL_ERROR,
    "The sidecar failed while deciding, so the call was refused; tell the operator.",
)


async def handle(
    booth: Booth, exchange: Exchange, call: ToolCall, gateway_rule: ToolRule | None, walker: Walker
) -> None:  # fmt: skip
    """Walk one call to its end. `gateway_rule` is the tool a gateway path named; `walker` takes
    the steps.

    Never raises, except `CancelledError` when the whole process is being stopped.
    """
    record = _open_record(booth, exchange, call)
    live = LiveCall(call, walker.cancel, walker.loop, booth.spawn, booth.live.deadlines)
    visit = Visit(booth, exchange, call, live, record)
    if booth.tracing is not None:
        continue_trace(booth.tracing, visit)
    booth.live.enter(live)
    exchange.on_gone = live.stop
    refusal: Refusal | None = None
    try:
        await _walk(visit, gateway_rule)
        record.code = visit.outcome
    except Stopped as stop:
        refusal = stop.refusal
    except UpstreamFailed as failure:
        refusal = Refusal(failure.reason, failure.detail)
    except BadMessage as problem:
        refusal = problem.refusal
    except asyncio.CancelledError:
        refusal = live.stopped or _DRAINING
        if live.stopped is None:
            raise  # not ours: the process is being stopped
    except Exception as bug:  # noqa: BLE001 - fail closed: what we did not foresee is a refusal
        booth.report_bug(bug)
        refusal = _BUG
    finally:
        exchange.on_gone = None
        booth.live.leave(live)
        try:
            if refusal is not None:
                _refuse(visit, refusal)
        finally:
            _close_record(visit)


async def _walk(visit: Visit, gateway_rule: ToolRule | None) -> None:
    """The stages. The first that objects raises, and the walk is over."""
    booth, call, exchange = visit.booth, visit.call, visit.exchange
    if booth.is_draining or booth.memory.is_over or exchange.is_gone:
        _refuse_at_once(booth, exchange)
    if call.mode is Mode.CONNECT:
        await into_task()  # tunnels last, and wait for much
    if is_probe_host(call.target.origin.host) and call.mode is not Mode.GATEWAY:
        await answer_probe(visit)
        return
    if call.mode is Mode.CONNECT and select_intercepted(visit):
        await intercept(visit)
        return
    _select_and_authorize(visit, gateway_rule)
    upload = upload_of(exchange.body, visit.live)
    if visit.mcp is not None:
        await judge_request(visit, upload)
    await admit(visit, upload)
    if call.mode is Mode.CONNECT:
        await tunnel(visit)
        return
    hops = hops_left(exchange.head)
    if hops == 0:
        _answer_here(visit)
        return
    outgoing = _prepare(visit, upload, hops)
    if not upload.is_whole and b"expect" not in exchange.head.named:
        await upload.prefetch()
    connection, answer = await attempt(visit, outgoing, upload)
    try:
        if answer.head.status == 101:
            await switch_protocols(visit, connection, answer)
        else:
            await relay(visit, connection, answer, upload)
    except BaseException:
        connection.abort()  # nobody else knows of it
        raise


def _answer_here(visit: Visit) -> None:
    """It asked to go no further than this (RFC 9110 section 7.6.2)."""
    visit.record.status = 200
    visit.exchange.respond(b"HTTP/1.1 200 OK\r\n" + visit.exchange.date_line(), b"")


def _refuse_at_once(booth: Booth, exchange: Exchange) -> None:
    """Before anything is asked of the call itself. Short of memory some calls are let in."""
    if booth.is_draining:
        raise Stopped(_DRAINING)
    refusal = booth.memory.refuse(len(booth.live), booth.clock.monotonic())
    if refusal is not None:
        raise Stopped(refusal)
    if exchange.is_gone:
        raise Stopped(CLIENT_GONE)


def _select_and_authorize(visit: Visit, gateway_rule: ToolRule | None) -> None:
    """Which tool, does the policy permit it, and has an operator switched it off?"""
    call, policy, live = visit.call, visit.policy, visit.live
    if call.mode is Mode.CONNECT:
        origin = call.target.origin
        rules = find_tunnel_tools(policy, origin.host, origin.port)
        refusal = authorize_tunnel(rules, call.target)
        live.effect = effect_of(rules[0], call.method) if rules else Effect.WRITE
    else:
        rules, refusal, live.effect = find_route(
            policy, call.mode, call.method, call.target, gateway_rule
        )
    live.rules = rules
    if rules:
        visit.select(rules[0])
    if rules and rules[0].kind is Kind.MCP and call.mode is not Mode.CONNECT:
        visit.mcp = McpRequest(rules[0], call.call_id, refusal)
        return  # a refusal has to wait for the id of what it answers
    if refusal is None:
        refusal = visit.booth.switches.refuse(policy, rules, live.effect, call.caller)
    if refusal is not None:
        raise Stopped(refusal)


def _prepare(visit: Visit, upload: Upload, hops: int | None) -> Outgoing:
    """The head that goes upstream, and copies for the record if this run is sampled."""
    head, policy = visit.exchange.head, visit.policy
    spotlight = visit.booth.spotlight
    if spotlight.is_on:
        run_id, now_s = visit.call.caller.run_id, visit.booth.clock.monotonic()
        policy = visit.policy = spotlight.shown(policy, run_id, visit.rule.name, now_s)
    sample(visit, upload, policy.observability)
    replace: dict[bytes, bytes] = {}
    baggage = baggage_without_run(head)
    if baggage is not None:
        replace[b"baggage"] = baggage
    if visit.mcp is not None:
        replace[b"accept-encoding"] = b"Accept-Encoding: identity"  # answers are read as they pass
    if hops is not None:
        replace[b"max-forwards"] = b"Max-Forwards: %d" % (hops - 1)
    if visit.meter is not None:
        replace[b"accept-encoding"] = readable_coding(head)
    if visit.booth.tracing is not None:
        replace_context(visit, replace)
    path = visit.call.target.path
    if visit.rule.credentials is not None:
        head, path = inject(visit, visit.rule.credentials, replace)
    return Outgoing(
        head,
        origin=visit.call.target.origin,
        path=path,
        identity=policy.budgets.identity_headers,
        via=via_of(head.minor, visit.booth.via),
        replace=replace,
        keep_upgrade=visit.mcp is None,  # behind another protocol no tool could be judged
    )


def _open_record(booth: Booth, exchange: Exchange, call: ToolCall) -> CallRecord:
    record = CallRecord(call.call_id, call.mode, booth.clock.wall())
    origin = call.target.origin
    record.caller = call.caller
    record.client_address = exchange.client_address
    record.method = call.method
    record.scheme, record.host, record.port = origin
    record.path = call.target.path
    record.policy_version = booth.policy.version
    record.trace_id = exchange.trace_id
    return record


def _refuse(visit: Visit, refusal: Refusal) -> None:
    record = visit.record
    record.code, record.detail, record.rule = refusal.reason, refusal.detail, refusal.rule
    if visit.mcp is not None and (status := refuse_request(visit, visit.mcp, refusal)) is not None:
        record.status = status or record.status
        return
    status = reply(
        visit.exchange, refusal, mode=visit.call.mode, call_id=record.call_id, tool=record.tool,
        caller=visit.call.caller,
    )  # fmt: skip
    if status:
        record.status = status


def _close_record(visit: Visit) -> None:
    booth, record = visit.booth, visit.record
    visit.settle()
    if not record.request_bytes:
        record.request_bytes = visit.exchange.body.size
    record.total_ms = (booth.clock.monotonic() - visit.call.started_s) * 1000
    if visit.slow_ms is not None:
        keep_if_slow(visit, visit.slow_ms)
    if record.trace is not None:
        end_trace(visit, record.code)
    if visit.mcp is not None:
        report_others(visit, visit.mcp)
    booth.report(record, visit.captured_bytes)
