"""The request's content on its way up, kept as long as it is small enough to send again.

Whether an attempt can be repeated is asked here first: content that could not be kept cannot be
replayed, whatever the policy would allow.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.model.errors import BadMessage
from proxy.model.record import Capture
from proxy.pipeline.exchange import RequestBody
from proxy.pipeline.live import LiveCall
from proxy.upstream.connection import UpstreamConnection
from proxy.wire.body import LAST_CHUNK, NO_CONTENT, Ends, Framing, encode_chunk

MAX_KEPT_BYTES: Final = 256 * 1024  # a larger body is sent once only
MAX_PREFETCH_BYTES: Final = 64 * 1024  # a larger body is streamed
_MOST_PARTS: Final = 64
_BY_LENGTH: Final = Ends.BY_LENGTH  # an attribute of an enum costs more than a name


class Upload:
    """The content of one call over all its attempts."""

    __slots__ = (
        "_body",
        "_capture",
        "_charge",
        "_has_started",
        "_is_over",
        "_is_too_large",
        "_keep_bytes",
        "_kept_bytes",
        "_live",
        "_parts",
        "_pump",
        "is_sent",
    )

    def __init__(self, body: RequestBody, live: LiveCall) -> None:
        self._body = body
        self._charge: Callable[[int], None] | None = None
        self._live = live
        self._is_over = body.is_over and body.size == 0
        self._is_too_large = False
        self.is_sent = True  # nothing is left to send; known for sure once `stop` has been called
        self._has_started = False  # some of it has been sent
        self._pump: asyncio.Task[None] | None = None
        self._parts: list[bytes] = []  # of what is kept; most content is one part
        self._kept_bytes = 0
        self._keep_bytes = MAX_KEPT_BYTES
        self._capture: Capture | None = None
        if body.is_over and 0 < body.size <= MAX_PREFETCH_BYTES:  # it came with the head
            self._keep(body.take())
            self._is_over = True

    def _keep(self, content: bytes) -> None:
        if len(self._parts) >= _MOST_PARTS:
            self._parts[:] = [b"".join(self._parts)]  # each takes room of its own beside its bytes
        self._parts.append(content)
        self._kept_bytes += len(content)

    def _drop_kept(self) -> None:
        self._parts.clear()
        self._kept_bytes = 0

    @property
    def kept(self) -> bytes:
        """What has been read so far; empty once that is too large to keep."""
        parts = self._parts
        if len(parts) > 1:
            parts[:] = [b"".join(parts)]
        return parts[0] if parts else b""

    @property
    def framing(self) -> Framing:
        """How the content is sent on: exactly as long where that is known, else chunked."""
        if self._is_over and not self._is_too_large:
            known = self._body.framing
            if known.ends is _BY_LENGTH and known.length == self._kept_bytes:
                return known
            if not self._kept_bytes:
                return self._empty_framing
            return Framing(_BY_LENGTH, self._kept_bytes)
        return self._body.framing

    @property
    def _empty_framing(self) -> Framing:
        """Content that turned out empty still says so, if the client said there would be some."""
        return NO_CONTENT if self._body.framing.ends is Ends.AT_ONCE else Framing(Ends.BY_LENGTH, 0)

    @property
    def is_whole(self) -> bool:
        """All of the content is in `kept`."""
        return self._is_over and not self._is_too_large

    @property
    def can_repeat(self) -> bool:
        """Everything read so far is still here."""
        return not self._is_too_large

    def charge_to(self, charge: Callable[[int], None]) -> None:
        """Tell `charge` how many bytes have come, now and from here on."""
        self._charge = charge
        if self._kept_bytes:
            charge(self._kept_bytes)

    def capture_to(self, capture: Capture) -> None:
        """Copy the beginning of the content for the record."""
        self._capture = capture
        capture.add(self.kept)

    async def _read(self) -> bytes:
        content = await self._body.read()
        if not content:
            self._is_over = True
            return b""
        if self._capture is not None:
            self._capture.add(content)
        if self._charge is not None:
            self._charge(len(content))
        if not self._is_too_large:
            self._keep(content)
            if self._kept_bytes > self._keep_bytes:
                self._is_too_large = True
                if self._has_started:  # what has not been sent yet is still needed once
                    self._drop_kept()
        return content

    async def keep_whole(self, limit_bytes: int) -> bool:
        """Read all of the content if its length promises no more than `limit_bytes`, or, where
        the length is unknown, as long as it stays within. False: it is larger, and streamed."""
        framing = self._body.framing
        if framing.ends is Ends.BY_LENGTH and framing.length > limit_bytes:
            return False
        self._keep_bytes = max(self._keep_bytes, limit_bytes)
        while not self._is_over:
            if self._kept_bytes > limit_bytes or self._is_too_large:
                return False
            await self._read()
        return self.is_whole

    async def prefetch(self) -> None:
        """Read content whole that is small, or of which no more will come, so that it leaves in
        one write with the head; and is refused before anything leaves if it is malformed."""
        framing = self._body.framing
        is_small = framing.ends is Ends.BY_LENGTH and framing.length <= MAX_PREFETCH_BYTES
        if is_small or self._body.is_settled:
            await self.keep_whole(MAX_PREFETCH_BYTES)

    def start(self, connection: UpstreamConnection, head: bytes) -> None:
        """Send the head and what is kept; the rest follows as it comes, in the background."""
        if self.is_whole:
            self._has_started = self.is_sent = True
            connection.send(head + self.kept)
            return
        is_chunked = self._body.framing.ends is Ends.BY_CHUNK
        kept = self.kept
        connection.send(head + (encode_chunk(kept) if is_chunked and kept else kept))
        self._has_started = True
        if self._is_too_large:
            self._drop_kept()
        self._pump = self._live.spawn(self._send_rest(connection, is_chunked=is_chunked))

    async def _send_rest(self, connection: UpstreamConnection, *, is_chunked: bool) -> None:
        try:
            while content := await self._read():
                if not connection.is_open:
                    return
                connection.send(encode_chunk(content) if is_chunked else content)
                await connection.drain()
        except BadMessage as problem:
            connection.abort()  # never complete upstream what the client did not complete
            self._live.stop(problem.refusal)
            return
        if is_chunked:
            connection.send(LAST_CHUNK)

    @property
    def is_under_way(self) -> bool:
        """Some of it may still have to be sent, until `stop`."""
        return self._pump is not None

    async def stop(self) -> bool:
        """Stop sending. True if everything had been sent."""
        pump, self._pump = self._pump, None
        if pump is not None:
            self.is_sent = pump.done() and self._is_over
            if not pump.done():
                pump.cancel()
                await asyncio.wait([pump])
        return self.is_sent


class _Nothing(Upload):
    """The content of a call without any. Most have none, so there is one for all of them."""

    def __init__(self) -> None:
        self.is_sent = True

    @property
    def kept(self) -> bytes:
        """See `Upload`, here and below."""
        return b""

    @property
    def framing(self) -> Framing:
        return NO_CONTENT

    @property
    def is_whole(self) -> bool:
        return True

    @property
    def can_repeat(self) -> bool:
        return True

    def charge_to(self, charge: Callable[[int], None]) -> None:
        pass

    def capture_to(self, capture: Capture) -> None:
        pass

    async def keep_whole(self, limit_bytes: int) -> bool:
        return True

    async def prefetch(self) -> None:
        pass

    def start(self, connection: UpstreamConnection, head: bytes) -> None:
        connection.send(head)

    @property
    def is_under_way(self) -> bool:
        return False

    async def stop(self) -> bool:
        return True


_NOTHING: Final = _Nothing()


def upload_of(body: RequestBody, live: LiveCall) -> Upload:
    """What is to be sent on of `body`."""
    return _NOTHING if body.framing is NO_CONTENT else Upload(body, live)
