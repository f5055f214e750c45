"""A request's content as it comes off a client's connection, with backpressure."""

import asyncio
from collections.abc import Callable
from typing import Final

from proxy.model.errors import BadMessage
from proxy.pipeline.exchange import RequestBody
from proxy.wire.body import NO_CONTENT, Framing, decoder_for

_HIGH_BYTES: Final = 64 * 1024  # more than this unread, and the client is asked to wait


class ClientBody(RequestBody):
    """Fed by the connection, read by the walk. `on_pause` and `on_resume` stop and restart the
    reading of the client's transport."""

    __slots__ = (
        "_decoder", "_error", "_is_paused", "_on_pause", "_on_resume", "_parts", "_unread",
        "_waiter",
    )  # fmt: skip

    def __init__(
        self, framing: Framing, on_pause: Callable[[], None], on_resume: Callable[[], None]
    ) -> None:
        super().__init__(framing)
        self._decoder = decoder_for(framing)
        self.is_over = self._decoder.done
        self._error: BadMessage | None = None
        self._is_paused = False
        self._on_pause = on_pause
        self._on_resume = on_resume
        self._parts: list[bytes] = []
        self._unread = 0
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_broken(self) -> bool:
        """The content was malformed or cut short: what follows cannot be trusted."""
        return self._error is not None

    @property
    def is_settled(self) -> bool:
        """See `RequestBody`."""
        return self.is_over or self._error is not None

    def feed(self, data: bytes) -> bytes:
        """Take bytes off the wire; returns what follows the message."""
        if self._error is not None:
            return b""
        try:
            content, surplus = self._decoder.feed(data)
        except BadMessage as problem:
            self.fail(problem)
            return b""
        self.is_over = self._decoder.done
        if content:
            self.size += len(content)
            self._unread += len(content)
            self._parts.append(content)
            if self._unread > _HIGH_BYTES and not self.is_over:
                self._is_paused = True
                self._on_pause()
        self._wake()
        return surplus

    def fail(self, problem: BadMessage) -> None:
        """No more will come, and what has come is not all."""
        if not self.is_over and self._error is None:
            self._error = problem
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def read(self) -> bytes:
        """See `RequestBody.read`. Cancelling loses nothing."""
        while not self._parts:
            if self._error is not None:
                raise self._error
            if self.is_over:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self.take()

    def take(self) -> bytes:
        """See `RequestBody.take`."""
        parts, self._parts = self._parts, []
        self._unread = 0
        if self._is_paused:
            self._is_paused = False
            self._on_resume()
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _nothing() -> None:
    pass


EMPTY_BODY: Final = ClientBody(NO_CONTENT, _nothing, _nothing)  # over: nothing changes it
