"""A client's HTTP/1 connection: requests in, one after the other, answers out in their order.

Take the next request, walk it, go on: the walk begins as soon as a head is whole, in the same turn
of the event loop (`proxy.pipeline.walker`). Bytes that come during a walk are its content, or wait
in a bounded buffer for their turn, so pipelined requests are judged one by one and nothing that
follows a request is looked at before its answer is out. Why not an existing server:
docs/decisions/0002-own-http-front.md.
"""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from proxy.listeners.body import EMPTY_BODY, ClientBody
from proxy.listeners.exchange import ClientExchange, reset
from proxy.listeners.ways_in import Inside
from proxy.model.call import ToolCall
from proxy.model.errors import CLIENT_GONE, BadMessage, Refusal, Stopped
from proxy.model.reason import Reason
from proxy.pipeline.exchange import Flow
from proxy.pipeline.handle import handle
from proxy.pipeline.walker import Walker
from proxy.wire.body import NO_CONTENT, Framing, request_framing
from proxy.wire.forward import nominated
from proxy.wire.head import RequestHead, end_of_empty_lines, read_request_head

if TYPE_CHECKING:
    from proxy.listeners.front import Front, FrontLimits

_MAX_WAITING_BYTES: Final = 64 * 1024  # pipelined bytes held while a call walks
_WRITE_HIGH_BYTES: Final = 256 * 1024
_HALF_CLOSE_GRACE_S: Final = 1.0  # a client that only half-closed still gets an answer this fast
_CUT_GRACE_S: Final = 0.5
_CUT_SHORT: Final = BadMessage("The request's content was cut short.")
_TOO_SLOW: Final = BadMessage("The request did not come in time.", status=408)


