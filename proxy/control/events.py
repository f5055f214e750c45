"""What happens, as it happens: Server-Sent Events for `tail` and the console.

Every subscriber has bounded queues of its own and one connection. One that is too slow loses
events and is told how many; it never slows a call or a kill.
"""

import asyncio
from typing import Protocol

from aiohttp import web

from proxy.control.policies import Policies
from proxy.control.views import View, switch_view
from proxy.guards.switches import Switch, Switches
from proxy.telemetry.line import json_line

HEARTBEAT_S = 15.0
WRITE_LIMIT_S = 30.0
_QUEUED_CHANGES = 64


class CallTail(Protocol):
    """A live tail of calls, such as `RecentCalls.subscribe` gives."""

    dropped: int

    async def next(self) -> dict[str, object]:
        """The next call's view."""


class ChangeTail:
    """One subscriber's queue of changes; `dropped` counts those without room."""

    __slots__ = ("_queue", "dropped")

    def __init__(self, limit: int = _QUEUED_CHANGES) -> None:
        self._queue: asyncio.Queue[tuple[str, View]] = asyncio.Queue(limit)
        self.dropped = 0

    def offer(self, event: str, change: View) -> None:
        """Queue a change, or count it as dropped."""
        if self._queue.full():
            self.dropped += 1
        else:
            self._queue.put_nowait((event, change))

    async def next(self) -> tuple[str, View]:
        """Wait for the next change: the name of its event, and what it says."""
        return await self._queue.get()


class ChangeFeed:
    """What people change: switches, and the policy.

    Of the switches it hears that something changed and finds out what: `{"action": "engaged" |
    "released", "switch"}`. An expiry shows as a release, at the next change or `refresh`.
    Subscribed to both once and for good, since they have no unsubscribe.
    """

    def __init__(self, switches: Switches, policies: Policies) -> None:
        self._switches = switches
        self._known: dict[str, Switch] = {}
        self._tails: list[ChangeTail] = []
        switches.subscribe(self.refresh)
        policies.subscribe(self._tell_policy)

    def subscribe(self) -> ChangeTail:
        """Changes from now on; whoever takes it gives it back to `forget`."""
        self.refresh()
        if not self._tails:
            self._known = self._engaged()
        tail = ChangeTail()
        self._tails.append(tail)
        return tail

    def forget(self, tail: ChangeTail) -> None:
        """Stop feeding a tail."""
        if tail in self._tails:
            self._tails.remove(tail)

    def refresh(self) -> None:
        """Compare with what was known and tell the difference; nothing to do unobserved."""
        if not self._tails:
            return
        known, now = self._known, self._engaged()
        self._known = now
        for key, switch in now.items():
            if known.get(key) != switch:
                self._tell("engaged", switch)
        for key, switch in known.items():
            if key not in now:
                self._tell("released", switch)

    def _engaged(self) -> dict[str, Switch]:
        return {switch.key: switch for switch in self._switches.active()}

    def _tell(self, action: str, switch: Switch) -> None:
        change: View = {"action": action, "switch": switch_view(switch)}
        for tail in self._tails:
            tail.offer("switch", change)

    def _tell_policy(self, change: View) -> None:
        for tail in self._tails:
            tail.offer("policy", change)


class _Over(Exception):  # noqa: N818 - the stream is over, which is no error
    """The sidecar stops."""


class EventStream:
    """One subscriber's connection: events `call`, `switch`, `policy` and `dropped`, and a comment
    now and then, which keeps middleboxes from closing it and finds out that the reader has gone.
    """

    def __init__(
        self,
        response: web.StreamResponse,
        calls: CallTail,
        feed: ChangeFeed,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._response = response
        self._calls = calls
        self._feed = feed
        self._changes = feed.subscribe()
        self._heartbeat_s = heartbeat_s
        self._dropped_told = 0

    async def run(self, stopping: asyncio.Event) -> None:
        """Until the reader goes, stops reading, or `stopping` is set. The tail of calls is closed
        by whoever opened it."""
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump_calls())
                pumps.create_task(self._pump_changes())
                pumps.create_task(self._beat())
                pumps.create_task(_end_when(stopping))
        except* (ConnectionError, TimeoutError, _Over):
            pass
        finally:
            self._feed.forget(self._changes)

    async def _pump_calls(self) -> None:
        while True:
            await self._send("call", await self._calls.next())
            await self._tell_dropped()

    async def _pump_changes(self) -> None:
        while True:
            event, change = await self._changes.next()
            await self._send(event, change)
            await self._tell_dropped()

    async def _beat(self) -> None:
        while True:
            await self._write(b": still here\n\n")
            await asyncio.sleep(self._heartbeat_s)
            self._feed.refresh()
            await self._tell_dropped()

    async def _tell_dropped(self) -> None:
        dropped = self._calls.dropped + self._changes.dropped
        if dropped > self._dropped_told:
            newly, self._dropped_told = dropped - self._dropped_told, dropped
            await self._send("dropped", {"events": newly})

    async def _send(self, event: str, view: View) -> None:
        await self._write(b"event: %b\ndata: %b\n" % (event.encode(), json_line(view)))

    async def _write(self, block: bytes) -> None:
        # A reader that reads nothing for so long is gone, or holds one of few places for nothing.
        async with asyncio.timeout(WRITE_LIMIT_S):
            await self._response.write(block)


async def _end_when(stopping: asyncio.Event) -> None:
    await stopping.wait()
    raise _Over
