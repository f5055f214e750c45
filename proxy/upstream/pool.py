"""Connections to upstreams: judged, kept alive, and never handed to a rule that would refuse them.

The address that was judged is the address that is dialled. A kept connection remembers its
peer's address and, over TLS, who vouched for it, and is judged again when another rule (a newer
policy, another tool) asks for it.
Bounded: so many idle connections in all, so many an origin, for so long.
"""

import asyncio
import socket
import ssl
import sys
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final

from proxy.model.call import Origin
from proxy.model.clock import Clock
from proxy.model.errors import Stopped, UpstreamFailed
from proxy.model.promise import into_task
from proxy.model.reason import Reason
from proxy.policy.address import NumericSpelling, judge_address, literal_address
from proxy.policy.policy import ToolRule
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.dial import NO_DESCRIPTORS, connect_transport, dial, is_this_host, peer_of
from proxy.upstream.outbox import Outbox
from proxy.upstream.resolver import Address, Resolver
from proxy.upstream.trust import TrustStore

MAX_IDLE_S: Final = 55.0
# An upstream that closes an idle connection races with our next request; where that request could
# not be sent again, only connections younger than the shortest common keep-alive (5 s) are used.
FRESH_S: Final = 4.0
_MAX_IDLE: Final = 1024
# As many as call at once: fewer, and a busy origin is dialled anew for every other call.
_MAX_IDLE_PER_ORIGIN: Final = 256


