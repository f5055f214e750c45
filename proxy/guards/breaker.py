"""Circuit breaker: stop asking an upstream that keeps failing.

Closed: calls pass and are counted. Open: refused at once, for `open_s`, which spares the run its
seconds and the upstream its recovery. Half-open: one call at a time goes through as a probe; if it
succeeds the circuit closes, if it fails the circuit opens again.

One breaker per tool and origin, since a tool with many hosts must not lose all of them to one.
"""

from collections import OrderedDict
from enum import StrEnum
from itertools import islice
from math import ceil
from typing import Final

from proxy.guards.window import WINDOW_S, RollingWindow
from proxy.model.clock import Clock
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.policy.policy import BreakerRule

BreakerKey = tuple[str, str, int]  # tool, host, port

PROBE_RETRY_AFTER_MS: Final = 1000  # a probe is out; its verdict takes about a call
PROBE_LEASE_S: Final = 60.0  # a probe that has said nothing for this long is lost
_FORGET_OPEN_S: Final = 60.0  # an open circuit nobody asked about since may be dropped
_SWEEP: Final = 8  # entries looked at when room is needed


class State(StrEnum):
    """What the breaker does with the next call. In order of severity."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


_SEVERITY: Final = {state: rank for rank, state in enumerate(State)}


class _Breaker:
    __slots__ = ("last_s", "open_until_s", "probe_since_s", "window")

    def __init__(self, now_s: float) -> None:
        self.window = RollingWindow()
        self.open_until_s: float | None = None  # None: closed
        self.probe_since_s: float | None = None  # None: no probe is out
        self.last_s = now_s  # of the last record

    def state(self, now_s: float) -> State:
        if self.open_until_s is None:
            return State.CLOSED
        return State.OPEN if now_s < self.open_until_s else State.HALF_OPEN

    def stale(self, now_s: float) -> bool:
        """May be dropped without anybody noticing."""
        if self.open_until_s is None:
            return now_s - self.last_s >= WINDOW_S
        return not self.is_probing(now_s) and now_s - self.open_until_s >= _FORGET_OPEN_S

    def is_probing(self, now_s: float) -> bool:
        return self.probe_since_s is not None and now_s - self.probe_since_s < PROBE_LEASE_S


class Breakers:
    """The breakers of all origins, at most `limit`.

    When there is no room, a stale breaker goes first, then a closed one (only statistics are
    lost; counted in `dropped`). Never an open one: then the new origin goes unwatched, and
    `untracked` counts it. A breaker protects the upstream and is no permission, so this is the
    one guard that lets pass when its table is full.
    """

    def __init__(self, clock: Clock, limit: int = 4096) -> None:
        self._clock = clock
        self._limit = limit
        self._breakers: OrderedDict[BreakerKey, _Breaker] = OrderedDict()
        self.dropped = 0
        self.untracked = 0

    def refuse(self, key: BreakerKey, rule: BreakerRule) -> Refusal | None:
        """The refusal of an open circuit, or None.

        None from a half-open circuit makes this call the probe: it must end in `record` or, if it
        ends without a verdict (cancelled), in `abandon`. Ask `probing` right after to know. A
        probe that does neither loses its place after a minute, since a place that is lost for
        ever would keep the circuit open for ever.
        """
        breaker = self._breakers.get(key)
        if breaker is None or breaker.open_until_s is None:
            return None
        now_s = self._clock.monotonic()
        wait_s = breaker.open_until_s - now_s
        if wait_s > 0:
            return _refusal(key, rule, ceil(wait_s * 1000))
        if breaker.is_probing(now_s):
            return _refusal(key, rule, PROBE_RETRY_AFTER_MS)
        breaker.probe_since_s = now_s
        return None

    def enter(self, key: BreakerKey, rule: BreakerRule) -> Refusal | bool:
        """`refuse`, and if it does not: is this call the probe?"""
        breaker = self._breakers.get(key)
        if breaker is None or breaker.open_until_s is None:
            return False
        return self.refuse(key, rule) or self.probing(key)

    def record(self, key: BreakerKey, rule: BreakerRule, ok: bool) -> None:
        """The verdict of one attempt (see `counts_as_failure`).

        A verdict that arrives while the circuit is open (a call sent before) changes nothing. In
        half-open any verdict decides, the probe's or a straggler's: both say how the upstream
        is doing.
        """
        now_s = self._clock.monotonic()
        breaker = self._breakers.get(key)
        if breaker is None:
            if not self._make_room(now_s):
                self.untracked += 1
                return
            breaker = self._breakers[key] = _Breaker(now_s)
        else:
            breaker.last_s = now_s
            self._breakers.move_to_end(key)
        if breaker.open_until_s is None:
            _count(breaker, rule, ok, now_s)
        elif now_s >= breaker.open_until_s:
            breaker.probe_since_s = None
            breaker.open_until_s = None if ok else now_s + rule.open_s

    def probing(self, key: BreakerKey) -> bool:
        """Is a probe out? Straight after `refuse` gave None: is it mine?"""
        breaker = self._breakers.get(key)
        return breaker is not None and breaker.is_probing(self._clock.monotonic())

    def abandon(self, key: BreakerKey) -> None:
        """The probe ended without a verdict: the next call may be one. Only for the call that was
        the probe."""
        breaker = self._breakers.get(key)
        if breaker is not None:
            breaker.probe_since_s = None

    def state(self, key: BreakerKey) -> State:
        """What the next call to this origin would meet."""
        breaker = self._breakers.get(key)
        return State.CLOSED if breaker is None else breaker.state(self._clock.monotonic())

    def worst(self, tool: str) -> State:
        """The worst state among the tool's origins. Looks at every breaker: for the operator, not
        for the path of a call."""
        now_s = self._clock.monotonic()
        states = [b.state(now_s) for key, b in self._breakers.items() if key[0] == tool]
        return max(states, key=_SEVERITY.__getitem__, default=State.CLOSED)

    def worst_by_tool(self) -> dict[str, int]:
        """Severity of the worst state among each tool's origins: 0 closed, 1 half-open, 2 open.
        One pass over every breaker, for the operator."""
        now_s = self._clock.monotonic()
        worst: dict[str, int] = {}
        for (tool, _, _), breaker in self._breakers.items():
            severity = _SEVERITY[breaker.state(now_s)]
            worst[tool] = max(severity, worst.get(tool, 0))
        return worst

    def open_count(self) -> int:
        """How many origins are cut off now."""
        now_s = self._clock.monotonic()
        return sum(b.state(now_s) is State.OPEN for b in self._breakers.values())

    def __len__(self) -> int:
        return len(self._breakers)

    def _make_room(self, now_s: float) -> bool:
        # A few of the longest unused ones: constant work, whatever the table holds.
        oldest = list(islice(self._breakers.items(), _SWEEP))
        for key, breaker in oldest:
            if breaker.stale(now_s):
                del self._breakers[key]
        if len(self._breakers) < self._limit:
            return True
        for key, breaker in oldest:
            if breaker.open_until_s is None:
                del self._breakers[key]
                self.dropped += 1
                return True
            self._breakers.move_to_end(key)  # so that the next search looks further
        return False


def counts_as_failure(status: int | None) -> bool:
    """Does this answer say that the upstream is unwell? None: there was no answer.

    5xx does, except 501 and 505, which speak of the request (method, version) and not of the
    server's health. 429 does not: it is a healthy server that counts, and has its own remedies.
    """
    return status is None or (status >= 500 and status not in (501, 505))


def _count(breaker: _Breaker, rule: BreakerRule, ok: bool, now_s: float) -> None:
    window = breaker.window
    window.add(now_s, 1, 0 if ok else 1)
    if ok or window.total < rule.min_requests or window.marked < rule.error_rate * window.total:
        return
    breaker.open_until_s = now_s + rule.open_s
    breaker.window = RollingWindow()  # the failures are paid for; it closes with a clean slate


def _refusal(key: BreakerKey, rule: BreakerRule, retry_after_ms: int) -> Refusal:
    tool, host, port = key
    return Refusal(
        Reason.CIRCUIT_OPEN,
        f"{host}:{port} has been failing, so calls of {tool} to it are paused for"
        f" {rule.open_s:g} s at a time; try later or go on without it.",
        "tools.circuit_breaker",
        retry_after_ms,
    )
