"""One HTTP/1.1 connection to an upstream: a request goes out, its answer comes back.

It reads strictly (a malformed answer is never relayed), hands interim answers on, pauses the
upstream when the client is slow, and knows whether it may be used again. It never retries and
never decides; what went wrong is raised as `UpstreamFailed`.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast

from proxy.model.call import Origin
from proxy.model.errors import BadMessage, UpstreamFailed
from proxy.model.promise import Promise
from proxy.model.reason import Reason
from proxy.upstream.answer import Answer
from proxy.upstream.outbox import MOST_HELD_BYTES, Outbox
from proxy.upstream.resolver import Address
from proxy.wire.body import Decoder, Ends, decoder_for, response_framing
from proxy.wire.forward import nominated
from proxy.wire.head import ResponseHead, find_head_end, parse_response_head

_MAX_INTERIM: Final = 32  # 1xx answers before one final; a flood of them is an attack
_MAX_PENDING_BYTES: Final = 256 * 1024
_WRITE_HIGH_BYTES: Final = 256 * 1024
_BY_LENGTH: Final = Ends.BY_LENGTH  # an attribute of an enum costs more
_BY_CLOSE: Final = Ends.BY_CLOSE

Interim = Callable[[ResponseHead], None]
Sink = Callable[[bytes], None]


class UpstreamConnection(asyncio.Protocol):
    """Kept alive in the pool between exchanges; one exchange at a time."""

    def __init__(self, origin: Origin, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        self.origin = origin
        self.address: Address | None = None  # the peer, as judged by the pool
        self.vetted_by: object = None  # the rule under which it was judged
        self.trusted_by: ssl.SSLContext | None = None  # what verified its certificate; None: no TLS
        self.idle_since_s = 0.0
        self.is_reused = False
        self._loop = loop
        self._outbox = outbox
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._method = ""
        self._wants_upgrade = False
        self._on_interim: Interim | None = None
        self._interims = 0
        self._answer: Promise[Answer] | None = None
        self._decoder: Decoder | None = None
        self._framing_ends = Ends.AT_ONCE
        self._sink: Sink | None = None
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._ended: Promise[None] | None = None
        self._failure: UpstreamFailed | None = None
        self._keep = False
        self._closed = False
        self._is_paused = False
        self._is_client_slow = False
        self._is_opaque = False
        self._resumed: asyncio.Future[None] | None = None
        self._idle_limit_s = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._heard_s = 0.0

    # --- asyncio.Protocol ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The pool has connected us."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)

    def data_received(self, data: bytes) -> None:
        """Bytes from the upstream."""
        if self._decoder is not None:
            self._heard_s = self._loop.time() if self._idle_limit_s else 0.0
            self._take_content(data)
        elif self._answer is not None and not self._answer.is_settled:
            self._buffer = self._buffer + data if self._buffer else data
            self._read_heads(len(self._buffer) - len(data))
        elif self._wants_upgrade or self._is_opaque:
            self._buffer += data  # until the tunnel takes over
            self._pending_bytes += len(data)
            self._apply_pause()
        else:
            self.abort()  # bytes nobody asked for are not an answer (RFC 9112 section 9.2)

    def eof_received(self) -> bool:
        """The upstream has finished; an answer that ends by close is whole now."""
        self._outbox.flush()  # the transport closes behind this: what was sent has been sent
        decoder = self._decoder
        if decoder is not None and self._framing_ends is Ends.BY_CLOSE and self._is_close_told():
            decoder.done = True
            self._end_content()
        return False

    def _is_close_told(self) -> bool:
        """Does the upstream itself say that this is the end? Over TLS that takes its closure alert
        (RFC 9112 section 9.8): without it anybody on the way may have cut the answer. The loop
        reports both ends alike, so the TLS engine is asked, which has nothing more to read."""
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        try:
            return tls is None or tls.read(1) == b""
        except ssl.SSLError:
            return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; whoever waits is told."""
        self._closed = True
        self._keep = False
        self._wake_writer()
        self._fail(UpstreamFailed(Reason.UPSTREAM_RESET, "The upstream closed the connection."))

    def pause_writing(self) -> None:
        """The upstream reads slowly: `drain` waits."""
        self._resumed = self._loop.create_future()

    def resume_writing(self) -> None:
        """It caught up."""
        self._wake_writer()

    # --- sending ------------------------------------------------------------------------

    def begin(
        self, method: str, *, on_interim: Interim, upgrade: bool, idle_limit_s: float
    ) -> Promise[Answer]:
        """Expect the answer to a request about to be sent. The promise gives the final head, or
        raises `UpstreamFailed`. `idle_limit_s` 0: silence is not watched."""
        self._method = method
        self._on_interim = on_interim
        self._wants_upgrade = upgrade
        self._interims = 0
        self._keep = False
        answer: Promise[Answer] = Promise()
        self._answer = answer
        if idle_limit_s:
            self._idle_limit_s = idle_limit_s
            self._heard_s = self._loop.time()
            self._idle_timer = self._loop.call_later(idle_limit_s, self._check_idle)
        if self._closed:
            self._fail(UpstreamFailed(Reason.UPSTREAM_RESET, "The upstream closed the connection."))
        return answer

    def send(self, data: bytes) -> None:
        """Write; never blocks. Bytes for a connection that is gone are dropped."""
        if self._idle_limit_s:
            self._heard_s = self._loop.time()  # while we speak, the upstream may well be silent
        if self._transport is not None and not self._closed:
            self._outbox.write(self._transport, data, self._loop)

    async def drain(self) -> None:
        """Wait while the upstream reads more slowly than we write."""
        if self._resumed is not None:
            await asyncio.shield(self._resumed)

    def _wake_writer(self) -> None:
        if self._resumed is not None:
            self._resumed.set_result(None)
            self._resumed = None

    # --- the answer ---------------------------------------------------------------------

    def _read_heads(self, searched: int) -> None:
        """Interim answers are handed on, the final one ends the wait."""
        try:
            while True:
                end = find_head_end(self._buffer, max(0, searched - 3))
                if end < 0:
                    return
                searched = 0
                head = parse_response_head(self._buffer[:end])
                if head.status >= 200 or head.status == 101:
                    self._take_final(head, end)
                    return
                self._buffer = self._buffer[end:]
                self._take_interim(head)
        except BadMessage as problem:
            self.abort()
            self._fail(UpstreamFailed(Reason.UPSTREAM_INVALID, f"Invalid answer: {problem}"))

    def _take_interim(self, head: ResponseHead) -> None:
        self._interims += 1
        if self._interims > _MAX_INTERIM:
            raise BadMessage("Too many interim answers.")
        if self._on_interim is not None:
            self._on_interim(head)

    def _take_final(self, head: ResponseHead, end: int) -> None:
        if head.status == 101 and not self._wants_upgrade:
            raise BadMessage("It switches protocols unasked.")
        if head.status == 407:
            raise BadMessage("It asks for proxy credentials, which are not an origin's to see.")
        self._wants_upgrade = head.status == 101
        framing = response_framing(head, self._method)
        options = nominated(head)
        self._keep = head.minor == 1 and b"close" not in options and framing.ends is not _BY_CLOSE
        answer = Answer(head, framing)
        assert self._answer is not None  # noqa: S101 - only called while an answer is awaited
        waiting = self._answer
        buffer = self._buffer
        if head.status == 101:
            self._buffer = buffer[end:]
        else:
            self._framing_ends, self._buffer = framing.ends, b""
            if framing.ends is _BY_LENGTH and len(buffer) - end == framing.length:
                is_much = framing.length > MOST_HELD_BYTES
                answer.content = memoryview(buffer)[end:] if is_much else buffer[end:]
                answer.is_whole = True  # as most are
                self._stop_idle_timer()
            else:
                self._begin_content(answer, buffer[end:])
        if not waiting.is_settled:
            waiting.keep(answer)

    def _begin_content(self, answer: Answer, along: bytes) -> None:
        decoder = self._decoder = decoder_for(answer.framing)
        if decoder.done:
            self._keep = self._keep and not along
            self._end_content()
        elif along:
            self._take_content(along)
        answer.content = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        answer.is_whole = decoder.done and self._failure is None

    def _take_content(self, data: bytes) -> None:
        assert self._decoder is not None  # noqa: S101 - only called while content is read
        try:
            content, surplus = self._decoder.feed(data)
        except BadMessage as problem:
            self.abort()
            self._fail(UpstreamFailed(Reason.UPSTREAM_INVALID, f"Invalid answer: {problem}"))
            return
        if content:
            try:
                self._keep_or_pass(content)
            except Exception as bug:  # noqa: BLE001 - the call's, which has to hear of it
                self.abort()
                if self._ended is not None and not self._ended.is_settled:
                    self._ended.fail(bug)
                return
        if self._decoder is not None and self._decoder.done:
            self._keep = self._keep and not surplus  # surplus is not an answer to anything
            self._end_content()

    def _keep_or_pass(self, content: bytes) -> None:
        if self._sink is not None:
            self._sink(content)
            return
        self._pending.append(content)
        self._pending_bytes += len(content)
        self._apply_pause()

    def _end_content(self) -> None:
        self._decoder = None
        self._stop_idle_timer()
        if self._ended is not None and not self._ended.is_settled:
            self._ended.keep(None)

    async def stream(self, sink: Sink) -> None:
        """Hand content to `sink` as it comes, until the message is over.

        Raises `UpstreamFailed` when it breaks off: what was relayed is then incomplete.
        """
        self._sink = sink
        for content in self._pending:
            sink(content)
        self._pending.clear()
        self._pending_bytes = 0
        self._apply_pause()
        try:
            if self._decoder is not None:
                self._ended = Promise()
                if self._failure is not None:
                    raise self._failure
                await self._ended
            elif self._failure is not None:
                raise self._failure
        finally:
            self._sink = None
            self._ended = None

    def pause(self) -> None:
        """The client reads slowly: stop reading, so that memory stays flat."""
        self._is_client_slow = True
        self._apply_pause()

    def resume(self) -> None:
        """The client caught up."""
        self._is_client_slow = False
        self._apply_pause()

    def _apply_pause(self) -> None:
        """Read, unless the client is slow or too much lies here unread."""
        wanted = self._is_client_slow or self._pending_bytes > _MAX_PENDING_BYTES
        if wanted is self._is_paused or self._transport is None or self._closed:
            return
        self._is_paused = wanted
        if wanted:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _check_idle(self) -> None:
        left = self._heard_s + self._idle_limit_s - self._loop.time()
        if self._is_paused:  # it is we who do not listen
            left = self._idle_limit_s
        if left > 0:
            self._idle_timer = self._loop.call_later(left, self._check_idle)
            return
        self.abort()
        self._fail(UpstreamFailed(Reason.TIMEOUT, "The upstream fell silent."))

    def _stop_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_limit_s = 0.0
            self._idle_timer.cancel()
            self._idle_timer = None

    # --- its end ------------------------------------------------------------------------

    @property
    def is_reusable(self) -> bool:
        """The answer is over, both sides keep the connection, and nothing stray has come."""
        return self._keep and not self._closed and self._decoder is None and not self._buffer

    @property
    def is_open(self) -> bool:
        """Nobody has closed it, as far as we have heard."""
        return not self._closed and self._transport is not None

    def finish(self) -> None:
        """Forget the exchange, so that the pool can keep the connection."""
        if self._is_client_slow:
            self.resume()  # the last to read from it
        self._answer = None
        self._on_interim = None
        self._failure = None
        self._wants_upgrade = False

    def expect_tunnel(self) -> None:
        """It will carry a tunnel: what the upstream says first is kept for that."""
        self._is_opaque = True

    def take_over(self) -> tuple[asyncio.Transport, bytes]:
        """Give the transport away (a tunnel, after 101 or CONNECT) with what has come already."""
        if self._transport is None or self._closed:
            raise UpstreamFailed(Reason.UPSTREAM_RESET, "The upstream closed the connection.")
        self._stop_idle_timer()
        self._pending_bytes = 0
        self._is_client_slow = False
        self._apply_pause()
        self._outbox.flush()
        transport, early = self._transport, self._buffer
        self._transport, self._buffer, self._closed = None, b"", True
        return transport, early

    def _fail(self, failure: UpstreamFailed) -> None:
        """The first failure is the one that is told."""
        self._stop_idle_timer()
        if self._answer is not None and not self._answer.is_settled:
            self._answer.fail(failure)
        elif self._decoder is not None:
            self._failure = self._failure or failure
            if self._ended is not None and not self._ended.is_settled:
                self._ended.fail(failure)

    def close(self) -> None:
        """Close it between exchanges. TLS is told its end by an alert (RFC 9112 section 9.8), and
        the alert that answers it is not waited for; the loops write in this turn or the next."""
        transport = self._transport
        if self._closed or transport is None or transport.get_extra_info("ssl_object") is None:
            self.abort()
            return
        self._closed = True
        self._keep = False
        self._outbox.close(transport)
        self._loop.call_soon(transport.abort)

    def abort(self) -> None:
        """Close at once; what was not sent is dropped."""
        self._closed = True
        self._keep = False
        self._stop_idle_timer()
        if self._transport is not None:
            self._outbox.abort(self._transport)
