"""The figures of one tool."""

from bisect import bisect_left

from proxy.model.reason import Reason

# Upper bounds of the latency histogram: a little under the default timeouts' decades.
BOUNDS_MS = (5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4)
_BOUND_LABELS = tuple(repr(bound / 1000) for bound in BOUNDS_MS)
STATUS_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")

# Something failed, as opposed to something said no.
ERRORS = frozenset(
    (
        Reason.TIMEOUT,
        Reason.UPSTREAM_DNS,
        Reason.UPSTREAM_CONNECT,
        Reason.UPSTREAM_TLS,
        Reason.UPSTREAM_RESET,
        Reason.UPSTREAM_INVALID,
        Reason.STATE_UNAVAILABLE,
        Reason.INTERNAL_ERROR,
    )
)
_NEITHER = frozenset((Reason.OK, Reason.CLIENT_GONE))


class ToolFigures:
    """Counters of one tool; written by the event loop only."""

    __slots__ = (
        "attempts", "buckets", "classes", "codes", "cost_micros", "queue_ms", "queued",
        "request_bytes", "response_bytes", "retries", "tokens", "total_ms", "upstream_ms",
        "usage_unread",
    )  # fmt: skip

    def __init__(self) -> None:
        self.codes: dict[Reason, int] = {}
        self.classes = [0] * len(STATUS_CLASSES)
        self.buckets = [0] * (len(BOUNDS_MS) + 1)
        self.total_ms = 0.0
        self.upstream_ms = 0.0
        self.queue_ms = 0.0
        self.queued = 0
        self.attempts = 0
        self.retries = 0
        self.request_bytes = 0
        self.response_bytes = 0
        self.cost_micros = 0
        self.tokens = 0
        self.usage_unread = 0

    def cumulated(self) -> list[tuple[str, float]]:
        """(upper bound in seconds, calls up to it), the last one for all calls."""
        total = 0
        result: list[tuple[str, float]] = []
        for label, count in zip((*_BOUND_LABELS, "+Inf"), list(self.buckets), strict=True):
            total += count
            result.append((label, total))
        return result

    def percentile_ms(self, share: float) -> float | None:
        """Estimate of the duration that `share` of the calls stay under, linear inside of its
        bucket; the last bound for what is beyond it; None without calls."""
        counts = [int(count) for _, count in self.cumulated()]
        if counts[-1] == 0:
            return None
        rank = share * counts[-1]
        place = bisect_left(counts, rank)
        if place >= len(BOUNDS_MS):
            return BOUNDS_MS[-1]
        lower = BOUNDS_MS[place - 1] if place else 0.0
        before = counts[place - 1] if place else 0
        inside = counts[place] - before
        part = (rank - before) / inside if inside else 1.0
        return round(lower + (BOUNDS_MS[place] - lower) * part, 3)

    def summary(self) -> dict[str, object]:
        """Counts and percentiles for the console."""
        codes = dict(self.codes)
        calls = sum(codes.values())
        errors = sum(count for code, count in codes.items() if code in ERRORS)
        neutral = sum(count for code, count in codes.items() if code in _NEITHER)
        return {
            "calls": calls,
            "errors": errors,
            "refusals": calls - errors - neutral,
            "attempts": self.attempts,
            "p50_ms": self.percentile_ms(0.50),
            "p95_ms": self.percentile_ms(0.95),
            "p99_ms": self.percentile_ms(0.99),
        }
