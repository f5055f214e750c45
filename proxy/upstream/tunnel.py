"""Opaque bytes, spliced between a client and an upstream, with half-close and backpressure.

Two protocols on two transports; no task wakes up for a chunk. The client's first bytes can be
held back until they have been judged (`Splice.opening`), while the upstream may already speak.
What is never done: looking at bytes after the opening.

uvloop aborts the process when unclosed transports are collected in a cycle, so a splice always
closes both transports itself and lets go of them when they are gone.
"""

import asyncio
from collections.abc import Callable
from typing import cast

_WRITE_HIGH_BYTES = 256 * 1024

# Told the bytes so far: True lets them through, False asks for more. May raise to end the splice;
# not one byte of the client's has then reached the upstream.
Judge = Callable[[bytes], bool]


class _End(asyncio.Protocol):
    """One end. `peer` is the other one."""

    def __init__(self, splice: "Splice", transport: asyncio.Transport) -> None:
        self.splice = splice
        self.transport: asyncio.Transport | None = transport
        self.peer: _End | None = None
        self.count = 0
        self.has_finished = False  # its EOF has come

    def data_received(self, data: bytes) -> None:
        data = self.splice.let_pass(data)
        self.count += len(data)
        peer = self.peer
        if peer is not None and peer.transport is not None:
            peer.transport.write(data)

    def eof_received(self) -> bool:
        """Half-close: the other direction goes on until it ends too (RFC 9110 section 9.3.6)."""
        self.has_finished = True
        peer = self.peer
        if peer is None or peer.transport is None or peer.has_finished:
            self.splice.close()
            return False
        if peer.transport.can_write_eof():
            peer.transport.write_eof()
            return True
        self.splice.close()
        return False

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.splice.lost()


class _UpstreamEnd(_End):
    """The upstream's end, where it may not speak before the client's first bytes were judged."""

    def data_received(self, data: bytes) -> None:
        if self.splice.is_judging:
            self.splice.fail(SpokeFirstError())
        else:
            super().data_received(data)


class _OpeningEnd(_End):
    """The client's end until its first bytes have been judged."""

    def __init__(self, splice: "Splice", transport: asyncio.Transport, judge: Judge) -> None:
        super().__init__(splice, transport)
        self._judge: Judge | None = judge
        self.held = b""

    def data_received(self, data: bytes) -> None:
        if self._judge is None:
            super().data_received(data)
            return
        self.held += data
        try:
            is_decided = self._judge(self.held)
        except Exception as problem:  # noqa: BLE001 - whatever a judge raises ends the tunnel
            self.splice.hand_back(problem, self.held)
            return
        if is_decided:
            held, self.held, self._judge = self.held, b"", None
            self.splice.is_judging = False
            super().data_received(held)


class SpokeFirstError(Exception):
    """The upstream spoke before the client's first bytes had been judged."""


class Splice:
    """A running tunnel. `on_bytes` is told how many bytes have passed, either way. `may_greet`:
    the upstream may speak while the client's first bytes are still being judged. After
    `limit_bytes`, both ways together, `on_limit` is called, and no more pass."""

    def __init__(
        self, client: asyncio.Transport, upstream: asyncio.Transport, *,
        judge: Judge | None, on_bytes: Callable[[int], None], loop: asyncio.AbstractEventLoop,
        may_greet: bool = True, limit_bytes: int | None = None,
        on_limit: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self._loop = loop
        self._on_bytes = on_bytes
        self._passed_s = loop.time()
        self._client = _OpeningEnd(self, client, judge) if judge else _End(self, client)
        self.is_judging = judge is not None and not may_greet
        self._upstream = (_UpstreamEnd if self.is_judging else _End)(self, upstream)
        self._left_bytes = limit_bytes
        self._on_limit = on_limit
        self._client.peer, self._upstream.peer = self._upstream, self._client
        self._ended: asyncio.Future[None] = loop.create_future()
        self._idle_timer: asyncio.TimerHandle | None = None
        self.handed_back: tuple[asyncio.Transport, bytes] | None = None

    async def run(self, early_client: bytes, early_upstream: bytes, *, idle_s: float) -> None:
        """Splice until both ends are closed. Raises what the judge raised (the client is then in
        `handed_back`), or `TimeoutError` when nothing has passed for `idle_s`. Cancelling closes
        both ends at once."""
        self._idle_timer = self._loop.call_later(idle_s, self._check_idle, idle_s)
        try:
            for end in (self._client, self._upstream):
                transport = cast("asyncio.Transport", end.transport)
                transport.set_write_buffer_limits(high=_WRITE_HIGH_BYTES)
                transport.set_protocol(end)
            if early_upstream:
                self._upstream.data_received(early_upstream)
            if early_client:
                self._client.data_received(early_client)
            for end in (self._client, self._upstream):
                if end.transport is not None and not end.transport.is_reading():
                    end.transport.resume_reading()
            await self._ended
        finally:
            self._idle_timer.cancel()
            self.abort()

    @property
    def sent_bytes(self) -> int:
        """From the client to the upstream."""
        return self._client.count

    @property
    def received_bytes(self) -> int:
        """From the upstream to the client."""
        return self._upstream.count

    def let_pass(self, data: bytes) -> bytes:
        """What of `data`, which an end is about to pass on, may pass."""
        self._passed_s = self._loop.time()
        if self._left_bytes is not None:
            if len(data) > self._left_bytes:
                data = data[: self._left_bytes]
                if self._on_limit is not None:
                    self._on_limit()
            self._left_bytes -= len(data)
        self._on_bytes(len(data))
        return data

    def _check_idle(self, idle_s: float) -> None:
        left = self._passed_s + idle_s - self._loop.time()
        if left > 0:
            self._idle_timer = self._loop.call_later(left, self._check_idle, idle_s)
        else:
            self.fail(TimeoutError())

    def lost(self) -> None:
        """An end is gone: what it sent is flushed to the other, which is then closed too."""
        self.close()
        if self._client.transport is None and self._upstream.transport is None:
            self._client.peer = self._upstream.peer = None
            if not self._ended.done():
                self._ended.set_result(None)

    def close(self) -> None:
        """Close both ends, flushing what was written to them."""
        for end in (self._client, self._upstream):
            # A second close of asyncio's TLS transports makes them deaf to abort.
            if end.transport is not None and not end.transport.is_closing():
                end.transport.close()

    def abort(self) -> None:
        """Close both ends at once."""
        for end in (self._client, self._upstream):
            if end.transport is not None:
                end.transport.abort()

    def fail(self, problem: Exception) -> None:
        """End with an error."""
        if not self._ended.done():
            self._ended.set_exception(problem)

    def hand_back(self, problem: Exception, held: bytes) -> None:
        """The judge said no: the client's transport goes back to the caller, unread bytes too."""
        transport, self._client.transport = self._client.transport, None
        if transport is not None:
            transport.pause_reading()
            self.handed_back = (transport, held)
        self.fail(problem)
