"""Tunnels: CONNECT, and a connection that switched to WebSocket.

Once open, a tunnel is bounded by silence, by what its run has left (seconds, bytes), by its tools'
`tunnel` limits and by the switches, not by the tool's time limit, which bounds the opening. Its
first bytes must agree with what was judged (`pipeline.opening`), and until they do the upstream
is not heard either, unless every tool here says `raw`.
"""

import asyncio

from proxy.model.call import Kind, Mode
from proxy.model.errors import Refusal, Stopped, UpstreamFailed
from proxy.model.reason import Reason
from proxy.pipeline.admit import RUN_OVER
from proxy.pipeline.opening import PlainHttp, opening_judge
from proxy.pipeline.reply import established
from proxy.pipeline.tracing import end_attempt, end_trace, start_attempt
from proxy.pipeline.visit import Visit
from proxy.policy.policy import ToolRule
from proxy.upstream.answer import Answer
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.tunnel import Splice, SpokeFirstError
from proxy.wire.forward import relayed_lines


async def tunnel(visit: Visit) -> None:
    """Serve a CONNECT: dial, answer 200, splice until it ends."""
    booth, exchange, record = visit.booth, visit.exchange, visit.record
    started_s = booth.clock.monotonic()
    record.attempts = 1
    origin = visit.call.target.origin
    if record.trace is not None:
        start_attempt(visit, record.trace)
    connection = await booth.pool.connect(origin, visit.rule, opaque=True)
    now_s = booth.clock.monotonic()
    record.upstream_ms = (now_s - started_s) * 1000
    upstream, early_upstream = connection.take_over()
    record.status = 200
    client, early_client = exchange.open_tunnel(established(visit, visit.reservation.left(now_s)))
    visit.has_sent = True
    if record.trace is not None:
        end_attempt(visit, record.trace, None, (200, connection))
        end_trace(visit, Reason.OK)
    splice = _opaque_splice(visit, client, upstream)
    try:
        await _run(visit, splice, early_client, early_upstream)
    except SpokeFirstError:
        raise Stopped(_not_raw(visit.live.rules, "the upstream speaks first")) from None
    except PlainHttp:
        # The tunnel itself did nothing; the requests inside pay for themselves.
        visit.has_sent = False
        if splice.handed_back is not None:
            inside = origin._replace(scheme="http")
            exchange.govern_inside(*splice.handed_back, inside, visit.call.caller)
    except BaseException:
        if splice.handed_back is not None:
            splice.handed_back[0].abort()
        raise


async def switch_protocols(visit: Visit, connection: UpstreamConnection, answer: Answer) -> None:
    """Serve an Upgrade the upstream agreed to: pass its 101 on and splice (RFC 9110 7.8)."""
    visit.record.status = 101
    head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    kept = relayed_lines(answer.head)
    ours = [visit.booth.via, b"Toolbooth-Call-Id: " + visit.record.call_id.encode()]
    head += b"\r\n".join([*kept, *ours]) + b"\r\n\r\n"
    upstream, early_upstream = connection.take_over()
    client, early_client = visit.exchange.open_tunnel(head)
    if visit.record.trace is not None:
        end_trace(visit, Reason.OK)
    splice = Splice(
        client, upstream, judge=None, on_bytes=visit.charge_bytes, loop=asyncio.get_running_loop()
    )
    await _run(visit, splice, early_client, early_upstream)


def _opaque_splice(visit: Visit, client: asyncio.Transport, upstream: asyncio.Transport) -> Splice:
    """A tunnel that is not looked into is held to the strictest of the tools it may serve."""
    rules = visit.live.rules
    # What cannot be read in here would carry calls of an MCP server's tools, judged by nobody.
    hides_tools = any(rule.kind is Kind.MCP for rule in rules)
    is_raw = not hides_tools and all(rule.tunnel.raw for rule in rules)
    limited = [rule for rule in rules if rule.tunnel.max_bytes is not None]
    strictest = min(limited, key=lambda rule: rule.tunnel.max_bytes or 0, default=None)

    def end() -> None:
        visit.live.stop(
            Refusal(
                Reason.REQUEST_TOO_LARGE,
                "The tunnel has carried as many bytes as it may; fetch less, or in parts.",
                f"{_place(strictest)}.max_bytes",
            )
        )

    other = None if is_raw else _not_raw(rules, "it carries neither TLS nor HTTP")
    judge = opening_judge(visit.call.target.origin.host, other, hides_tools=hides_tools)
    return Splice(
        client, upstream, judge=judge,
        on_bytes=visit.charge_bytes, loop=asyncio.get_running_loop(), may_greet=is_raw,
        limit_bytes=strictest.tunnel.max_bytes if strictest else None, on_limit=end,
    )  # fmt: skip


def _not_raw(rules: tuple[ToolRule, ...], what: str) -> Refusal:
    strict = next((rule for rule in rules if not rule.tunnel.raw), None)
    return Refusal(
        Reason.TOOL_NOT_ALLOWED,
        f"The tunnel was closed: {what}, which the policy does not let through.",
        f"{_place(strict)}.raw",
    )


def _place(rule: ToolRule | None) -> str:
    return f"tools.catalog.{rule.name}.tunnel" if rule else "tools.catalog"


async def _run(visit: Visit, splice: Splice, early_client: bytes, early_upstream: bytes) -> None:
    _bound(visit)
    try:
        await splice.run(early_client, early_upstream, idle_s=visit.rule.timeouts.idle_s)
    except TimeoutError:
        raise UpstreamFailed(Reason.TIMEOUT, "Nothing passed through the tunnel.") from None
    finally:
        visit.record.request_bytes = splice.sent_bytes
        visit.record.response_bytes = splice.received_bytes


def _bound(visit: Visit) -> None:
    """From here on only the end of the run's seconds is a deadline, and that of the tunnel's own;
    a connection that switched to WebSocket has none of those."""
    live, now_s = visit.live, visit.booth.clock.monotonic()
    live.clear_deadline()
    run_end_s = visit.reservation.run_deadline_s
    if run_end_s is not None:
        live.set_deadline(run_end_s, now_s, RUN_OVER)
    if visit.call.mode is not Mode.CONNECT:
        return
    for rule in live.rules:
        max_s = rule.tunnel.max_s
        if max_s is not None and now_s + max_s < live.deadline_s:
            live.set_deadline(now_s + max_s, now_s, _too_old(rule))


def _too_old(rule: ToolRule) -> Refusal:
    return Refusal(
        Reason.TIMEOUT,
        "The tunnel was open as long as it may be; open another.",
        f"{_place(rule)}.max_seconds",
    )
