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


class RequestBody:
    """The request's content. `size`: bytes of it that have come so far; `is_over`: all of it has,
    though it may still lie unread.

    A class to be extended, as `Exchange` is, and no protocol: compiled, an attribute of it is a
    field, not a name to be looked up.
    """

    __slots__ = ("framing", "is_over", "size")

    def __init__(self, framing: Framing) -> None:
        self.framing = framing  # how its end is told
        self.is_over = False
        self.size = 0

    @property
    def is_settled(self) -> bool:
        """No more will come: it is over, or it is broken."""
        raise NotImplementedError

    def take(self) -> bytes:
        """What has come and was not read yet; waits for nothing."""
        raise NotImplementedError

    async def read(self) -> bytes:
        """The next piece, empty at the end. Raises `BadMessage` for malformed content."""
        raise NotImplementedError


class Exchange:
    """One request and the answer to it. `on_gone`: whom to tell when the client goes away.
    `client_address`: the IP address it came from. `trace_id`: of the W3C traceparent it sent, or
    empty. `has_started`: a final answer's head has been written."""

    __slots__ = ("body", "client_address", "has_started", "head", "on_gone", "trace_id")

    def __init__(
        self, head: RequestHead, body: RequestBody, client_address: str, trace_id: str
    ) -> None:
        self.head = head
        self.body = body
        self.client_address = client_address
        self.trace_id = trace_id
        self.on_gone: Callable[[Refusal], None] | None = None
        self.has_started = False

    @property
    def is_gone(self) -> bool:
        """The client has closed its connection."""
        raise NotImplementedError

    def date_line(self) -> bytes:
        """A Date field line for answers that need one (RFC 9110 section 6.6.1)."""
        raise NotImplementedError

    def interim(self, lines: bytes) -> None:
        """Pass on a 1xx head, empty line included; dropped for HTTP/1.0."""
        raise NotImplementedError

    def respond(self, head: bytes, content: bytes | memoryview) -> None:
        """A whole answer at once. `head`, here and below: start line and field lines, framing
        aside, without the CRLF after the last."""
        raise NotImplementedError

    def respond_without_content(self, head: bytes) -> None:
        """An answer that has no content (HEAD, 204, 304); framing lines are taken as given."""
        raise NotImplementedError

    def start(self, head: bytes, length: int | None) -> None:
        """Begin an answer whose content follows; `length` None: not known beforehand."""
        raise NotImplementedError

    def write(self, content: bytes) -> None:
        """Part of the content; not empty."""
        raise NotImplementedError

    def finish(self) -> None:
        """The content is over."""
        raise NotImplementedError

    def cut(self) -> None:
        """Break off so that the client sees the answer is incomplete (RFC 9112 section 8)."""
        raise NotImplementedError

    def throttle(self, flow: Flow | None) -> None:
        """Whom to pause while the client reads slowly; None: nobody any more."""
        raise NotImplementedError

    def open_tunnel(self, head: bytes) -> tuple[asyncio.Transport, bytes]:
        """Write `head` and give the transport away, reading paused, with the bytes that have
        come already."""
        raise NotImplementedError

    async def intercept(
        self, head: bytes, judge: Judge, tls: TlsSource, origin: Origin, caller: Caller
    ) -> None:
        """Write `head`, have the client's first bytes judged, end its TLS here and read what is
        inside as requests of `caller` to `origin` (or to the same over HTTP, if the judge raises
        `PlainHttp`). `tls` is asked once the client has begun a handshake that may go on. Returns
        when the TLS stands. Raises what the judge or `tls` raised, or `Stopped`: `busy` before
        anything is written, else with the client's connection closed."""
        raise NotImplementedError

    def govern_inside(
        self, transport: asyncio.Transport, held: bytes, origin: Origin, caller: Caller
    ) -> None:
        """The tunnel turned out to carry HTTP to `origin` (scheme included): take the transport
        back and read `held` and what follows as requests of `caller`, each a call of its own."""
        raise NotImplementedError
