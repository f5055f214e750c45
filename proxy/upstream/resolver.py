"""Names to addresses: one lookup for all who ask at once, bounded and off the event loop.

It says what the name is, never whether that may be dialled: `pool` judges every address, and
dials the very address it judged, so a second answer cannot slip in between (DNS rebinding).
"""

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

from cachetools import TTLCache

from proxy.model.clock import Clock
from proxy.model.errors import UpstreamFailed
from proxy.model.reason import Reason

Address = IPv4Address | IPv6Address
Lookup = Callable[[str], list[str]]
_Found = tuple[Address, ...]

_KEEP_S = 10.0  # getaddrinfo tells no TTL; short enough that a moved service is found again
_KEEP_FAILURE_S = 2.0
_MAX_NAMES = 4096
_MAX_PENDING = 256
_MAX_THREADS = 32  # look-ups of a dead zone hang for half a minute; others must not wait for them
_MAX_ADDRESSES = 16  # of one answer; the rest are not tried
_LOOPBACK: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


def system_lookup(host: str) -> list[str]:
    """Ask the system's resolver; blocking. Raises `OSError` where there is no answer."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class Resolver:
    """Resolves names, remembering answers for a few seconds.

    Each look-up has a thread of its own while it lasts, a daemon: unlike an executor's, one that
    hangs in a dead resolver does not hold up the end of the process.
    """

    def __init__(self, clock: Clock, lookup: Lookup = system_lookup) -> None:
        self._lookup = lookup
        self._found: TTLCache[str, _Found] = TTLCache(_MAX_NAMES, _KEEP_S, timer=clock.monotonic)
        self._missing: TTLCache[str, str] = TTLCache(
            _MAX_NAMES, _KEEP_FAILURE_S, timer=clock.monotonic
        )
        self._pending: dict[str, asyncio.Future[_Found]] = {}
        self._waiting: deque[str] = deque()  # those of the pending that have no thread yet
        self._running = 0

    async def resolve(self, host: str) -> _Found:
        """Every address of `host`, at least one. Raises `UpstreamFailed(upstream_dns)`.

        `localhost` and names under it are this host and never asked of a server (RFC 6761 6.3).
        """
        if host == "localhost" or host.endswith(".localhost"):
            return _LOOPBACK
        found = self._found.get(host)
        if found is not None:
            return found
        problem = self._missing.get(host)
        if problem is not None:
            raise UpstreamFailed(Reason.UPSTREAM_DNS, problem)
        return await asyncio.shield(self._ask(host))

    def _ask(self, host: str) -> asyncio.Future[_Found]:
        pending = self._pending.get(host)
        if pending is None:
            if len(self._pending) >= _MAX_PENDING:
                raise UpstreamFailed(Reason.UPSTREAM_DNS, "Too many name look-ups are pending.")
            pending = self._pending[host] = asyncio.get_running_loop().create_future()
            pending.add_done_callback(lambda done: self._remember(host, done))
            self._waiting.append(host)
            self._start_waiting()
        return pending

    def _start_waiting(self) -> None:
        while self._waiting and self._running < _MAX_THREADS:
            host = self._waiting.popleft()
            asked = host, self._pending[host]
            try:
                threading.Thread(target=self._run, args=asked, name="dns", daemon=True).start()
            except RuntimeError:  # the process may have no more threads
                problem = UpstreamFailed(Reason.UPSTREAM_DNS, "No name look-up could be started.")
                asked[1].set_exception(problem)
            else:
                self._running += 1

    def _run(self, host: str, pending: asyncio.Future[_Found]) -> None:
        """In a thread."""
        found: _Found | Exception
        try:
            found = self._look_up(host)
        except Exception as problem:  # noqa: BLE001 - raised where the answer is awaited
            found = problem
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            pending.get_loop().call_soon_threadsafe(self._settle, pending, found)

    def _settle(self, pending: asyncio.Future[_Found], found: _Found | Exception) -> None:
        self._running -= 1
        if isinstance(found, Exception):
            pending.set_exception(found)
        else:
            pending.set_result(found)
        self._start_waiting()

    def _look_up(self, host: str) -> _Found:
        """In a thread. An empty answer is a failure, never `no forbidden address found`."""
        try:
            texts = self._lookup(host)
            found = [ip_address(text.partition("%")[0]) for text in texts]
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise UpstreamFailed(
                Reason.UPSTREAM_DNS, f"The name {host} did not resolve: {reason or 'no answer'}."
            ) from None
        addresses = tuple(dict.fromkeys(found))
        if not addresses:
            raise UpstreamFailed(Reason.UPSTREAM_DNS, f"The name {host} has no address.")
        return addresses[:_MAX_ADDRESSES]

    def _remember(self, host: str, done: asyncio.Future[_Found]) -> None:
        self._pending.pop(host, None)
        error = done.exception()  # also marks it as seen where every caller has gone
        if error is None:
            self._found[host] = done.result()
        elif isinstance(error, UpstreamFailed):
            self._missing[host] = error.detail

    def close(self) -> None:
        """Start no more look-ups; those under way are not waited for."""
        self._waiting.clear()
