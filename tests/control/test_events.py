"""The event stream: calls and switches as they happen, bounded, and ended on time."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TypeAlias, cast

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from proxy.control import events
from proxy.control.api import control_app
from proxy.control.events import ChangeFeed, ChangeTail, EventStream
from proxy.policy.problem import PolicyError
from tests.control.desk import POLICY, Desk, open_access

Client: TypeAlias = TestClient[web.Request, web.Application]


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def client(desk: Desk) -> AsyncIterator[Client]:
    app = control_app(desk.operator, open_access(), heartbeat_s=0.01)
    async with TestClient(TestServer(app)) as client:
        yield client


async def next_event(stream: ClientResponse) -> tuple[str, dict[str, object]]:
    """The next event that is no heartbeat."""
    async with asyncio.timeout(5):
        while True:
            block = await stream.content.readuntil(b"\n\n")
            if not block.startswith(b":"):
                event, data = block.decode().removesuffix("\n\n").split("\n")
                return event.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def test_calls_and_switches_are_told(client: Client, desk: Desk) -> None:
    """In a form any SSE client reads, redacted, one line of data each."""
    async with client.get("/v1/events") as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert stream.headers["Cache-Control"] == "no-store"
        assert await stream.content.readuntil(b"\n\n") == b": still here\n\n"
        desk.see_call(path="/v1/search?q=cats\u2028forged")
        name, call = await next_event(stream)
        assert (name, call["call_id"]) == ("call", "call-1")
        assert "cats" not in str(call)
        desk.switches.engage("all", "fire", "alice")
        name, change = await next_event(stream)
        assert (name, change["action"]) == ("switch", "engaged")
        desk.switches.release("all")
        assert (await next_event(stream))[1]["action"] == "released"


async def test_policies_are_told(client: Client, desk: Desk) -> None:
    """Those that are loaded and those that are refused."""
    async with client.get("/v1/events") as stream:
        await stream.content.readuntil(b"\n\n")
        await desk.keeper.put(POLICY.replace("hidden", "shown").encode(), lambda _: True)
        name, change = await next_event(stream)
        assert (name, change["action"], change["version"]) == (
            "policy", "loaded", desk.policy.version,
        )  # fmt: skip
        with pytest.raises(PolicyError):
            await desk.keeper.put(b"nonsense: 1", lambda _: True)
        name, change = await next_event(stream)
        assert (name, change["action"], change["version"]) == (
            "policy", "failed", desk.policy.version,
        )  # fmt: skip


async def test_an_expiry_is_told_at_the_next_heartbeat(client: Client, desk: Desk) -> None:
    """Nobody calls when time runs out, so somebody has to look."""
    async with client.get("/v1/events") as stream:
        await stream.content.readuntil(b"\n\n")
        desk.switches.engage("all", "fire", "alice", ttl_s=60)
        assert (await next_event(stream))[1]["action"] == "engaged"
        desk.clock.advance(61)
        assert (await next_event(stream))[1]["action"] == "released"


async def test_a_slow_reader_is_told_what_it_missed(client: Client, desk: Desk) -> None:
    """Its queue holds so many; the rest is counted, and calls go on."""
    async with client.get("/v1/events") as stream:
        await stream.content.readuntil(b"\n\n")
        for number in range(300):  # without a turn for the stream in between
            desk.see_call(number)
        told = [await next_event(stream) for _ in range(257)]
        dropped = [data for name, data in told if name == "dropped"]
        assert dropped == [{"events": 300 - 256}]


async def test_places_are_bounded_and_given_back(client: Client, desk: Desk) -> None:
    """503 when all are taken; a reader that leaves makes room."""
    streams = [await client.get("/v1/events") for _ in range(32)]
    refused = await client.get("/v1/events")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
    for stream in streams:
        stream.close()
    async with asyncio.timeout(5):
        while (stream := await client.get("/v1/events")).status != 200:
            await asyncio.sleep(0.01)
    stream.close()
    assert desk.recent.dropped() == 0


async def test_the_streams_end_with_the_sidecar(desk: Desk) -> None:
    """A shutdown does not wait for readers."""
    app = control_app(desk.operator, open_access())
    async with TestClient(TestServer(app)) as client:
        stream = await client.get("/v1/events")
        async with asyncio.timeout(5):
            await app.shutdown()
            rest = await stream.content.read()
        assert rest == b": still here\n\n"


class StuckResponse:
    """A reader that is there and reads nothing."""

    async def write(self, _: bytes) -> None:
        await asyncio.Event().wait()


async def test_a_reader_that_reads_nothing_is_let_go(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds one of few places for nothing."""
    monkeypatch.setattr(events, "WRITE_LIMIT_S", 0.01)
    calls = desk.recent.subscribe()
    assert calls is not None
    feed = ChangeFeed(desk.switches, desk.keeper)
    stream = EventStream(cast("web.StreamResponse", StuckResponse()), calls, feed)
    async with asyncio.timeout(5):
        await stream.run(asyncio.Event())
    assert feed._tails == []


def test_a_full_tail_counts_what_it_drops() -> None:
    """Kills go on whoever reads."""
    tail = ChangeTail(limit=1)
    tail.offer("switch", {"n": 1})
    tail.offer("switch", {"n": 2})
    assert tail.dropped == 1


async def test_changes_before_a_subscription_are_not_told(desk: Desk) -> None:
    """The feed looks only while somebody listens, and starts from what is."""
    feed = ChangeFeed(desk.switches, desk.keeper)
    desk.switches.engage("all", "old", "alice")
    tail = feed.subscribe()
    desk.switches.engage("writes", "new", "alice")
    _, change = await tail.next()
    assert change["action"] == "engaged"
    assert "writes" in str(change)
    feed.forget(tail)
    feed.forget(tail)
    desk.switches.release("all")
    assert tail.dropped == 0
