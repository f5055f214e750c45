"""Whether, when and how often a failed attempt is made again.

Pure answers, plus the retry budget. The walk asks all of them, in this order: may the request be
sent twice, is the failure one that a second try can mend, is there a retry left, does the budget
allow it, does the wait fit the deadline.
"""

from calendar import timegm
from collections import OrderedDict
from collections.abc import Callable
from email.utils import parsedate_tz
from math import inf
from typing import Final

from proxy.guards.window import RollingWindow
from proxy.model.clock import Clock
from proxy.model.reason import Reason
from proxy.policy.policy import RetryRule, ToolRule

IDEMPOTENT_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
RETRYABLE_STATUSES: Final = frozenset({429, 502, 503, 504})
RETRYABLE_FAILURES: Final = frozenset(
    {Reason.UPSTREAM_DNS, Reason.UPSTREAM_CONNECT, Reason.UPSTREAM_RESET}
)

MIN_RETRIES: Final = 3
_RETRY_AFTER_LIMIT_BYTES: Final = 64
_RETRY_AFTER_LIMIT_S: Final = 365 * 86_400
_SWEEP: Final = 2
_OTHER: Final = "_other"


def can_replay(rule: ToolRule, method: str, has_idempotency_key: bool) -> bool:
    """May the same request reach the upstream twice?

    Idempotent methods may (RFC 9110 section 9.2.2: a proxy must not repeat the others by itself).
    TRACE and the safe extensions are left out: nobody calls a tool with them. The rest only if the
    operator says so (`retry_writes`) or the caller sent an idempotency key that we forward, which
    lets the upstream drop the double.
    """
    return method in IDEMPOTENT_METHODS or rule.retry_writes or has_idempotency_key


def is_retryable_failure(reason: Reason) -> bool:
    """Can a second attempt mend this failure?

    Yes where the answer's head never came and the cause is often gone in a moment: a name that
    did not resolve, a connection refused or reset. Not `upstream_tls` (a wrong certificate stays
    wrong), not `upstream_invalid` (a server that speaks garbage does so again), not `timeout` (the
    call's time is what ran out, and the upstream may still be working), not `address_denied` (a
    verdict, which trying again must not wear down).
    """
    return reason in RETRYABLE_FAILURES


def is_retryable_status(status: int) -> bool:
    """Does this answer say "not now" rather than "no"? 429, 502, 503 and 504."""
    return status in RETRYABLE_STATUSES


def backoff_s(rule: RetryRule, retry_index: int, random: Callable[[], float]) -> float:
    """Seconds to wait before retry `retry_index` (from 0): uniform(0, step), the last step for
    every later one.

    Full jitter, so that callers that failed together do not come back together. `random` gives
    [0, 1).
    """
    steps = rule.backoff_s
    if not steps:
        return 0.0
    return random() * steps[min(retry_index, len(steps) - 1)]


def parse_retry_after(value: bytes, wall_s: float) -> float | None:
    """Seconds from `wall_s` that a Retry-After field asks for (RFC 9110 section 10.2.3).

    Digits or an HTTP date in any of its three forms. A date that is past means 0.0. None: not
    understood, wait as if it were not there. inf: more than a year, so no deadline fits it. Never
    raises: an upstream wrote it.
    """
    text = value.strip(b" \t")
    if not text or len(text) > _RETRY_AFTER_LIMIT_BYTES:
        return None
    delay_s = float(text) if text.isdigit() else _until(text, wall_s)
    if delay_s is None:
        return None
    return inf if delay_s > _RETRY_AFTER_LIMIT_S else max(0.0, delay_s)


