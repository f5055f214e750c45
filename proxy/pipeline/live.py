"""The calls under way, and how one is stopped from outside its own line.

A deadline, an operator's switch, a client that went away and a drain that ran out of patience all
end a call the same way: `stop` with the reason, which cancels its walk where it waits. The first
reason is the one that is told.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from proxy.mcp.message import Message
from proxy.model.call import Effect, ToolCall
from proxy.model.errors import Refusal
from proxy.policy.policy import ToolRule

Spawn = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class LiveCall:
    """One call under way. `rules` and `effect` are set once they are known; for an MCP server so
    are `messages` and `mcp_tools`, the full names of the tools they call."""

    __slots__ = (
        "_cancel", "_loop", "_timer", "call", "deadline_s", "effect", "mcp_tools", "messages",
        "rules", "spawn", "stopped",
    )  # fmt: skip

    def __init__(
        self, call: ToolCall, cancel: Callable[[], None], loop: asyncio.AbstractEventLoop,
        spawn: Spawn,
    ) -> None:  # fmt: skip
        self.call = call
        self.rules: tuple[ToolRule, ...] = ()
        self.messages: tuple[Message, ...] = ()
        self.mcp_tools: tuple[str, ...] = ()
        self.effect = Effect.WRITE
        self.stopped: Refusal | None = None
        self.deadline_s = float("inf")  # monotonic
        self.spawn = spawn
        self._cancel = cancel
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def stop(self, refusal: Refusal) -> None:
        """End the call at its next await; a second reason is ignored."""
        if self.stopped is None:
            self.stopped = refusal
            self._cancel()

    def set_deadline(self, deadline_s: float, now_s: float, refusal: Refusal) -> None:
        """Stop the call with `refusal` when the monotonic clock reads `deadline_s`."""
        self.clear_deadline()
        self.deadline_s = deadline_s
        self._timer = self._loop.call_later(max(0.0, deadline_s - now_s), self.stop, refusal)

    def clear_deadline(self) -> None:
        """The call is not bounded in time any more."""
        self.deadline_s = float("inf")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class LiveCalls:
    """All of them."""

    def __init__(self) -> None:
        self._calls: set[LiveCall] = set()

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[LiveCall]:
        return iter(tuple(self._calls))

    def enter(self, live: LiveCall) -> None:
        """A call begins its walk."""
        self._calls.add(live)

    def leave(self, live: LiveCall) -> None:
        """It is over."""
        live.clear_deadline()
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
