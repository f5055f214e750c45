"""Rate limits: leaky buckets that a call may wait for, a little, in line.

A level that leaks, a line in which newcomers cannot overtake, the wait known beforehand, a refusal
at once where that wait is too long, and a bounded number of buckets. Why no library:
docs/decisions/0001-dependencies.md.
"""

import asyncio
from collections import OrderedDict
from math import ceil
from typing import Final

from proxy.model.call import Caller
from proxy.model.clock import Clock
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.policy.policy import RateRule, RateScope

WAITERS_LIMIT: Final = 1_000  # per bucket
FULL_RETRY_AFTER_MS: Final = 1_000
_SWEEP: Final = 2
_ROOMY: Final = 4  # up to a quarter of the limit drained buckets stay: whoever had one comes again
_ROUNDING: Final = 1e-9  # of a call: less does not make it wait


class _Bucket:
    """One leaky bucket and its line. `level` is how full it is, as of `checked_s`: it leaks
    `requests / per_s` a second, and each granted call adds 1."""

    __slots__ = ("checked_s", "level", "line", "per_s", "requests", "waiting")

    def __init__(self, rule: RateRule, now_s: float) -> None:
        self.requests = rule.requests
        self.per_s = rule.per_s
        self.line: asyncio.Lock | None = None  # first come, first served; made when it is needed
        self.waiting = 0
        self.level = 0.0
        self.checked_s = now_s

    def leak(self, now_s: float) -> None:
        level = self.level - (now_s - self.checked_s) * self.requests / self.per_s
        self.level = level if level > 0.0 else 0.0
        self.checked_s = now_s

    def has_room(self, now_s: float, calls: int) -> bool:
        """Is there room for `calls` now?"""
        self.leak(now_s)
        return self.level + calls <= self.requests + _ROUNDING

    def take(self, now_s: float, calls: int) -> bool:
        """Let them in, if there is."""
        if self.has_room(now_s, calls):
            self.level += calls
            return True
        return False

    def room_in_s(self, calls: int) -> float:
        """When there will be, if nobody else comes; as of the last look."""
        return (self.level + calls - self.requests) * self.per_s / self.requests

    def wait_s(self, now_s: float, calls: int) -> float:
        """How long `calls` that join the line now would wait; everybody in it goes first."""
        self.leak(now_s)
        return max(0.0, self.room_in_s(self.waiting + calls))

    def is_drained(self, now_s: float) -> bool:
        """Untouched for `per_s`, in which any bucket runs empty: a new one would be the same."""
        return self.waiting == 0 and now_s - self.checked_s >= self.per_s


_Shelf = OrderedDict[str, _Bucket]  # buckets of one tool and scope, longest unused first


