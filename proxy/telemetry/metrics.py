"""Figures: plain integers counted per call, rendered for Prometheus when asked.

A labelled child of a client library costs about as much as all of a call's figures here; so
prometheus_client only renders what `proxy.telemetry.tool_figures` counts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from proxy.telemetry.metric_names import CALL_METRICS, OWN_METRICS, READ_METRICS, Metric, MetricKind
from proxy.telemetry.tool_figures import MOST_TOOLS, STATUS_CLASSES, CallCounts, ToolFigures

_MOST_LABELS = 2000
_LONGEST_LABEL = 128
_MICROS_PER_USD = 1_000_000

Reading = float | Mapping[str, float] | str
Read = Callable[[], Reading]


class Figures(Collector):
    """Shows what `counts` has counted, and reads gauges. `render` may run in a thread; figures of
    calls that end meanwhile are in this page or in the next."""

    def __init__(self, most_tools: int = MOST_TOOLS) -> None:
        self.counts = CallCounts(most_tools)
        self._reads: dict[str, Read] = {}
        self._scrape_errors: dict[str, int] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def watch(self, name: str, read: Read) -> None:
        """Read a metric of READ_METRICS when a page is asked for: a number, a number per value of
        its label, or for an info metric the value of its label. ValueError on another name."""
        if all(metric.name != name for metric in READ_METRICS):
            raise ValueError(f"not a registered metric: {name}")
        self._reads[name] = read

    def tool_figures(self, name: str) -> dict[str, object]:
        """What the console shows of one tool: counts, percentiles, calls in flight. Zeroes for a
        tool that was not called yet."""
        view = (self.counts.tools.get(name) or ToolFigures()).summary()
        read = self._reads.get("toolbooth_calls_in_flight")
        reading = read() if read else 0
        view["in_flight"] = reading.get(name, 0) if isinstance(reading, Mapping) else 0
        return view

    def render(self) -> bytes:
        """The page in the Prometheus text format. On the event loop: the gauges read state that
        lives there."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Family]:
        """Called by prometheus_client for one page."""
        tools = sorted(self.counts.tools.items())
        for metric in CALL_METRICS:
            yield self._call_family(metric, tools)
        for metric in READ_METRICS:
            family = self._read_family(metric)
            if family is not None:
                yield family
        yield _family(OWN_METRICS[0], dict(self._scrape_errors))

    def _call_family(self, metric: Metric, tools: list[tuple[str, ToolFigures]]) -> Family:
        if metric.kind is MetricKind.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for tool, figures in tools:
                histogram.add_metric([tool], figures.cumulated(), figures.total_ms / 1000)
            return histogram
        if metric.labels[:1] != ("tool",):
            return _family(metric, self._plain(metric.name))
        family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        for tool, figures in tools:
            for rest, value in _values(metric.name, figures):
                family.add_metric([tool, *rest], value)
        return family

    def _plain(self, name: str) -> Reading:
        """The call metrics that are not by tool."""
        if name == "toolbooth_tunnels_total":
            return float(self.counts.tunnels)
        if name == "toolbooth_tunnel_bytes_total":
            return dict(
                zip(("sent", "received"), map(float, self.counts.tunnel_bytes), strict=True)
            )
        return float(self.counts.sampled)

    def _read_family(self, metric: Metric) -> Family | None:
        """One metric from its owner. An owner that fails costs its metric, not the page."""
        read = self._reads.get(metric.name)
        if read is None:
            return None
        try:
            return _family(metric, read())
        except Exception:  # noqa: BLE001 - a page with a gap is better than none; it is counted
            self._scrape_errors[metric.name] = self._scrape_errors.get(metric.name, 0) + 1
            return None


def _values(name: str, figures: ToolFigures) -> Iterable[tuple[tuple[str, ...], float]]:
    """(labels beside `tool`, value) of one call metric."""
    if name == "toolbooth_calls_total":
        return [((str(code),), count) for code, count in list(figures.codes.items())]
    if name == "toolbooth_answers_total":
        return [((c,), n) for c, n in zip(STATUS_CLASSES, figures.classes, strict=True) if n]
    single: dict[str, float] = {
        "toolbooth_upstream_attempts_total": figures.attempts,
        "toolbooth_retries_total": figures.retries,
        "toolbooth_upstream_seconds_total": figures.upstream_ms / 1000,
        "toolbooth_queue_wait_seconds_total": figures.queue_ms / 1000,
        "toolbooth_queued_calls_total": figures.queued,
        "toolbooth_request_bytes_total": figures.request_bytes,
        "toolbooth_response_bytes_total": figures.response_bytes,
        "toolbooth_cost_usd_total": figures.cost_micros / _MICROS_PER_USD,
        "toolbooth_tokens_total": figures.tokens,
        "toolbooth_model_usage_unread_total": figures.usage_unread,
    }
    return [((), single[name])]


def _family(metric: Metric, reading: Reading) -> Family:
    """A family of one reading; what its label says is cut to bounded length and number."""
    labels = metric.labels
    if metric.kind is MetricKind.INFO:
        info = InfoMetricFamily(metric.name.removesuffix("_info"), metric.help)
        info.add_metric([], {labels[0]: str(reading)[:_LONGEST_LABEL]})
        return info
    family: CounterMetricFamily | GaugeMetricFamily
    if metric.kind is MetricKind.COUNTER:
        family = CounterMetricFamily(metric.name, metric.help, labels=labels)
    else:
        family = GaugeMetricFamily(metric.name, metric.help, labels=labels)
    if not isinstance(reading, Mapping):
        family.add_metric([], float(reading))
        return family
    for value, number in list(reading.items())[:_MOST_LABELS]:
        family.add_metric([value[:_LONGEST_LABEL]], float(number))
    return family
