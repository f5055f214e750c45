"""TLS that ends here: a client's tunnel becomes a connection whose requests can be read.

The client's first bytes are read and judged before OpenSSL sees them; they may have come with the
CONNECT, or one by one. `start_tls` takes no bytes that were read already, so they are handed to the
TLS protocol it has installed, the way a transport would. What is never done: a handshake without an
end in time, and a transport that is left open when one fails (uvloop aborts the process when open
transports are collected in a cycle).
"""

import asyncio
import ssl
from typing import TYPE_CHECKING, cast

from proxy.listeners.client import ClientConnection
from proxy.listeners.ways_in import Inside
from proxy.model.errors import CLIENT_GONE, Refusal, Stopped
from proxy.model.reason import Reason
from proxy.pipeline.exchange import TlsSource
from proxy.pipeline.opening import PlainHttp
from proxy.upstream.tunnel import Judge

if TYPE_CHECKING:
    from proxy.listeners.front import Front, FrontLimits

_RULE = "tunnel.client_tls"
_EXPORT = "give it the certificate that `toolbooth ca export` prints"
_TOO_SLOW = Refusal(
    Reason.BAD_REQUEST, "The client did not begin or finish its TLS handshake in time.", _RULE
)
_HUNG_UP = Refusal(
    Reason.BAD_REQUEST,
    f"The client hung up in its TLS handshake; if it does not trust the sidecar's CA, {_EXPORT}.",
    _RULE,
)


class TlsClientConnection(ClientConnection):
    """A client whose TLS ends here. `wire` is the transport underneath, held so that it stays
    alive and its unsent bytes can be counted."""

    __slots__ = ("_wire", "counts")

    def __init__(self, front: "Front", inside: Inside, wire: asyncio.Transport) -> None:
        super().__init__(front, inside)
        self._wire: asyncio.Transport | None = wire
        self.counts = False  # one of `Front.ended_tls`

    def eof_received(self) -> bool:
        """The client's close_notify. TLS transports close then, whatever is said: an answer that
        waits for the end of the turn leaves before."""
        self.front.outbox.flush()
        super().eof_received()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        self._wire = None
        if self.counts:
            self.counts = False
            self.front.ended_tls -= 1

    def _backlog_bytes(self) -> int:
        below = self._wire.get_write_buffer_size() if self._wire is not None else 0
        return super()._backlog_bytes() + below

    def _end(self) -> None:
        """TLS has no half-close, so the last answer is flushed first and the close follows; what
        the client still sends is read and dropped until it closes too, or `linger_s` is over."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.front.outbox.flush()
        self._linger_since_s = self._loop.time()
        self._unsent = self._backlog_bytes()
        self._buffer = b""
        self._resume()
        if not self._unsent:
            self._close()

    def check(self, now_s: float, limits: "FrontLimits") -> None:
        """Called about once a second."""
        super().check(now_s, limits)
        if self._linger_since_s and not self._unsent:
            self._close()


class _FirstFlight(asyncio.Protocol):
    """Holds the client's first bytes until they have been judged."""

    def __init__(self, transport: asyncio.Transport, judge: Judge) -> None:
        self.held = b""
        self._transport = transport
        self._judge = judge
        self._judged: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def read(self, early: bytes) -> bytes:
        """All that has come once the judge is content; reading is then paused. Raises what the
        judge raised."""
        self._transport.set_protocol(self)
        if early:
            self.data_received(early)
        if not self._judged.done():
            self._transport.resume_reading()
        await self._judged
        return self.held

    def data_received(self, data: bytes) -> None:
        self.held += data
        if self._judged.done():
            return
        try:
            if self._judge(self.held):
                self._settle(None)
        except Exception as problem:  # noqa: BLE001 - whatever a judge raises ends the tunnel
            self._settle(problem)

    def eof_received(self) -> bool:
        self._settle(Stopped(_HUNG_UP if self.held else CLIENT_GONE))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle(Stopped(_HUNG_UP if self.held else CLIENT_GONE))

    def _settle(self, problem: Exception | None) -> None:
        if self._judged.done():
            return
        self._transport.pause_reading()
        if problem is None:
            self._judged.set_result(None)
        else:
            self._judged.set_exception(problem)


async def end_tls(
    outer: ClientConnection, transport: asyncio.Transport, early: bytes, *, judge: Judge,
    tls: TlsSource, inside: Inside,
) -> None:  # fmt: skip
    """Put a connection on `transport`, which `outer` gave away, that reads the requests inside.
    Raises `Stopped`, or what the judge or `tls` raised, with `transport` closed."""
    front = outer.front
    flight = _FirstFlight(transport, judge)
    inner = TlsClientConnection(front, inside, transport)
    front.ended_tls += 1
    try:
        async with asyncio.timeout(front.limits.head_s):
            held = await flight.read(early)
            upgraded = await _upgrade(front, transport, inner, tls(), held)
        outer.leave_tunnel()
        inner.counts = True  # from here on its place is given back when it is lost
        inner.connection_made(upgraded)
    except PlainHttp:
        plain = inside._replace(origin=inside.origin._replace(scheme="http"))
        outer.govern_inside(transport, flight.held, plain)
    except TimeoutError:
        transport.abort()
        raise Stopped(_TOO_SLOW) from None
    except BaseException:
        transport.abort()
        raise
    finally:
        if not inner.counts:
            front.ended_tls -= 1


async def _upgrade(
    front: "Front", transport: asyncio.Transport, inner: TlsClientConnection,
    tls: ssl.SSLContext, held: bytes,
) -> asyncio.Transport:  # fmt: skip
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.TaskGroup() as group:
            upgrade = group.create_task(
                loop.start_tls(
                    transport, inner, tls, server_side=True,
                    ssl_handshake_timeout=front.limits.head_s,
                    ssl_shutdown_timeout=front.limits.linger_s,
                )
            )  # fmt: skip
            # It begins: installs the TLS protocol, and asks the loop to start it and to read on.
            # `held` has to come between these two and the next bytes off the socket.
            await asyncio.sleep(0)
            loop.call_soon(_feed, transport, held)
    except BaseExceptionGroup as failed:
        raise Stopped(_refusal_of(failed.exceptions[0])) from None
    upgraded = upgrade.result()
    if upgraded is None or inner.is_lost:
        raise Stopped(_HUNG_UP)
    return upgraded


def _feed(transport: asyncio.Transport, held: bytes) -> None:
    """Hand over bytes as a transport does to a buffered protocol."""
    if transport.is_closing():
        return
    protocol = cast("asyncio.BufferedProtocol", transport.get_protocol())
    while held:
        room = memoryview(protocol.get_buffer(len(held)))
        count = min(len(room), len(held))
        room[:count] = held[:count]
        held = held[count:]
        protocol.buffer_updated(count)


def _refusal_of(problem: BaseException) -> Refusal:
    """What went wrong in the handshake, in OpenSSL's words, which hold nothing of the client's."""
    if not isinstance(problem, OSError):
        raise problem
    if not isinstance(problem, ssl.SSLError):
        return _HUNG_UP
    words = (problem.reason or "protocol error").lower().replace("_", " ")
    if "unknown ca" in words or "certificate" in words:
        detail = f"The client does not trust the sidecar's CA ({words}); {_EXPORT}."
    else:
        detail = f"The client's TLS handshake failed: {words}."
    return Refusal(Reason.BAD_REQUEST, detail, _RULE)
