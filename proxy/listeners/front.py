"""The proxy port: its connections, their limits, and the answers given before a call exists."""

import asyncio
from typing import NamedTuple

from proxy.guards.descriptors import Descriptors
from proxy.listeners.body import EMPTY_BODY
from proxy.listeners.client import ClientConnection
from proxy.listeners.crowd import Crowd
from proxy.listeners.exchange import ClientExchange, DateLine
from proxy.listeners.identity import identify
from proxy.listeners.intercept import end_tls
from proxy.listeners.ways_in import Inside, Questions
from proxy.model.call import Caller, Mode
from proxy.model.errors import BadMessage, Refusal, Stopped
from proxy.model.reason import Reason
from proxy.model.record import CallRecord
from proxy.pipeline.booth import Booth
from proxy.pipeline.exchange import TlsSource
from proxy.pipeline.reply import reply
from proxy.pipeline.tracing import end_refused
from proxy.upstream.outbox import Outbox
from proxy.upstream.tunnel import Judge
from proxy.wire.head import RequestHead, Section
from proxy.wire.trace_context import context_of

_CHECK_EVERY_S = 1.0
_UNREADABLE = RequestHead("", "", 1, Section([], {}))
_HURRIED_S = 5.0  # of silence or of a stalled answer, while there is no room for others

_TLS_BUSY = Refusal(
    Reason.BUSY, "The sidecar has too many intercepted connections; close some.", "", 1000
)


class FrontLimits(NamedTuple):
    """Seconds, and counts. `head_s` runs from a head's first byte to its last, however slowly
    they drip (slowloris); `keep_alive_s` bounds the silence before one. A client may take
    `stall_s` at a time for the rest of an answer whose call is over. A connection that ends is
    read on for `linger_s`.
    `max_per_client`: connections of one address. `max_tls`: connections whose TLS ends here; each
    may hold half a megabyte of buffers, for nothing that a budget would count. `descriptors`: the
    open files that clients must not take."""

    head_s: float = 10.0
    keep_alive_s: float = 75.0
    linger_s: float = 2.0
    stall_s: float = 30.0
    max_connections: int = 12_000
    max_tls: int = 512
    max_per_client: int = 10_000
    descriptors: Descriptors = Descriptors()