def _until(text: bytes, wall_s: float) -> float | None:
    try:
        parsed = parsedate_tz(text.decode("ascii"))
        if parsed is None or parsed[0] < 1900:  # timegm is defined for any year, dates are not
            return None
        return timegm(parsed[:9]) - (parsed[9] or 0) - wall_s
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class RetryBudget:
    """Retries of one tool as a share of its traffic: over the last ten seconds at most
    `max(3, budget_ratio * calls)`.

    Limits per call do not add up: when an upstream goes down, `max: 2` turns every call into
    three, exactly when it can bear least, and every layer above multiplies it again. A share of
    recent traffic caps the extra load at that share, whatever fails (as Finagle and tower do). The
    floor of three lets a quiet tool retry at all.

    `denied` counts the retries that were not to be had.
    """

    __slots__ = ("_clock", "_window", "denied")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._window = RollingWindow()  # marked: retries; total: calls
        self.denied = 0

    def deposit(self, now_s: float) -> None:
        """A call makes its first attempt. Once a call, not once an attempt."""
        self._window.add(now_s, 1, 0)

    def withdraw(self, rule: RetryRule) -> bool:
        """Take one retry from the budget; False if it is used up."""
        window = self._window
        now_s = self._clock.monotonic()
        window.roll(now_s)
        if window.marked + 1 > max(MIN_RETRIES, rule.budget_ratio * window.total):
            self.denied += 1
            return False
        window.add(now_s, 0, 1)
        return True

    def left(self, budget_ratio: float) -> int:
        """Retries to be had now, for an onlooker."""
        self._window.roll(self._clock.monotonic())
        most = max(MIN_RETRIES, budget_ratio * self._window.total)
        return max(0, int(most) - self._window.marked)

    def idle(self) -> bool:
        """Nothing in the last ten seconds: forgetting it changes no answer."""
        self._window.roll(self._clock.monotonic())
        return self._window.total == 0 and self._window.marked == 0


class RetryBudgets:
    """One retry budget per tool, at most `limit`.

    Idle ones are dropped for new ones. When all are in use, the tools beyond share a single
    budget: fewer retries, never more; `overflowed` counts how often.
    """

    def __init__(self, clock: Clock, limit: int = 4096) -> None:
        self._clock = clock
        self._limit = limit
        self._budgets: OrderedDict[str, RetryBudget] = OrderedDict()
        self._overflow = RetryBudget(clock)
        self._denied_before: dict[str, int] = {}  # by budgets that were dropped since
        self.overflowed = 0

    def of(self, tool: str) -> RetryBudget:
        """The budget of `tool`. Fetch it once per call and keep it for its retries."""
        budget = self._budgets.get(tool)
        if budget is not None:
            return budget
        for _ in range(min(_SWEEP, len(self._budgets))):
            self._recycle_oldest()
        if len(self._budgets) >= self._limit:
            self.overflowed += 1
            return self._overflow
        budget = self._budgets[tool] = RetryBudget(self._clock)
        return budget

    def denied(self) -> dict[str, int]:
        """Retries that a budget did not allow, by tool; those of tools beyond `limit` under
        `_other`. Only tools that were denied one. Never goes down."""
        counts = dict(self._denied_before)
        for tool, budget in self._budgets.items():
            if budget.denied:
                counts[tool] = counts.get(tool, 0) + budget.denied
        if self._overflow.denied:
            counts[_OTHER] = counts.get(_OTHER, 0) + self._overflow.denied
        return counts

    def left(self, ratio_of: Callable[[str], float | None]) -> dict[str, int]:
        """Retries to be had now, by tool; `ratio_of` gives a tool's `budget_ratio`, None where it
        has no rule any more. For an onlooker: looks at every budget."""
        ratios = ((tool, budget, ratio_of(tool)) for tool, budget in self._budgets.items())
        return {tool: budget.left(ratio) for tool, budget, ratio in ratios if ratio is not None}

    def __len__(self) -> int:
        return len(self._budgets)

    def _recycle_oldest(self) -> None:
        tool, budget = self._budgets.popitem(last=False)
        if not budget.idle():
            self._budgets[tool] = budget  # at the end: the next search looks further
        elif budget.denied:
            known = tool in self._denied_before or len(self._denied_before) < self._limit
            name = tool if known else _OTHER
            self._denied_before[name] = self._denied_before.get(name, 0) + budget.denied
