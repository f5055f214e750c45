"""The Exchange over an HTTP/1 connection: how an answer is framed for this client."""

import asyncio
import socket
import struct
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from proxy.listeners.body import ClientBody
from proxy.listeners.identity import trace_id_of
from proxy.listeners.ways_in import Inside
from proxy.model.call import Caller, Origin
from proxy.pipeline.exchange import Exchange, Flow, TlsSource
from proxy.upstream.tunnel import Judge
from proxy.wire.body import LAST_CHUNK, encode_chunk
from proxy.wire.head import RequestHead

if TYPE_CHECKING:
    from proxy.listeners.client import ClientConnection

_AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time


class ClientExchange(Exchange):
    """One request on a `ClientConnection`. `incoming` is its body, as the connection feeds it."""

    __slots__ = (
        "_connection", "_is_chunked", "_is_close_delimited", "incoming", "is_finished", "keeps",
    )  # fmt: skip

    def __init__(
        self, connection: "ClientConnection", head: RequestHead, body: ClientBody, *, keeps: bool
    ) -> None:
        super().__init__(head, body, connection.client_address, trace_id_of(head))
        self._connection = connection
        self.incoming = body
        self.keeps = keeps  # the connection goes on after this exchange
        self.is_finished = False
        self._is_chunked = False
        self._is_close_delimited = False

    @property
    def is_gone(self) -> bool:
        """See `Exchange`."""
        return self._connection.is_lost

    def date_line(self) -> bytes:
        """See `Exchange`."""
        return self._connection.front.date_line()

    def interim(self, lines: bytes) -> None:
        """See `Exchange`."""
        if self.head.minor == 1 and not self.has_started:
            self._connection.write(lines)

    def _connection_line(self) -> bytes:
        if not self.body.is_over or self._connection.front.booth.is_draining:
            self.keeps = False  # unread content would be taken for the next request
        return b"" if self.keeps else b"\r\nConnection: close"

    def respond(self, head: bytes, content: bytes | memoryview) -> None:
        """See `Exchange`."""
        self.has_started = self.is_finished = True
        close = self._connection_line()
        if self.head.method == "HEAD":
            self._connection.write(b"%b%b\r\n\r\n" % (head, close))
            return
        head = b"%b\r\nContent-Length: %d%b\r\n\r\n" % (head, len(content), close)
        self._connection.write_together(head, content)

    def respond_without_content(self, head: bytes) -> None:
        """See `Exchange`."""
        self.has_started = self.is_finished = True
        self._connection.write(b"%b%b\r\n\r\n" % (head, self._connection_line()))

    def start(self, head: bytes, length: int | None) -> None:
        """See `Exchange`."""
        self.has_started = True
        if length is not None:
            framing = b"\r\nContent-Length: %d" % length
        elif self.head.minor == 1:
            self._is_chunked = True
            framing = b"\r\nTransfer-Encoding: chunked"
        else:
            self._is_close_delimited = True
            framing = b""
        close = self._connection_line()
        self._connection.write(b"%b%b%b\r\n\r\n" % (head, framing, close))

    def write(self, content: bytes) -> None:
        """See `Exchange`."""
        self._connection.write(encode_chunk(content) if self._is_chunked else content)

    def finish(self) -> None:
        """See `Exchange`."""
        self.is_finished = True
        if self._is_chunked:
            self._connection.write(LAST_CHUNK)

    def cut(self) -> None:
        """See `Exchange`. A close alone shows the cut, except where close is the normal end."""
        self.keeps = False
        self._connection.cut(is_reset=self._is_close_delimited)

    def throttle(self, flow: Flow | None) -> None:
        """See `Exchange`."""
        self._connection.throttle(flow)

    def open_tunnel(self, head: bytes) -> tuple[asyncio.Transport, bytes]:
        """See `Exchange`."""
        self.has_started = self.is_finished = True
        self.keeps = False
        return self._connection.give_away(head)

    def govern_inside(
        self, transport: asyncio.Transport, held: bytes, origin: Origin, caller: Caller
    ) -> None:
        """See `Exchange`."""
        self._connection.govern_inside(transport, held, Inside(origin, caller))

    async def intercept(
        self, head: bytes, judge: Judge, tls: TlsSource, origin: Origin, caller: Caller
    ) -> None:
        """See `Exchange`."""
        connection = self._connection
        connection.front.check_room_for_tls()
        transport, early = self.open_tunnel(head)
        inside = Inside(origin, caller)
        await connection.front.intercept(connection, transport, early, judge, tls, inside)


def reset(transport: asyncio.Transport) -> None:
    """Close with a TCP reset. An abort alone ends a connection in order where all was sent, which
    a client that reads to the close takes for the end of the answer."""
    sock = transport.get_extra_info("socket")
    if sock is not None and not transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


class DateLine:
    """The Date field, formatted once a second (RFC 9110 section 6.6.1)."""

    def __init__(self) -> None:
        self._second = -1
        self._line = b""

    def at(self, wall_s: float) -> bytes:
        """The line for this moment."""
        second = int(wall_s)
        if second != self._second:
            self._second = second
            self._line = b"Date: " + formatdate(second, usegmt=True).encode()
        return self._line
