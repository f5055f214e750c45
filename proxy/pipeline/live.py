"""The calls under way, and how one is stopped from outside its own line.

A deadline, an operator's switch, a client that went away and a drain that ran out of patience all
end a call the same way: `stop` with the reason, which cancels its walk where it waits. The first
reason is the one that is told.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from proxy.mcp.message import Message
from proxy.model.call import Effect, ToolCall
from proxy.model.errors import Refusal
from proxy.policy.policy import ToolRule

_NEVER_S: Final = float("inf")
_RESOLUTION_S: Final = 0.001  # of uvloop's clock and timers

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class Deadlines:
    """One timer for the deadlines of all `calls`: set for the nearest one, it looks at all of them
    when it rings. Nearly every call ends long before its own, so that a timer for each would be
    made and taken back for nothing. Times are the event loop's, which the timer goes by."""

    __slots__ = ("_calls", "_rings_s", "_timer")

    def __init__(self, calls: "set[LiveCall]") -> None:
        self._calls = calls
        self._timer: asyncio.TimerHandle | None = None
        self._rings_s = _NEVER_S

    def watch(self, live: "LiveCall", loop: asyncio.AbstractEventLoop) -> None:
        """Stop it when the loop's clock reads its `due_s`."""
        if live.due_s < self._rings_s:
            self._set(live.due_s, loop)

    def _set(self, due_s: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_s = due_s
        self._timer = loop.call_at(due_s, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._rings_s = None, _NEVER_S
        now_s = loop.time() + _RESOLUTION_S
        nearest_s = _NEVER_S
        for live in tuple(self._calls):
            if live.due_s <= now_s:
                live.overdue()
            elif live.due_s < nearest_s:
                nearest_s = live.due_s
        if nearest_s < self._rings_s:
            self._set(nearest_s, loop)


class LiveCall:
    """One call under way. `rules` and `effect` are set once they are known; for an MCP server so
    are `messages` and `mcp_tools`, the full names of the tools they call."""

    __slots__ = (
        "_cancel", "_deadlines", "_loop", "_refusal", "call", "deadline_s", "due_s", "effect",
        "mcp_tools", "messages", "rules", "spawn", "stopped",
    )  # fmt: skip

    def __init__(
        self, call: ToolCall, cancel: Callable[[], None], loop: asyncio.AbstractEventLoop,
        spawn: Spawn, deadlines: Deadlines,
    ) -> None:  # fmt: skip
        self.call = call
        self.rules: tuple[ToolRule, ...] = ()
        self.messages: tuple[Message, ...] = ()
        self.mcp_tools: tuple[str, ...] = ()
        self.effect = Effect.WRITE
        self.stopped: Refusal | None = None
        self.deadline_s = _NEVER_S  # monotonic
        self.due_s = _NEVER_S  # the same by the event loop's clock
        self.spawn = spawn
        self._cancel = cancel
        self._loop = loop
        self._deadlines = deadlines
        self._refusal: Refusal | None = None  # to be told when the deadline passes

    def stop(self, refusal: Refusal) -> None:
        """End the call at its next await; a second reason is ignored."""
        if self.stopped is None:
            self.stopped = refusal
            self._cancel()

    def set_deadline(self, deadline_s: float, now_s: float, refusal: Refusal) -> None:
        """Stop the call with `refusal` when the monotonic clock reads `deadline_s`."""
        self.deadline_s = deadline_s
        self.due_s = self._loop.time() + (deadline_s - now_s)
        self._refusal = refusal
        self._deadlines.watch(self, self._loop)

    def clear_deadline(self) -> None:
        """The call is not bounded in time any more."""
        self.deadline_s = self.due_s = _NEVER_S

    def overdue(self) -> None:
        """Its deadline has passed."""
        self.due_s = _NEVER_S
        if self._refusal is not None:
            self.stop(self._refusal)


class LiveCalls:
    """All of them."""

    def __init__(self) -> None:
        self._calls: set[LiveCall] = set()
        self.deadlines = Deadlines(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[LiveCall]:
        return iter(tuple(self._calls))

    def enter(self, live: LiveCall) -> None:
        """A call begins its walk."""
        self._calls.add(live)

    def leave(self, live: LiveCall) -> None:
        """It is over."""
        self._calls.discard(live)

    def stop_where(self, judge: Callable[[LiveCall], Refusal | None]) -> int:
        """Ask `judge` about every call and stop those it refuses; returns how many."""
        count = 0
        for live in tuple(self._calls):
            refusal = judge(live)
            if refusal is not None:
                live.stop(refusal)
                count += 1
        return count
