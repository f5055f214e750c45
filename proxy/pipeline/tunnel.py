"""Tunnels: CONNECT, and a connection that switched to WebSocket.

Once open, a tunnel is bounded by silence, by what its run has left (seconds, bytes) and by the
switches, not by the tool's time limit, which bounds the opening. Its first bytes must agree with
what was judged: the TLS server name has to be the host of the CONNECT, and plain HTTP is not
tunnelled but governed.
"""

import asyncio

from proxy.guards.budget import Reservation
from proxy.model.errors import BadMessage, Refusal, Stopped, UpstreamFailed
from proxy.model.reason import Reason
from proxy.pipeline.admit import RUN_OVER
from proxy.pipeline.visit import Visit
from proxy.policy.address import literal_address
from proxy.upstream.connection import Answer, UpstreamConnection
from proxy.upstream.tunnel import Judge, Splice
from proxy.wire.forward import relayed_lines
from proxy.wire.opening import MAX_OPENING_BYTES, Opening, classify, read_hello


class _PlainHttp(Exception):  # noqa: N818 - a discovery
    """The client speaks plain HTTP inside its tunnel."""


async def tunnel(visit: Visit) -> None:
    """Serve a CONNECT: dial, answer 200, splice until it ends."""
    booth, exchange, record = visit.booth, visit.exchange, visit.record
    started_s = booth.clock.monotonic()
    record.attempts = 1
    origin = visit.call.target.origin
    connection = await booth.pool.connect(origin, visit.rule, opaque=True)
    record.upstream_ms = (booth.clock.monotonic() - started_s) * 1000
    upstream, early_upstream = connection.take_over()
    record.status = 200
    client, early_client = exchange.open_tunnel(_established(visit))
    visit.has_sent = True
    splice = _splice(visit, client, upstream, _opening_judge(origin.host))
    try:
        await _run(visit, splice, early_client, early_upstream)
    except _PlainHttp:
        # The tunnel itself did nothing; the requests inside pay for themselves.
        visit.has_sent = False
        if splice.handed_back is not None:
            exchange.govern_inside(*splice.handed_back, origin._replace(scheme="http"))
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
    splice = _splice(visit, client, upstream, None)
    await _run(visit, splice, early_client, early_upstream)


def _established(visit: Visit) -> bytes:
    """A 2xx to CONNECT has no framing fields (RFC 9110 section 9.3.6)."""
    left = visit.reservation.left()
    budget = f"Toolbooth-Budget: {left}\r\n" if left else ""
    return (
        "HTTP/1.1 200 Connection established\r\n"
        f"Toolbooth-Call-Id: {visit.record.call_id}\r\n"
        f"Toolbooth-Tool: {visit.record.tool}\r\n{budget}\r\n"
    ).encode()


def _splice(
    visit: Visit, client: asyncio.Transport, upstream: asyncio.Transport, judge: Judge | None
) -> Splice:
    return Splice(
        client, upstream, judge=judge, on_bytes=visit.charge_bytes,
        loop=asyncio.get_running_loop(),
    )  # fmt: skip


async def _run(visit: Visit, splice: Splice, early_client: bytes, early_upstream: bytes) -> None:
    _bound_by_run(visit, visit.reservation)
    try:
        await splice.run(early_client, early_upstream, idle_s=visit.rule.timeouts.idle_s)
    except TimeoutError:
        raise UpstreamFailed(Reason.TIMEOUT, "Nothing passed through the tunnel.") from None
    finally:
        visit.record.request_bytes = splice.sent_bytes
        visit.record.response_bytes = splice.received_bytes


def _bound_by_run(visit: Visit, reservation: Reservation) -> None:
    """From here on only the end of the run's seconds is a deadline."""
    visit.live.clear_deadline()
    if reservation.run_deadline_s is not None:
        now_s = visit.booth.clock.monotonic()
        visit.live.set_deadline(reservation.run_deadline_s, now_s, RUN_OVER)


def _opening_judge(host: str) -> Judge:
    """What the client's first bytes must be: see `proxy.wire.opening`."""

    def judge(data: bytes) -> bool:
        opening = classify(data)
        if opening is Opening.HTTP:
            raise _PlainHttp
        if opening is Opening.HTTP2:
            raise Stopped(_mismatch("HTTP/2 without TLS is not let through a tunnel"))
        if opening is Opening.TLS:
            return _judge_hello(data, host)
        return opening is Opening.OTHER

    return judge


def _judge_hello(data: bytes, host: str) -> bool:
    try:
        hello = read_hello(data)
    except BadMessage as problem:
        raise Stopped(_mismatch(str(problem).rstrip("."))) from None
    if hello is None:
        if len(data) > MAX_OPENING_BYTES:
            raise Stopped(_mismatch("the TLS ClientHello is too large"))
        return False
    if hello.server_name is None and literal_address(host) is None:
        raise Stopped(_mismatch("the TLS ClientHello names no server"))
    if hello.server_name is not None and hello.server_name != host:
        raise Stopped(_mismatch("the TLS server name is not the host of the CONNECT"))
    return True


def _mismatch(what: str) -> Refusal:
    return Refusal(Reason.TOOL_NOT_ALLOWED, f"The tunnel was closed: {what}.", "tunnel.server_name")
