"""The open conversation with a client, as the walk sees it.

The one mutable thing handed down the walk. A listener implements it over a transport, tests over
a list; the walk itself never learns which.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol

from proxy.model.call import Caller, Origin
from proxy.model.errors import Refusal
from proxy.upstream.tunnel import Judge
from proxy.wire.body import Framing
from proxy.wire.head import RequestHead

TlsSource = Callable[[], ssl.SSLContext]


class Flow(Protocol):
    """Something that produces bytes and can be asked to stop for a while (backpressure)."""

    def pause(self) -> None:
        """Produce no more."""

    def resume(self) -> None:
        """Go on."""


class RequestBody(Protocol):
    """The request's content."""

    @property
    def framing(self) -> Framing:
        """How its end is told."""

    @property
    def is_over(self) -> bool:
        """All of it has come; it may still lie unread."""

    @property
    def is_settled(self) -> bool:
        """No more will come: it is over, or it is broken."""

    @property
    def size(self) -> int:
        """Bytes of content that have come so far."""

    def take(self) -> bytes:
        """What has come and was not read yet; waits for nothing."""

    async def read(self) -> bytes:
        """The next piece, empty at the end. Raises `BadMessage` for malformed content."""


class Exchange(Protocol):
    """One request and the answer to it."""

    on_gone: Callable[[Refusal], None] | None  # whom to tell when the client goes away

    @property
    def head(self) -> RequestHead:
        """The request's head."""

    @property
    def body(self) -> RequestBody:
        """Its content."""

    @property
    def client_address(self) -> str:
        """The IP address it came from."""

    @property
    def trace_id(self) -> str:
        """Of the W3C traceparent it sent, or empty."""

    @property
    def has_started(self) -> bool:
        """A final answer's head has been written."""

    @property
    def is_gone(self) -> bool:
        """The client has closed its connection."""

    def date_line(self) -> bytes:
        """A Date field line for answers that need one (RFC 9110 section 6.6.1)."""

    def interim(self, lines: bytes) -> None:
        """Pass on a 1xx head, empty line included; dropped for HTTP/1.0."""

    def respond(self, start: bytes, lines: list[bytes], content: bytes) -> None:
        """A whole answer at once."""

    def respond_without_content(self, start: bytes, lines: list[bytes]) -> None:
        """An answer that has no content (HEAD, 204, 304); framing lines are taken as given."""

    def start(self, start: bytes, lines: list[bytes], length: int | None) -> None:
        """Begin an answer whose content follows; `length` None: not known beforehand."""

    def write(self, content: bytes) -> None:
        """Part of the content; not empty."""

    def finish(self) -> None:
        """The content is over."""

    def cut(self) -> None:
        """Break off so that the client sees the answer is incomplete (RFC 9112 section 8)."""

    def throttle(self, flow: Flow | None) -> None:
        """Whom to pause while the client reads slowly; None: nobody any more."""

    def open_tunnel(self, head: bytes) -> tuple[asyncio.Transport, bytes]:
        """Write `head` and give the transport away, reading paused, with the bytes that have
        come already."""

    async def intercept(
        self, head: bytes, judge: Judge, tls: TlsSource, origin: Origin, caller: Caller
    ) -> None:
        """Write `head`, have the client's first bytes judged, end its TLS here and read what is
        inside as requests of `caller` to `origin` (or to the same over HTTP, if the judge raises
        `PlainHttp`). `tls` is asked once the client has begun a handshake that may go on. Returns
        when the TLS stands. Raises what the judge or `tls` raised, or `Stopped`: `busy` before
        anything is written, else with the client's connection closed."""

    def govern_inside(
        self, transport: asyncio.Transport, held: bytes, origin: Origin, caller: Caller
    ) -> None:
        """The tunnel turned out to carry HTTP to `origin` (scheme included): take the transport
        back and read `held` and what follows as requests of `caller`, each a call of its own."""
