"""What the metrics page reads of the guards, the way out and the process, when it is asked for.

Nothing here is on the path of a call. Each reading is bounded, since the page is made on the event
loop, where the state lives: of the table of runs only the last called are looked at.
"""

import resource
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable

from proxy.app.memory import STATM, resident_bytes
from proxy.guards.budget import Ledger
from proxy.listeners.front import Front
from proxy.pipeline.booth import Booth
from proxy.policy.policy import BudgetRule
from proxy.telemetry.reporting import Telemetry

LOOKED_AT_RUNS = 1_000
RECENT_S = 300.0
_LAGS_KEPT = 120  # a minute of them
_SCOPES = ("all", "writes", "agent", "run", "tool", "policy")
_SHARES = (0.0, 0.5, 0.8, 0.95, 1.0)
_SHARE_LABELS = tuple(f"{share:g}" for share in _SHARES)


class Lag:
    """How late the event loop was: the last time, and the worst of the last minute."""

    __slots__ = ("_kept", "last_s")

    def __init__(self) -> None:
        self.last_s = 0.0
        self._kept: deque[float] = deque(maxlen=_LAGS_KEPT)

    def note(self, late_s: float) -> None:
        """A timer ran `late_s` after it was due."""
        self.last_s = late_s
        self._kept.append(late_s)

    def worst_s(self) -> float:
        """The worst that is still remembered."""
        return max(self._kept, default=0.0)


def watch_guards(telemetry: Telemetry, booth: Booth) -> None:
    """Switches, breakers, rate limits, retry budgets, runs."""
    watch = telemetry.figures.watch
    breakers, budgets, ledger = booth.breakers, booth.retry_budgets, booth.ledger
    watch("toolbooth_switches", lambda: switches_by_scope(booth))
    watch("toolbooth_breakers_open", breakers.open_count)
    watch("toolbooth_breaker_state", breakers.worst_by_tool)
    watch("toolbooth_calls_waiting", booth.rates.in_line)
    watch("toolbooth_retry_budget_left", lambda: budgets.left(_ratio_of(booth)))
    watch("toolbooth_retries_denied_total", budgets.denied)
    watch("toolbooth_runs", lambda: len(ledger.runs_table))
    watch("toolbooth_agents", lambda: len(ledger.agents_table))
    watch("toolbooth_recent_runs", lambda: recent_runs(ledger, booth.policy.budgets))
    watch("toolbooth_table_overflows_total", lambda: overflows(booth))


def watch_ways(telemetry: Telemetry, booth: Booth, front: Front) -> None:
    """Connections on both sides."""
    watch, pool = telemetry.figures.watch, booth.pool
    watch("toolbooth_client_connections", lambda: len(front))
    watch("toolbooth_client_connections_refused_total", lambda: front.turned_away)
    watch("toolbooth_memory_refusals_total", lambda: booth.memory.refused)
    watch("toolbooth_memory_soft_limit_bytes", lambda: booth.memory.mark_bytes)
    watch("toolbooth_upstream_connections", lambda: {"idle": pool.idle_count})
    watch(
        "toolbooth_upstream_connects_total",
        lambda: {"opened": pool.opened, "reused": pool.reused, "failed": pool.failed},
    )


def watch_records(telemetry: Telemetry) -> None:
    """The log of records and the live tails."""
    watch, recorder, recent = telemetry.figures.watch, telemetry.recorder, telemetry.recent
    watch("toolbooth_record_queue_depth", lambda: recorder.depth)
    watch("toolbooth_records_written_total", lambda: recorder.written)
    watch("toolbooth_records_dropped_total", recorder.dropped)
    watch(
        "toolbooth_captures_dropped_total",
        lambda: recorder.captures_dropped + recorder.budget.refused,
    )
    watch("toolbooth_capture_bytes", lambda: recorder.budget.used_bytes)
    watch("toolbooth_capture_limit_bytes", lambda: recorder.budget.limit_bytes)
    watch("toolbooth_record_sink_errors_total", lambda: recorder.sink_errors)
    watch("toolbooth_record_reopen_errors_total", lambda: recorder.reopen_errors)
    watch("toolbooth_tail_dropped_total", recent.dropped)
    watch("toolbooth_tails_refused_total", lambda: recent.turned_away)


def watch_process(telemetry: Telemetry, lag: Lag) -> None:
    """The process itself. Its memory only where the kernel tells it."""
    watch = telemetry.figures.watch
    watch("toolbooth_event_loop_lag_seconds", lambda: lag.last_s)
    watch("toolbooth_event_loop_lag_max_seconds", lag.worst_s)
    watch("toolbooth_cpu_seconds_total", _cpu_s)
    watch(
        "toolbooth_descriptor_limit", lambda: float(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    )
    if STATM.exists():
        watch("toolbooth_resident_memory_bytes", resident_bytes)


def switches_by_scope(booth: Booth) -> dict[str, float]:
    """How many switches are on, by scope; each scope always, so that a graph shows zeroes."""
    counts = Counter(switch.key.partition(":")[0] for switch in booth.switches.active())
    policy = booth.policy
    counts["policy"] = len(policy.disabled) + policy.writes_disabled
    return {scope: float(counts[scope]) for scope in _SCOPES}


def recent_runs(ledger: Ledger, rule: BudgetRule) -> dict[str, float]:
    """Runs called lately by the share of their limits that they had used."""
    counts = dict.fromkeys(_SHARE_LABELS, 0.0)
    for share in ledger.shares(rule, LOOKED_AT_RUNS, RECENT_S):
        counts[_SHARE_LABELS[bisect_right(_SHARES, share) - 1]] += 1
    return counts


def overflows(booth: Booth) -> dict[str, float]:
    """Times a bounded table had no room, by table."""
    ledger, breakers = booth.ledger, booth.breakers
    return {
        "runs": ledger.refused_full,
        "agents": ledger.agents_table.refused_full,
        "loop_keys": ledger.runs_table.loops_unlearned,
        "rate_limits": booth.rates.refused_full,
        "retry_budgets": booth.retry_budgets.overflowed,
        "breakers": breakers.untracked,
        "breaker_counts": breakers.dropped,
    }


def _ratio_of(booth: Booth) -> Callable[[str], float | None]:
    tools = booth.policy.tools

    def ratio(tool: str) -> float | None:
        rule = tools.get(tool)
        return None if rule is None else rule.retries.budget_ratio

    return ratio


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