class Pool:
    """One for the process. `opened`, `reused` and `failed` count connections. `own_ports` are the
    ports we listen on ourselves: dialling those on this host would be a loop, or an agent reaching
    the control API. `descriptors_end` is the first open file that is not for upstreams."""

    def __init__(
        self, resolver: Resolver, clock: Clock, tls: Callable[[str | None], ssl.SSLContext]
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._trust = TrustStore(tls)
        self._outbox = Outbox()  # of all its connections
        self._idle: OrderedDict[Origin, list[UpstreamConnection]] = OrderedDict()
        self._idle_count = 0
        self.own_ports: frozenset[int] = frozenset()
        self.descriptors_end = sys.maxsize
        self.opened = 0
        self.reused = 0
        self.failed = 0

    def take_idle(
        self, origin: Origin, rule: ToolRule, oldest_s: float
    ) -> UpstreamConnection | None:
        """The most recently used idle connection that `rule` may use, if one was used since
        `oldest_s` (monotonic)."""
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            self._idle_count -= 1
            if not kept:
                del self._idle[origin]
            if not connection.is_open:
                continue
            if connection.idle_since_s < oldest_s or not self._may_use(connection, rule):
                connection.close()
                continue
            connection.is_reused = True
            self.reused += 1
            return connection
        return None

    async def connect(
        self, origin: Origin, rule: ToolRule, *, opaque: bool = False
    ) -> UpstreamConnection:
        """Open a new connection within the rule's connect timeout; `opaque`: never speak TLS on
        it ourselves (a tunnel). Raises `UpstreamFailed`, or `Stopped` where too many files are
        open."""
        await into_task()
        try:
            async with asyncio.timeout(rule.timeouts.connect_s):
                connection = await self._connect(origin, rule, opaque=opaque)
        except UpstreamFailed:
            self.failed += 1
            raise
        except TimeoutError:
            self.failed += 1
            raise UpstreamFailed(
                Reason.TIMEOUT, "Could not connect in time.", unsent=True
            ) from None
        self.opened += 1
        return connection

    async def _connect(self, origin: Origin, rule: ToolRule, *, opaque: bool) -> UpstreamConnection:
        addresses = await self._vetted(origin, rule)
        sock = await dial(addresses, origin.port)
        try:
            self._keep_within_descriptors(sock)
            address = peer_of(sock)
            self._refuse_ourselves(sock, address, origin)
            connection = UpstreamConnection(origin, asyncio.get_running_loop(), self._outbox)
            if opaque:
                connection.expect_tunnel()
            if origin.scheme == "https" and not opaque:
                tls = connection.trusted_by = self._trust.context(rule.trust_file)
            else:
                tls = None
            await connect_transport(connection, sock, tls, origin.host)
        except BaseException:
            sock.close()
            raise
        connection.address = address
        connection.vetted_by = rule
        return connection

    def _keep_within_descriptors(self, sock: socket.socket) -> None:
        """An idle connection makes room for one that is wanted."""
        if sock.fileno() < self.descriptors_end:
            return
        if not self._idle:
            raise Stopped(NO_DESCRIPTORS)
        self._drop_oldest()

    def _refuse_ourselves(self, sock: socket.socket, peer: Address, origin: Origin) -> None:
        """An interface address of this host is only known for ours once it is connected."""
        if origin.port in self.own_ports and is_this_host(sock, peer):
            raise UpstreamFailed(Reason.ADDRESS_DENIED, "That address is this sidecar itself.")

    async def _vetted(self, origin: Origin, rule: ToolRule) -> tuple[Address, ...]:
        """The addresses of the origin that may be dialled; raises where there is none."""
        literal = literal_address(origin.host)
        if isinstance(literal, NumericSpelling):
            raise UpstreamFailed(
                Reason.ADDRESS_DENIED, "The host is an address in a spelling that is not accepted."
            )
        addresses = (literal,) if literal else await self._resolver.resolve(origin.host)
        denied = ""
        allowed: list[Address] = []
        for address in addresses:
            problem = judge_address(address, rule.allow_addresses)
            if problem is None and origin.port in self.own_ports and _is_here(address):
                problem = "the sidecar itself"
            if problem is None:
                allowed.append(address)
            else:
                denied = problem
        if not allowed:
            raise UpstreamFailed(
                Reason.ADDRESS_DENIED,
                f"The host {origin.host} has only addresses that must not be reached ({denied});"
                " do not retry.",
            )
        return tuple(allowed)

    def _may_use(self, connection: UpstreamConnection, rule: ToolRule) -> bool:
        """Would `rule` have opened this connection: to this address, trusting this certificate?"""
        if not _still_allowed(connection, rule):
            return False
        trusted_by = connection.trusted_by
        return trusted_by is None or self._trust.is_current(trusted_by, rule.trust_file)

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep the connection if it can be used again, else close it."""
        origin = connection.origin
        kept = self._idle.get(origin)
        if not connection.is_reusable or (kept and len(kept) >= _MAX_IDLE_PER_ORIGIN):
            connection.close()
            return
        connection.finish()
        connection.idle_since_s = self._clock.monotonic()
        if kept is None:
            kept = self._idle[origin] = []
        kept.append(connection)
        self._idle_count += 1
        if self._idle_count > _MAX_IDLE:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        origin = next(iter(self._idle))
        kept = self._idle[origin]
        kept.pop(0).close()
        self._idle_count -= 1
        if not kept:
            del self._idle[origin]

    def sweep(self) -> None:
        """Close what has been idle too long; called every few seconds."""
        oldest_s = self._clock.monotonic() - MAX_IDLE_S
        for origin in list(self._idle):
            kept = self._idle[origin]
            fresh: list[UpstreamConnection] = []
            for connection in kept:
                if connection.is_open and connection.idle_since_s >= oldest_s:
                    fresh.append(connection)
                else:
                    connection.close()
            self._idle_count -= len(kept) - len(fresh)
            if fresh:
                self._idle[origin] = fresh
            else:
                del self._idle[origin]

    def close(self) -> None:
        """Close every idle connection."""
        for kept in self._idle.values():
            for connection in kept:
                connection.close()
        self._idle.clear()
        self._idle_count = 0

    @property
    def idle_count(self) -> int:
        """Idle connections held, for the metrics page."""
        return self._idle_count


def _is_here(address: Address) -> bool:
    """Does this address lead to this host on every host, in its IPv6 spellings too?"""
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    return address.is_loopback or address.is_unspecified


def _still_allowed(connection: UpstreamConnection, rule: ToolRule) -> bool:
    if connection.vetted_by is rule:
        return True
    address = connection.address
    if address is None or judge_address(address, rule.allow_addresses) is not None:
        return False
    connection.vetted_by = rule
    return True