class RateLimits:
    """The buckets of all tools, runs and agents, at most `limit`.

    Only a drained bucket is dropped for another; when all are live, a call that needs a new one
    is refused and counted in `refused_full`. Evicting a live one would hand a full allowance to
    whoever invents names fastest.
    """

    def __init__(self, clock: Clock, limit: int = 100_000) -> None:
        self._clock = clock
        self._limit = limit
        self._shelves: dict[tuple[str, RateScope], _Shelf] = {}
        self._count = 0
        self._in_line: dict[str, int] = {}
        self.refused_full = 0

    def __len__(self) -> int:
        return self._count

    def take_now(self, tool: str, rule: RateRule, caller: Caller) -> bool:
        """Take one request, if there is room for it and nobody waits. False: `take` has more to
        say; nothing was taken."""
        now_s = self._clock.monotonic()
        bucket = self._find(tool, rule, caller, now_s)
        if bucket is None or bucket.requests != rule.requests or bucket.per_s != rule.per_s:
            return False
        return bucket.waiting == 0 and bucket.take(now_s, 1)

    async def take(
        self, tool: str, rule: RateRule, caller: Caller, calls: int = 1
    ) -> Refusal | None:
        """Take one request from the caller's bucket, or `calls` at once, waiting in line at most
        `max_wait_s`.

        Never yields to the event loop while there is capacity and nobody waits. The wait is worked
        out on arrival and is an upper bound, since nobody overtakes: a call that would wait longer
        than `max_wait_s` is refused at once, with that wait as `retry_after_ms`, and takes nothing.
        Cancelling a waiting call takes it out of the line and costs nothing.
        """
        now_s = self._clock.monotonic()
        bucket = self._find(tool, rule, caller, now_s)
        if bucket is None:
            self.refused_full += 1
            return Refusal(
                Reason.RATE_LIMITED,
                "The table of rate limits is full; try again in a moment.",
                "tools.rate_limits",
                FULL_RETRY_AFTER_MS,
            )
        if bucket.requests != rule.requests or bucket.per_s != rule.per_s:
            bucket = self._changed(bucket, tool, rule, caller, now_s)
        if bucket.waiting == 0 and bucket.take(now_s, calls):
            return None
        refusal = _too_long(bucket, tool, rule, now_s, calls)
        if refusal is not None:
            return refusal
        self._in_line[tool] = self._in_line.get(tool, 0) + calls
        try:
            await self._queue(bucket, calls)
        finally:
            self._in_line[tool] -= calls
            if not self._in_line[tool]:
                del self._in_line[tool]
        return None

    def foresee(self, tool: str, rule: RateRule, caller: Caller, calls: int) -> Refusal | None:
        """Why `take` would refuse now; takes nothing. For whoever needs something of several
        buckets: what one of them gave cannot be given back when another refuses."""
        now_s = self._clock.monotonic()
        bucket = self._find(tool, rule, caller, now_s)
        if bucket is None or (bucket.waiting == 0 and bucket.has_room(now_s, calls)):
            return None
        return _too_long(bucket, tool, rule, now_s, calls)

    def waiting(self, tool: str) -> int:
        """Calls of `tool` in line, over all its buckets."""
        return self._in_line.get(tool, 0)

    def in_line(self) -> dict[str, int]:
        """Calls that wait now, by tool; only tools with any."""
        return dict(self._in_line)

    async def _queue(self, bucket: _Bucket, calls: int) -> None:
        # asyncio.Lock hands over in order of arrival and forgets the cancelled; only its holder
        # waits for the level, so that nobody can slip past when it is low enough.
        if bucket.line is None:
            bucket.line = asyncio.Lock()
        bucket.waiting += calls
        try:
            async with bucket.line:
                while not bucket.take(self._clock.monotonic(), calls):  # noqa: ASYNC110 - time
                    await asyncio.sleep(bucket.room_in_s(calls))
        finally:
            bucket.waiting -= calls

    def _find(self, tool: str, rule: RateRule, caller: Caller, now_s: float) -> _Bucket | None:
        scope = rule.scope
        who = ""
        if scope is RateScope.RUN:
            who = caller.run_id
        elif scope is RateScope.AGENT:
            who = caller.agent_id
        key = (tool, scope)
        shelf = self._shelves.get(key)
        if shelf is not None:
            bucket = shelf.get(who)
            if bucket is not None:
                shelf.move_to_end(who)
                return bucket
            if self._count >= self._limit // _ROOMY:
                self._drop_drained(key, now_s)
        if self._count >= self._limit and not self._make_room(now_s):
            return None
        bucket = _Bucket(rule, now_s)
        self._shelves.setdefault(key, OrderedDict())[who] = bucket
        self._count += 1
        return bucket

    def _make_room(self, now_s: float) -> bool:
        # Looks at two buckets of each tool; only when the table is full.
        for key in list(self._shelves):
            self._drop_drained(key, now_s)
            if self._count < self._limit:
                return True
        return False

    def _drop_drained(self, key: tuple[str, RateScope], now_s: float) -> None:
        shelf = self._shelves[key]
        for _ in range(min(_SWEEP, len(shelf))):
            who, oldest = next(iter(shelf.items()))
            if not oldest.is_drained(now_s):
                return
            del shelf[who]
            self._count -= 1
        if not shelf:
            del self._shelves[key]

    def _changed(
        self, old: _Bucket, tool: str, rule: RateRule, caller: Caller, now_s: float
    ) -> _Bucket:
        """A bucket for a changed rule, as full as the old one, in requests.

        Who waits in the old line is served by the old bucket and counts as level here, so that a
        change (or two policies side by side) never opens a second allowance.
        """
        old.leak(now_s)
        bucket = _Bucket(rule, now_s)
        # This may stand above the brim: cutting it off would lose calls at every change back and
        # forth, and so let them through again.
        bucket.level = old.level + old.waiting
        who = {RateScope.RUN: caller.run_id, RateScope.AGENT: caller.agent_id}.get(rule.scope, "")
        self._shelves[tool, rule.scope][who] = bucket
        return bucket


def _too_long(
    bucket: _Bucket, tool: str, rule: RateRule, now_s: float, calls: int
) -> Refusal | None:
    """Why so many calls may not join the line."""
    if calls > rule.requests:
        return Refusal(
            Reason.RATE_LIMITED,
            f"{tool} allows {rule.requests} requests per {rule.per_s:g} s, and this is {calls} at"
            " once; send fewer of them together.",
            "tools.rate_limits",
        )
    wait_s = bucket.wait_s(now_s, calls)
    if wait_s > rule.max_wait_s or rule.max_wait_s <= 0 or bucket.waiting >= WAITERS_LIMIT:
        return _refusal(tool, rule, wait_s)
    return None


def _refusal(tool: str, rule: RateRule, wait_s: float) -> Refusal:
    retry_after_ms = max(1, ceil(wait_s * 1000))
    return Refusal(
        Reason.RATE_LIMITED,
        f"{tool} allows {rule.requests} requests per {rule.per_s:g} s; wait"
        f" {retry_after_ms / 1000:g} s before calling it again.",
        "tools.rate_limits",
        retry_after_ms,
    )
