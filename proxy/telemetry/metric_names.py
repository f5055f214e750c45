"""Every metric there is: the one list that the metrics page, its documentation and their tests
read. A metric that is not here cannot be emitted.

`python -m proxy.telemetry.metric_names` prints `docs/metrics.md`.
"""

import sys
from enum import StrEnum
from typing import NamedTuple


class MetricKind(StrEnum):
    """Prometheus types in use. `info` is a gauge that is always 1 and says something by label."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


class Metric(NamedTuple):
    """`name` as it stands on the page; at most one label beside `tool`, all of them bounded."""

    name: str
    kind: MetricKind
    labels: tuple[str, ...]
    help: str


_C, _G, _H, _I = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM, MetricKind.INFO

# Counted call by call.
CALL_METRICS: tuple[Metric, ...] = (
    Metric("toolbooth_calls_total", _C, ("tool", "code"), "Calls that ended, by outcome."),
    Metric(
        "toolbooth_answers_total", _C, ("tool", "status_class"),
        "Answers sent, by class of HTTP status (1xx to 5xx); none: the client got no answer.",
    ),
    Metric(
        "toolbooth_call_duration_seconds", _H, ("tool",),
        "Whole duration of a call, with queueing, backoff and every attempt.",
    ),
    Metric("toolbooth_upstream_attempts_total", _C, ("tool",), "Attempts sent to upstreams."),
    Metric("toolbooth_retries_total", _C, ("tool",), "Attempts after a call's first one."),
    Metric(
        "toolbooth_upstream_seconds_total", _C, ("tool",), "Time spent waiting for upstreams."
    ),
    Metric(
        "toolbooth_queue_wait_seconds_total", _C, ("tool",),
        "Time calls waited for their turn (rate limit, concurrency).",
    ),
    Metric("toolbooth_queued_calls_total", _C, ("tool",), "Calls that waited 1 ms or longer."),
    Metric("toolbooth_request_bytes_total", _C, ("tool",), "Bytes of request bodies."),
    Metric("toolbooth_response_bytes_total", _C, ("tool",), "Bytes of answers relayed."),
    Metric("toolbooth_cost_usd_total", _C, ("tool",), "Spend, in US dollars."),
    Metric("toolbooth_tokens_total", _C, ("tool",), "Model tokens used."),
    Metric(
        "toolbooth_model_usage_unread_total", _C, ("tool",),
        "Answers of models that were not read to their end or did not say what they used.",
    ),
    Metric("toolbooth_sampled_calls_total", _C, (), "Calls recorded with their bodies."),
    Metric("toolbooth_tunnels_total", _C, (), "CONNECT tunnels that were opened and ended."),
    Metric(
        "toolbooth_tunnel_bytes_total", _C, ("direction",),
        "Bytes through tunnels, counted when they end: sent (to upstreams), received.",
    ),
)  # fmt: skip

# Read from their owners when the page is asked for.
READ_METRICS: tuple[Metric, ...] = (
    Metric("toolbooth_calls_in_flight", _G, ("tool",), "Calls on their way now."),
    Metric("toolbooth_open_tunnels", _G, (), "Open CONNECT tunnels."),
    Metric("toolbooth_client_connections", _G, (), "Open connections of clients."),
    Metric("toolbooth_upstream_connections", _G, ("state",), "Connections to upstreams."),
    Metric(
        "toolbooth_client_connections_refused_total", _C, (),
        "Connections of clients that were turned away because there were too many.",
    ),
    Metric(
        "toolbooth_upstream_connects_total", _C, ("result",),
        "Connections for attempts and tunnels, by result: opened, reused, failed.",
    ),
    Metric(
        "toolbooth_switches", _G, ("scope",),
        "Kill switches that are on: all, writes, agent, run, tool; policy: those of the file.",
    ),
    Metric("toolbooth_breakers_open", _G, (), "Circuit breakers that are open."),
    Metric(
        "toolbooth_breaker_state", _G, ("tool",),
        "The worst breaker of a tool: 0 closed, 1 half-open, 2 open.",
    ),
    Metric("toolbooth_calls_waiting", _G, ("tool",), "Calls in line for a rate limit now."),
    Metric(
        "toolbooth_retry_budget_left", _G, ("tool",),
        "Retries that may be made now: a share of the last ten seconds' calls, at least 3.",
    ),
    Metric(
        "toolbooth_retries_denied_total", _C, ("tool",),
        "Retries not made because the tool's retry budget was used up.",
    ),
    Metric("toolbooth_runs", _G, (), "Runs remembered."),
    Metric("toolbooth_agents", _G, (), "Agents remembered, where there are limits for them."),
    Metric(
        "toolbooth_recent_runs", _G, ("budget_used",),
        "Runs called in the last 5 minutes (of these, the last 1,000), by the share they had used "
        "of the limit they were nearest to: this share or more, and less than the next.",
    ),
    Metric(
        "toolbooth_table_overflows_total", _C, ("table",),
        "Times a bounded table had no room: runs and agents (state_unavailable), rate_limits "
        "(rate_limited), loop_keys (not compared), retry_budgets (shared), breakers (not watched), "
        "breaker_counts (forgotten).",
    ),
    Metric("toolbooth_record_queue_depth", _G, (), "Call records waiting to be written."),
    Metric("toolbooth_records_written_total", _C, (), "Call records written."),
    Metric(
        "toolbooth_records_dropped_total", _C, ("reason",),
        "Call records lost; format_error ones left a minimal line.",
    ),
    Metric(
        "toolbooth_captures_dropped_total", _C, (),
        "Sampled records that lost their bodies for want of memory.",
    ),
    Metric("toolbooth_capture_bytes", _G, (), "Memory held by bodies of sampled records."),
    Metric("toolbooth_record_sink_errors_total", _C, (), "Failed writes of call records."),
    Metric(
        "toolbooth_record_reopen_errors_total", _C, (),
        "Failed attempts to follow the record file where it was rotated.",
    ),
    Metric(
        "toolbooth_log_lines_dropped_total", _C, (),
        "Messages of the process log lost because nobody read stderr.",
    ),
    Metric(
        "toolbooth_tail_dropped_total", _C, (), "Calls not shown to live tails that were too slow."
    ),
    Metric(
        "toolbooth_tails_refused_total", _C, (), "Live tails turned away, as there were too many."
    ),
    Metric(
        "toolbooth_audit_suppressed_total", _C, (),
        "Refused attempts on the control port left out of the audit, being too many a second.",
    ),
    Metric("toolbooth_span_queue_depth", _G, (), "Spans waiting to be exported."),
    Metric("toolbooth_spans_exported_total", _C, (), "Spans that the receiver has taken."),
    Metric("toolbooth_spans_dropped_total", _C, ("reason",), "Spans lost."),
    Metric(
        "toolbooth_span_export_failures_total", _C, (),
        "Batches of spans that the receiver did not take, or not all of them.",
    ),
    Metric("toolbooth_policy_info", _I, ("version",), "The policy in force."),
    Metric(
        "toolbooth_policy_reloads_total", _C, ("result",),
        "Policies offered while running, by result: ok, unchanged, failed.",
    ),
    Metric(
        "toolbooth_policy_last_reload_success", _G, (),
        "0 while the last policy offered was refused and the one before it stays in force.",
    ),
    Metric(
        "toolbooth_state_lag_seconds", _G, (),
        "How old the oldest change of budgets may be that a crash now would forget.",
    ),
    Metric("toolbooth_state_write_errors_total", _C, (), "Failed attempts to write state."),
    Metric("toolbooth_audit_entries_total", _C, (), "Entries written to the audit log."),
    Metric("toolbooth_audit_pending", _G, (), "Entries that wait for the audit log's disk."),
    Metric(
        "toolbooth_audit_lost_total", _C, (),
        "Entries the audit log has lost; told in the log once it can be written again.",
    ),
    Metric(
        "toolbooth_audit_write_errors_total", _C, (), "Failed attempts to write the audit log."
    ),
    Metric("toolbooth_build_info", _I, ("version",), "The version that is running."),
    Metric("toolbooth_draining", _G, (), "1 while shutting down."),
    Metric("toolbooth_event_loop_lag_seconds", _G, (), "How late the event loop last was."),
    Metric(
        "toolbooth_event_loop_lag_max_seconds", _G, (),
        "The latest that the event loop was in the last minute.",
    ),
    Metric("toolbooth_resident_memory_bytes", _G, (), "Memory of the process (Linux)."),
    Metric(
        "toolbooth_memory_soft_limit_bytes", _G, (),
        "Memory above which calls are refused; 0 where there is no such mark.",
    ),
    Metric(
        "toolbooth_memory_refusals_total", _C, (), "Calls refused for want of memory (`busy`)."
    ),
    Metric("toolbooth_descriptor_limit", _G, (), "How many files the process may have open."),
    Metric("toolbooth_capture_limit_bytes", _G, (), "What toolbooth_capture_bytes may reach."),
    Metric("toolbooth_cpu_seconds_total", _C, (), "CPU time of the process."),
    Metric("toolbooth_start_time_seconds", _G, (), "When the process started, Unix time."),
)  # fmt: skip

# About the page itself.
OWN_METRICS: tuple[Metric, ...] = (
    Metric(
        "toolbooth_scrape_errors_total", _C, ("metric",),
        "Metrics left out of a page because reading them failed.",
    ),
)  # fmt: skip

METRICS: tuple[Metric, ...] = CALL_METRICS + READ_METRICS + OWN_METRICS


def metrics_page() -> str:
    """The Markdown page about all metrics."""
    rows = []
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(
        [
            "# Metrics",
            "",
            "<!-- Generated: python -m proxy.telemetry.metric_names > docs/metrics.md -->",
            "",
            "`/metrics` on the health port, in the Prometheus text format. Labels are bounded:",
            "`tool` is a name of the catalog, `_unknown` where no tool matched, `_other` beyond",
            "2,000 tools; `code` is one of the outcome codes. A metric whose part is not running",
            "is left out.",
            "",
            "| name | type | labels | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    sys.stdout.write(metrics_page())
