"""Places that are waited for, in order: so many in all, and so many for each client address.

For work that comes before a call is admitted, where nothing else bounds it. Honest clients come in
crowds, so the next one waits rather than being refused; whoever holds places without using them
holds up its own address, and others only when all are gone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.model.errors import Refusal, Stopped
from proxy.model.reason import Reason

MAX_PLACES = 256
PER_ADDRESS = 64
MAX_WAITING = 2_048

_BUSY = Refusal(
    Reason.BUSY, "Too many requests are being read; try again soon.", retry_after_ms=1000
)


class _Share:
    """The places of one address. `users` hold one or wait for one."""

    __slots__ = ("places", "users")

    def __init__(self, count: int) -> None:
        self.places = asyncio.Semaphore(count)
        self.users = 0


class Places:
    """`taken` counts the places held, `waiting` those who wait, and `refused` those who could not
    even do that."""

    def __init__(
        self,
        count: int = MAX_PLACES,
        per_address: int = PER_ADDRESS,
        most_waiting: int = MAX_WAITING,
    ) -> None:
        self._count, self._per_address, self._most_waiting = count, per_address, most_waiting
        self._all = asyncio.Semaphore(count)
        self._shares: dict[str, _Share] = {}  # of addresses with users: no more than those
        self.taken = 0
        self.waiting = 0
        self.refused = 0

    @property
    def is_crowded(self) -> bool:
        """Half of the places are taken."""
        return 2 * self.taken >= self._count

    @asynccontextmanager
    async def one(self, address: str) -> AsyncIterator[None]:
        """Hold a place; waits for it as long as the caller lets it. Raises `Stopped` with `busy`
        where too many wait already."""
        share = self._shares.get(address)
        if share is None:
            share = self._shares[address] = _Share(self._per_address)
        share.users += 1
        try:
            is_free = not (share.places.locked() or self._all.locked())
            if not is_free and self.waiting >= self._most_waiting:
                self.refused += 1
                raise Stopped(_BUSY)
            self.waiting += 1
            try:
                await share.places.acquire()
            finally:
                self.waiting -= 1
            try:
                async with self._one_of_all():
                    yield
            finally:
                share.places.release()
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[address]

    @asynccontextmanager
    async def _one_of_all(self) -> AsyncIterator[None]:
        self.waiting += 1
        try:
            await self._all.acquire()
        finally:
            self.waiting -= 1
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
            self._all.release()
