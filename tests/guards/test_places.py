import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from proxy.guards.places import MAX_PLACES, PER_ADDRESS, Places
from proxy.model.errors import Stopped
from proxy.model.reason import Reason


@asynccontextmanager
async def holding(places: Places, *addresses: str) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for address in addresses:
            await stack.enter_async_context(places.one(address))
        yield


async def take(places: Places, address: str, done: list[str]) -> None:
    async with places.one(address):
        done.append(address)


async def test_who_comes_too_early_waits_and_is_served_in_order() -> None:
    places, done = Places(2, 2), list[str]()
    async with holding(places, "a", "b"):
        assert places.is_crowded
        waiting = [asyncio.ensure_future(take(places, name, done)) for name in ("c", "d")]
        await asyncio.sleep(0)
        assert (done, places.taken, places.waiting) == ([], 2, 2)
    await asyncio.gather(*waiting)
    assert done == ["c", "d"]
    assert (places.taken, places.waiting, places._shares) == (0, 0, {})


async def test_one_address_cannot_take_all_places() -> None:
    places, done = Places(4, 2), list[str]()
    async with holding(places, "a", "a"):
        third = asyncio.ensure_future(take(places, "a", done))
        await asyncio.sleep(0)
        await take(places, "b", done)
        assert done == ["b"]
    await third
    assert done == ["b", "a"]


async def test_who_cannot_even_wait_is_told() -> None:
    places = Places(1, 1, most_waiting=0)
    async with holding(places, "a"):
        with pytest.raises(Stopped) as told:
            await take(places, "b", [])
        assert told.value.refusal.reason is Reason.BUSY
        assert told.value.refusal.retry_after_ms
        assert places.refused == 1
    await take(places, "b", [])


@pytest.mark.parametrize("address", ["a", "b"])
async def test_who_stops_waiting_leaves_nothing_behind(address: str) -> None:
    """Waiting for its own share, or for one of all."""
    places = Places(1, 1)
    async with holding(places, "a"):
        waiting = asyncio.ensure_future(take(places, address, []))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert (places.taken, places.waiting, places._shares) == (0, 0, {})
    await take(places, "a", [])


def test_a_share_is_smaller_than_the_half_that_makes_a_crowd() -> None:
    assert PER_ADDRESS < MAX_PLACES / 2
