"""What is counted of calls, by tool: plain integers, bounded whatever is sent.

Label values come from here, so tool names are those of the policy's catalog, and only so many of
them.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from proxy.model.call import Mode
from proxy.model.reason import Reason
from proxy.model.record import CallRecord

UNKNOWN_TOOL: Final = "_unknown"
OTHER_TOOL: Final = "_other"
WAITED_MS: Final = 1.0  # less is the time it takes to find out that there is no need to wait
MOST_TOOLS: Final = 2000
_TUNNEL: Final = Mode.CONNECT  # an attribute of an enum costs more than a name

# Upper bounds of the latency histogram: a little under the default timeouts' decades.
BOUNDS_MS: Final[tuple[float, ...]] = (
    5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4,
)  # fmt: skip
_SHORTEST_MS: Final = BOUNDS_MS[0]
_BOUND_LABELS: Final = tuple(repr(bound / 1000) for bound in BOUNDS_MS)
STATUS_CLASSES: Final[tuple[str, ...]] = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")

# Something failed, as opposed to something said no.
ERRORS: Final = frozenset(
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
_NEITHER: Final = frozenset((Reason.OK, Reason.CLIENT_GONE))


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


class CallCounts:
    """The figures of all tools, and what is not counted by tool. Written on the event loop, once
    per call; read from anywhere."""

    __slots__ = (
        "_catalog", "_inner", "_most_tools", "sampled", "tools", "tunnel_bytes", "tunnels",
    )  # fmt: skip

    def __init__(self, most_tools: int = MOST_TOOLS) -> None:
        self._most_tools = most_tools
        self._catalog: frozenset[str] = frozenset()
        self._inner: frozenset[str] = frozenset()
        self.tools: dict[str, ToolFigures] = {}
        self.sampled = 0
        self.tunnels = 0
        self.tunnel_bytes = [0, 0]  # towards upstreams, towards clients

    def know_tools(self, names: Iterable[str], inner: Iterable[str] = ()) -> None:
        """The catalog of the policy in force, and the tools of MCP servers that it names; figures
        of tools that are gone stay, since counters must not go down."""
        self._catalog = frozenset(names)
        self._inner = frozenset(inner)

    def observe(self, record: CallRecord) -> None:
        """Count one finished call."""
        figures = self.tools.get(record.tool)
        if figures is None:
            figures = self._figures_for(record.tool)
        codes = figures.codes
        code = record.code
        codes[code] = codes.get(code, 0) + 1
        figures.classes[record.status // 100 if 100 <= record.status < 600 else 0] += 1
        total_ms = record.total_ms
        # Most calls are short: they need no search.
        figures.buckets[0 if total_ms <= _SHORTEST_MS else bisect_left(BOUNDS_MS, total_ms)] += 1
        figures.total_ms += total_ms
        attempts = record.attempts
        figures.attempts += attempts
        if attempts > 1:
            figures.retries += attempts - 1
        figures.upstream_ms += record.upstream_ms
        figures.request_bytes += record.request_bytes
        figures.response_bytes += record.response_bytes
        if record.queue_ms >= WAITED_MS:
            figures.queue_ms += record.queue_ms
            figures.queued += 1
        if record.cost_micros:
            figures.cost_micros += record.cost_micros
        if record.tokens:
            figures.tokens += record.tokens
        if record.is_usage_unread:
            figures.usage_unread += 1
        if record.sampled:
            self.sampled += 1
        if record.mode is _TUNNEL:
            self._count_tunnel(record)

    def _count_tunnel(self, record: CallRecord) -> None:
        """A CONNECT that was let through. Its bytes also count as its tool's."""
        if record.status == 200:
            self.tunnels += 1
            self.tunnel_bytes[0] += record.request_bytes
            self.tunnel_bytes[1] += record.response_bytes

    def _figures_for(self, tool: str) -> ToolFigures:
        """Figures of a name seen for the first time, or that is not to be had as a label. A tool
        inside of a catalog entry (`entry.tool` of an MCP server) counts for its entry, unless the
        policy names it."""
        name = tool
        if name not in self._inner:
            while name not in self._catalog and "." in name:
                name = name.rpartition(".")[0]
            if name not in self._catalog:
                name = UNKNOWN_TOOL
        figures = self.tools.get(name)
        if figures is not None:
            return figures
        if name != UNKNOWN_TOOL and len(self.tools) >= self._most_tools:
            name = OTHER_TOOL
        return self.tools.setdefault(name, ToolFigures())