class Front:
    """All client connections of the proxy port. `instance` names this process in call ids and in
    Via, so that a loop is recognised and a second sidecar in the chain is not taken for one."""

    def __init__(self, booth: Booth, instance: str, limits: FrontLimits | None = None) -> None:
        self.booth = booth
        self.limits = limits or FrontLimits()
        self.questions = Questions(f"toolbooth-{instance}".encode())
        self.outbox = Outbox()  # of all clients
        self.turned_away = 0
        self.tunnels = 0  # connections that have become tunnels
        self.ended_tls = 0  # of those, or in a handshake: whose TLS ends here
        self._turned_away_before = 0  # as of the last look
        self._connections: set[ClientConnection] = set()
        self._crowd = Crowd()
        self._call_prefix = f"{instance}-"
        self._calls = 0
        self._date = DateLine()

    def __len__(self) -> int:
        return len(self._connections)

    def connect(self) -> ClientConnection:
        """The protocol factory of the listening socket."""
        return ClientConnection(self)

    def admit(
        self, connection: ClientConnection, transport: asyncio.BaseTransport
    ) -> Refusal | None:
        """Take in a connection, or say why not. One too many even for that is closed."""
        sock = transport.get_extra_info("socket")
        descriptor = sock.fileno() if sock is not None else 0
        refusal = self._crowd.refuse(connection.client_address, descriptor, self.limits)
        if refusal is None:
            self._connections.add(connection)
            self._crowd.enter(connection.client_address)
            return None
        self.turned_away += 1
        if descriptor >= self.limits.descriptors.answers:
            connection.abort()
        return refusal

    def check_room_for_tls(self) -> None:
        """Raises `Stopped` with `busy` where no more TLS can be ended."""
        if self.ended_tls >= self.limits.max_tls:
            self.turned_away += 1
            raise Stopped(_TLS_BUSY)

    def forget(self, connection: ClientConnection) -> None:
        """It is gone."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._crowd.leave(connection.client_address)

    def become_tunnel(self, connection: ClientConnection) -> None:
        """It is a client's still, but not for us to read."""
        self.forget(connection)
        self._crowd.enter(connection.client_address)
        self.tunnels += 1

    def leave_tunnel(self, connection: ClientConnection) -> None:
        """The tunnel is over, or another connection reads what it carries."""
        self.tunnels -= 1
        self._crowd.leave(connection.client_address)

    def next_call_id(self) -> str:
        """Unique within and across processes, without the price of a UUID."""
        self._calls += 1
        return self._call_prefix + hex(self._calls)[2:]

    def date_line(self) -> bytes:
        """See `DateLine`."""
        return self._date.at(self.booth.clock.wall())

    def caller_of(self, exchange: ClientExchange, client_address: str) -> Caller:
        """Who opened this exchange; it has been read before, so it cannot fail now."""
        return identify(exchange.head, self.booth.policy.budgets, client_address)

    def refuse(
        self, exchange: ClientExchange, refusal: Refusal, call_id: str, *, inside: Inside | None
    ) -> None:
        """Answer and record what never became a call."""
        head, booth = exchange.head, self.booth
        if inside is not None:
            mode = inside.mode
        elif head.method == "CONNECT":
            mode = Mode.CONNECT
        elif head.target.startswith("/"):
            mode = Mode.GATEWAY
        else:
            mode = Mode.ABSOLUTE
        record = CallRecord(call_id, mode, booth.clock.wall())
        record.client_address = exchange.client_address
        record.method = head.method[:32]
        record.policy_version = booth.policy.version
        if booth.tracing is not None:
            booth.tracing.begin(record, context_of(head), booth.clock.monotonic())
        record.code, record.detail, record.rule = refusal.reason, refusal.detail, refusal.rule
        record.status = reply(
            exchange, refusal, mode=mode, call_id=call_id, tool="", caller=self._caller(exchange)
        )
        if record.trace is not None and booth.tracing is not None:
            end_refused(booth.tracing, record, booth.clock.monotonic())
        booth.report(record, 0)

    def refuse_unread(
        self, connection: ClientConnection, refusal: Refusal, inside: Inside | None
    ) -> None:
        """The same for what was not read: bytes that are no request, or no room to read any."""
        exchange = ClientExchange(connection, _UNREADABLE, EMPTY_BODY, keeps=False)
        self.refuse(exchange, refusal, self.next_call_id(), inside=inside)

    def _caller(self, exchange: ClientExchange) -> Caller | None:
        try:
            return self.caller_of(exchange, exchange.client_address)
        except BadMessage:
            return None

    async def intercept(
        self, outer: ClientConnection, transport: asyncio.Transport, early: bytes, judge: Judge,
        tls: TlsSource, inside: Inside,
    ) -> None:  # fmt: skip
        """End the TLS in the tunnel that `outer` has become, and read what is inside."""
        await end_tls(outer, transport, early, judge=judge, tls=tls, inside=inside)

    async def watch(self) -> None:
        """Close what takes too long, for as long as the process runs. One pass over all
        connections a second is cheaper than a timer for each of them; each pass is a task of its
        own, so that one that fails is reported and the next one still comes."""
        while True:
            await asyncio.sleep(_CHECK_EVERY_S)
            self.booth.spawn(self._check_all())

    async def _check_all(self) -> None:
        now_s = asyncio.get_running_loop().time()
        limits = self._limits_now()
        for connection in tuple(self._connections):
            connection.check(now_s, limits)
        self.booth.pool.sweep()

    def _limits_now(self) -> FrontLimits:
        """Those who only keep a connection, or an answer they do not read, make room while others
        find none."""
        is_crowded = self.turned_away > self._turned_away_before or self.booth.memory.is_over
        self._turned_away_before = self.turned_away
        if not is_crowded:
            return self.limits
        return self.limits._replace(
            keep_alive_s=min(_HURRIED_S, self.limits.keep_alive_s),
            stall_s=min(_HURRIED_S, self.limits.stall_s),
        )

    def close_idle(self) -> None:
        """Shutting down: connections without a call under way are closed."""
        for connection in tuple(self._connections):
            connection.close_idle()

    def abort_all(self) -> None:
        """Close everything at once."""
        for connection in tuple(self._connections):
            connection.abort()