class ClientConnection(asyncio.Protocol):
    """One client. `inside` is set where this is what was found in a tunnel."""

    __slots__ = (
        "_buffer", "_eof", "_exchange", "_flow", "_inside", "_is_full", "_is_over", "_is_paused",
        "_is_tunnel", "_linger_since_s", "_loop", "_searched", "_transport", "_unsent",
        "client_address", "front", "is_lost", "quiet_since_s",
    )  # fmt: skip

    def __init__(self, front: "Front", inside: Inside | None = None) -> None:
        self.front = front
        self.client_address = ""
        self.is_lost = False
        self.quiet_since_s = 0.0  # when the current head, or the silence before it, began
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._inside = inside
        self._buffer = b""
        self._searched = 0
        self._eof = False
        self._exchange: ClientExchange | None = None
        self._flow: Flow | None = None
        self._is_over = False  # no further request is read
        self._is_paused = False
        self._is_tunnel = False
        self._linger_since_s = 0.0
        self._unsent = 0
        self._is_full = False  # of answers that the client does not read

    # --- asyncio.Protocol ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
        peer = transport.get_extra_info("peername")
        self.client_address = str(peer[0]) if peer else "local"
        self.quiet_since_s = self._loop.time()
        refusal = self.front.admit(self, transport)
        if refusal is not None:
            self._turn_away(refusal)
        elif self._buffer:  # over TLS bytes may come before we do; and who opened the tunnel that
            self._loop.call_soon(self._go_on)  # they came in leaves its record first

    def data_received(self, data: bytes) -> None:
        """Bytes: content of the request being walked, or of the ones after it."""
        if self._is_over or self._linger_since_s:
            return  # only read so that the close does not turn into a reset
        exchange = self._exchange
        if exchange is None:
            if self._buffer:
                data = self._buffer + data
            else:
                self.quiet_since_s = self._loop.time()
            self._buffer = data
            if self._is_full and len(data) > _MAX_WAITING_BYTES:
                self._pause()
            self._go_on()
            return
        if not exchange.incoming.is_over:
            data = exchange.incoming.feed(data)
            if not data:
                return
        self._buffer = self._buffer + data if self._buffer else data
        if len(self._buffer) > _MAX_WAITING_BYTES:
            self._pause()

    def eof_received(self) -> bool:
        """The client has finished sending. That is a half-close, or all we see of a client that
        went away: it gets an answer that is nearly there, and no more."""
        self._eof = True
        exchange = self._exchange
        if exchange is not None:
            exchange.incoming.fail(_CUT_SHORT)
            self._loop.call_later(_HALF_CLOSE_GRACE_S, self._stop_walk, exchange)
        else:
            self._loop.call_soon(self._go_on)
        return not self._linger_since_s

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self.is_lost = True
        self._transport = None
        self.front.forget(self)
        exchange = self._exchange
        if exchange is not None:
            exchange.incoming.fail(BadMessage("The client closed its connection."))
            self._stop_walk(exchange)
        self.resume_writing()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._is_full = True
        if self._flow is not None:
            self._flow.pause()

    def resume_writing(self) -> None:
        """It caught up."""
        self._is_full = False
        if self._flow is not None:
            self._flow.resume()
        if self._exchange is None:
            self._loop.call_soon(self._go_on)

    # --- the requests -------------------------------------------------------------------

    def _go_on(self) -> None:
        """Take the next request, if one has come and nothing holds it back: another that is being
        walked, or answers nobody reads, which must not pile up."""
        if self._exchange is not None or self._is_over or self._linger_since_s or self._is_full:
            return
        if self._transport is None and not self.is_lost:
            return  # not there yet
        try:
            self._take_next()
        except Exception as bug:  # noqa: BLE001 - what could not be judged is not answered
            self.front.booth.report_bug(bug)
            self._is_over = True
            self.abort()

    def _take_next(self) -> None:
        if self._buffer:
            try:
                exchange = self._read_head()
            except BadMessage as problem:
                self.front.refuse_unread(self, problem.refusal, self._inside)
                self._finish()
                return
            if exchange is not None:
                self._exchange = exchange
                self._walk(exchange)
                return
        if self._eof or self.is_lost:
            self._finish()
        else:
            self._resume()

    def _walked(self) -> None:
        """The request that was being walked is over."""
        exchange = self._exchange
        if exchange is None or not self._may_go_on(exchange):
            self._finish()
            return
        self._exchange = None
        self.quiet_since_s = self._loop.time()
        if self._buffer or self._eof:
            self._loop.call_soon(self._go_on)  # others first: it may have sent a thousand at once

    def _finish(self) -> None:
        """There will be no further request, whatever has come."""
        self._is_over = True
        self._exchange = None
        self.leave_tunnel()
        self._end()

    def _read_head(self) -> ClientExchange | None:
        buffer = self._buffer
        if buffer[:1] == b"\r":
            buffer = buffer[end_of_empty_lines(buffer) :]
            if buffer in (b"", b"\r"):
                return None
            self._buffer = buffer
        head, rest = read_request_head(buffer, self._searched)
        if head is None:
            self._searched = len(buffer)
            return None
        self._searched = 0
        framing = request_framing(head)
        if head.method == "CONNECT":
            if framing is not NO_CONTENT or b"content-length" in head.named:
                raise BadMessage("CONNECT has no content.")
            self._buffer = rest
            tunnel = self._exchange_for(head, NO_CONTENT)
            tunnel.keeps = False  # what follows is meant for the tunnel, granted or not
            return tunnel
        exchange = self._exchange_for(head, framing)
        if not exchange.incoming.is_over:
            self._resume()  # pipelined bytes may have paused it, and now content has to come
            rest = exchange.incoming.feed(rest) if rest else b""
            if self._eof:
                exchange.incoming.fail(_CUT_SHORT)
        self._buffer = rest
        return exchange

    def _exchange_for(self, head: RequestHead, framing: Framing) -> ClientExchange:
        keeps = head.minor == 1 and b"close" not in nominated(head)
        is_empty = framing is NO_CONTENT
        body = EMPTY_BODY if is_empty else ClientBody(framing, self._pause, self._resume)
        return ClientExchange(self, head, body, keeps=keeps)

    def _walk(self, exchange: ClientExchange) -> None:
        front, booth, head = self.front, self.front.booth, exchange.head
        call_id = front.next_call_id()
        started_s = booth.clock.monotonic()
        try:
            asked = front.questions.of(head, booth.policy, self.client_address, self._inside)
        except BadMessage as problem:
            exchange.keeps = exchange.keeps and problem.reason is Reason.RUN_ID_REQUIRED
            self._refuse(exchange, problem.refusal, call_id)
        except Stopped as stop:
            self._refuse(exchange, stop.refusal, call_id)
        else:
            call = ToolCall(call_id, asked.mode, head.method, asked.target, asked.caller, started_s)
            walker = Walker(self._loop, booth.spawn, self._walked)
            walker.start(handle(booth, exchange, call, asked.gateway_rule, walker))

    def _refuse(self, exchange: ClientExchange, refusal: Refusal, call_id: str) -> None:
        """It never becomes a call."""
        self.front.refuse(exchange, refusal, call_id, inside=self._inside)
        self._walked()

    def _may_go_on(self, exchange: ClientExchange) -> bool:
        body = exchange.incoming
        return (
            exchange.keeps and exchange.is_finished and body.is_over and not body.is_broken
            and self._transport is not None
        )  # fmt: skip

    def _stop_walk(self, exchange: ClientExchange) -> None:
        """The client is gone: end its call, if that is still the one under way."""
        if self._exchange is exchange and exchange.on_gone is not None:
            exchange.on_gone(CLIENT_GONE)

    # --- the transport ------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Write; bytes for a client that is gone are dropped."""
        if self._transport is not None:
            self.front.outbox.write(self._transport, data, self._loop)

    def write_together(self, head: bytes, content: bytes | memoryview) -> None:
        """The same, in one call of the system."""
        if self._transport is not None:
            self.front.outbox.write_together(self._transport, head, content, self._loop)

    def throttle(self, flow: Flow | None) -> None:
        """See `Exchange.throttle`."""
        self._flow = flow
        if flow is not None and self._is_full:
            flow.pause()

    def _pause(self) -> None:
        if self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def give_away(self, head: bytes) -> tuple[asyncio.Transport, bytes]:
        """The transport becomes a tunnel's; this connection is over."""
        transport = self._transport
        if transport is None:
            raise Stopped(CLIENT_GONE)
        self._pause()
        self.front.outbox.flush()
        transport.write(head)
        self._transport = None
        self.front.become_tunnel(self)
        self._is_tunnel = True
        early, self._buffer = self._buffer, b""
        return transport, early

    def govern_inside(self, transport: asyncio.Transport, held: bytes, inside: Inside) -> None:
        """See `Exchange.govern_inside`."""
        if transport.is_closing():
            transport.abort()
            return
        inner = ClientConnection(self.front, inside)
        transport.set_protocol(inner)
        self.leave_tunnel()
        inner._buffer = held
        inner.connection_made(transport)
        transport.resume_reading()

    def leave_tunnel(self) -> None:
        """It is over, or another connection reads what it carries."""
        if self._is_tunnel:
            self._is_tunnel = False
            self.front.leave_tunnel(self)

    def cut(self, *, is_reset: bool) -> None:
        """Close in the middle of an answer, so that the client sees it."""
        self.front.outbox.flush()
        if (transport := self._transport) is not None and is_reset:
            reset(transport)
        elif transport is not None:
            self._close()
            self._loop.call_later(_CUT_GRACE_S, transport.abort)

    def _turn_away(self, refusal: Refusal) -> None:
        """There is no room: say so in one write, without reading, unless it is closed already."""
        if self._transport is None or self._transport.is_closing():
            return
        self.front.refuse_unread(self, refusal, None)
        self._finish()  # nobody else watches a connection that was not admitted
        self._loop.call_later(self.front.limits.linger_s, self._transport.abort)

    def _end(self) -> None:
        """Close without losing the last answer: bytes still coming in would make the system send
        a reset, which overtakes it, so they are read and dropped for a moment."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.front.outbox.flush()  # the last answer, before the end
        if self._eof:
            self._close()
            return
        self._linger_since_s = self._loop.time()
        self._unsent = self._backlog_bytes()
        self._buffer = b""
        with suppress(OSError, NotImplementedError):  # a reset we have yet to hear of; TLS
            transport.write_eof()
        self._resume()

    def _close(self) -> None:
        """Flush and close, once: a second close makes asyncio's TLS transports deaf to abort."""
        if self._transport is not None and not self._transport.is_closing():
            self.front.outbox.close(self._transport)

    def _backlog_bytes(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def check(self, now_s: float, limits: "FrontLimits") -> None:
        """Called about once a second."""
        head_s, keep_alive_s, linger_s, stall_s, *_ = limits
        if (transport := self._transport) is None:
            return
        before, unsent = self._unsent, self._backlog_bytes()
        self._unsent = unsent
        if self._linger_since_s:
            if unsent < before:  # the client still reads: it gets its answer to the end
                self._linger_since_s = now_s
            elif now_s - self._linger_since_s > (stall_s if unsent else linger_s):
                transport.abort()
        elif self._exchange is None:
            if unsent < before and not self._buffer:
                self.quiet_since_s = now_s
            quiet_s = now_s - self.quiet_since_s
            if unsent and quiet_s > stall_s:
                transport.abort()
            elif self._buffer and quiet_s > head_s and not self._is_full:
                self.front.refuse_unread(self, _TOO_SLOW.refusal, self._inside)
                self._buffer = b""
                self._eof = True
                self._linger_since_s = now_s
                self._close()
            elif not self._buffer and quiet_s > keep_alive_s:
                self._linger_since_s = now_s  # closing flushes, which may take for ever
                self._close()

    def close_idle(self) -> None:
        """The process is shutting down: close if nothing is under way."""
        if self._exchange is None:
            self._close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self.front.outbox.abort(self._transport)
