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
    Metric(
        "toolbooth_upstream_seconds_total", _C, ("tool",), "Time spent waiting for upstreams."
    ),
    Metric(
        "toolbooth_queue_wait_seconds_total", _C, ("tool",),
        "Time calls waited for their turn (rate limit, concurrency).",
    ),
    Metric("toolbooth_queued_calls_total", _C, ("tool",), "Calls that waited for their turn."),
    Metric("toolbooth_request_bytes_total", _C, ("tool",), "Bytes of request bodies."),
    Metric("toolbooth_response_bytes_total", _C, ("tool",), "Bytes of answers relayed."),
    Metric("toolbooth_cost_usd_total", _C, ("tool",), "Spend, in US dollars."),
    Metric("toolbooth_tokens_total", _C, ("tool",), "Model tokens used."),
    Metric(
        "toolbooth_model_usage_unread_total", _C, ("tool",),
        "Answers of models that did not say what they used; charged by estimate.",
    ),
    Metric("toolbooth_sampled_calls_total", _C, (), "Calls recorded with their bodies."),
)  # fmt: skip

# Read from their owners when the page is asked for.
READ_METRICS: tuple[Metric, ...] = (
    Metric("toolbooth_calls_in_flight", _G, ("tool",), "Calls on their way now."),
    Metric("toolbooth_open_tunnels", _G, (), "Open CONNECT tunnels."),
    Metric("toolbooth_client_connections", _G, (), "Open connections of clients."),
    Metric("toolbooth_upstream_connections", _G, ("state",), "Connections to upstreams."),
    Metric("toolbooth_switches", _G, ("scope",), "Kill switches that are on."),
    Metric("toolbooth_breakers_open", _G, (), "Circuit breakers that are open."),
    Metric("toolbooth_runs", _G, (), "Runs remembered."),
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
    Metric("toolbooth_build_info", _I, ("version",), "The version that is running."),
    Metric("toolbooth_draining", _G, (), "1 while shutting down."),
    Metric("toolbooth_event_loop_lag_seconds", _G, (), "How late the event loop last was."),
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
