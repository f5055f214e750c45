"""The metrics page: right numbers, bounded labels, nothing that is not registered."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.model.call import Mode
from proxy.model.reason import Reason
from proxy.telemetry.metric_names import CALL_METRICS, METRICS, READ_METRICS, MetricKind
from proxy.telemetry.metrics import Figures
from tests.telemetry.records import make_record


def figures_of(*tools: str, most_tools: int = 2000) -> Figures:
    figures = Figures(most_tools)
    figures.counts.know_tools(tools)
    return figures


def samples(figures: Figures) -> dict[tuple[str, ...], float]:
    """(name, label values by label name) -> value, as a Prometheus server reads the page."""
    result: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(figures.render().decode()):
        for sample in family.samples:
            key = (sample.name, *(sample.labels[name] for name in sorted(sample.labels)))
            assert key not in result
            result[key] = sample.value
    return result


class TestCalls:
    def test_a_call_is_counted_in_every_figure(self) -> None:
        figures = figures_of("search.read")
        figures.counts.observe(
            make_record(
                attempts=3, total_ms=30.0, upstream_ms=20.0, queue_ms=4.0, request_bytes=5,
                response_bytes=6, cost_micros=1500, tokens=7, sampled=True,
            )
        )  # fmt: skip
        page = samples(figures)
        assert page["toolbooth_calls_total", "ok", "search.read"] == 1
        assert page["toolbooth_answers_total", "2xx", "search.read"] == 1
        assert page["toolbooth_call_duration_seconds_bucket", "0.025", "search.read"] == 0
        assert page["toolbooth_call_duration_seconds_bucket", "0.05", "search.read"] == 1
        assert page["toolbooth_call_duration_seconds_bucket", "+Inf", "search.read"] == 1
        assert page["toolbooth_call_duration_seconds_count", "search.read"] == 1
        assert page["toolbooth_call_duration_seconds_sum", "search.read"] == 0.03
        expected = {
            "retries": 2, "upstream_attempts": 3, "upstream_seconds": 0.02,
            "queue_wait_seconds": 0.004, "queued_calls": 1, "request_bytes": 5,
            "response_bytes": 6, "cost_usd": 0.0015,
            "tokens": 7,
        }  # fmt: skip
        for name, value in expected.items():
            assert page[f"toolbooth_{name}_total", "search.read"] == value
        assert page[("toolbooth_sampled_calls_total",)] == 1

    def test_finding_out_that_there_is_no_need_to_wait_is_no_wait(self) -> None:
        figures = figures_of("search.read")
        figures.counts.observe(make_record(queue_ms=0.9))
        figures.counts.observe(make_record(queue_ms=1.0))
        page = samples(figures)
        assert page["toolbooth_queued_calls_total", "search.read"] == 1
        assert page["toolbooth_queue_wait_seconds_total", "search.read"] == 0.001

    def test_a_tunnel_that_was_opened_is_counted_with_its_bytes(self) -> None:
        figures = figures_of("search.read")
        figures.counts.observe(make_record(mode=Mode.CONNECT, request_bytes=3, response_bytes=5))
        figures.counts.observe(make_record(mode=Mode.CONNECT, status=403, request_bytes=7))
        figures.counts.observe(make_record(request_bytes=11))
        page = samples(figures)
        assert page[("toolbooth_tunnels_total",)] == 1
        assert page["toolbooth_tunnel_bytes_total", "sent"] == 3
        assert page["toolbooth_tunnel_bytes_total", "received"] == 5

    def test_figures_add_up(self) -> None:
        figures = figures_of("a", "b")
        for tool, code, status in [
            ("a", Reason.OK, 200), ("a", Reason.OK, 404), ("a", Reason.TIMEOUT, 504),
            ("b", Reason.OK, 200), ("b", Reason.CLIENT_GONE, 0), ("b", Reason.OK, 999),
        ]:  # fmt: skip
            figures.counts.observe(make_record(tool=tool, code=code, status=status))
        page = samples(figures)
        assert page["toolbooth_calls_total", "ok", "a"] == 2
        assert page["toolbooth_calls_total", "timeout", "a"] == 1
        assert page["toolbooth_calls_total", "client_gone", "b"] == 1
        assert page["toolbooth_answers_total", "4xx", "a"] == 1
        assert page["toolbooth_answers_total", "5xx", "a"] == 1
        assert page["toolbooth_answers_total", "none", "b"] == 2

    @pytest.mark.parametrize(
        ("total_ms", "bound"),
        [(0.0, "0.005"), (5.0, "0.005"), (5.001, "0.01"), (60_000.0, "60.0"), (60_001.0, "+Inf")],
    )
    def test_a_duration_on_a_bound_counts_below_it(self, total_ms: float, bound: str) -> None:
        figures = figures_of("search.read")
        figures.counts.observe(make_record(total_ms=total_ms))
        buckets = {
            key[1]: value
            for key, value in samples(figures).items()
            if key[0] == "toolbooth_call_duration_seconds_bucket"
        }
        assert next(le for le, value in buckets.items() if value) == bound


class TestLabels:
    def test_a_name_outside_of_the_catalog_is_unknown(self) -> None:
        figures = figures_of("search.read")
        for number in range(50_000):
            figures.counts.observe(make_record(tool=f"evil-{number}"))
        figures.counts.observe(make_record(tool=""))
        figures.counts.observe(make_record(tool='x"\n} 1'))
        page = samples(figures)
        assert page["toolbooth_calls_total", "ok", "_unknown"] == 50_002
        assert {key[-1] for key in page if key[0] == "toolbooth_calls_total"} == {"_unknown"}

    def test_a_tool_of_an_entry_counts_for_the_entry(self) -> None:
        figures = figures_of("files", "files.extra")
        for name in ("files.read", "files.a.b", "files.extra.x", "other.read"):
            figures.counts.observe(make_record(tool=name))
        page = samples(figures)
        assert page["toolbooth_calls_total", "ok", "files"] == 2
        assert page["toolbooth_calls_total", "ok", "files.extra"] == 1
        assert page["toolbooth_calls_total", "ok", "_unknown"] == 1

    def test_tools_beyond_the_cap_share_one_name(self) -> None:
        figures = figures_of("a", "b", "c", "d", most_tools=2)
        for tool in "abcda":
            figures.counts.observe(make_record(tool=tool))
        page = samples(figures)
        assert page["toolbooth_calls_total", "ok", "a"] == 2
        assert page["toolbooth_calls_total", "ok", "_other"] == 2

    def test_figures_of_a_tool_that_left_the_catalog_stay(self) -> None:
        figures = figures_of("a")
        figures.counts.observe(make_record(tool="a"))
        figures.counts.know_tools(["b"])
        figures.counts.observe(make_record(tool="b"))
        page = samples(figures)
        assert page["toolbooth_calls_total", "ok", "a"] == 1
        assert page["toolbooth_calls_total", "ok", "b"] == 1

    def test_values_that_are_read_are_bounded_in_number_and_length(self) -> None:
        figures = figures_of()
        figures.watch("toolbooth_calls_in_flight", lambda: {f"{i:0200}": 1 for i in range(3000)})
        figures.watch("toolbooth_policy_info", lambda: "v" * 1000)
        page = figures.render().decode().splitlines()
        assert len([line for line in page if line.startswith("toolbooth_calls_in_flight{")]) == 2000
        assert max(len(line) for line in page if not line.startswith("#")) < 200


class TestRead:
    def test_numbers_are_read_when_the_page_is_asked_for(self) -> None:
        figures, open_now = figures_of(), 1.0
        figures.watch("toolbooth_open_tunnels", lambda: open_now)
        assert samples(figures)[("toolbooth_open_tunnels",)] == 1
        open_now = 2.0
        assert samples(figures)[("toolbooth_open_tunnels",)] == 2

    def test_numbers_by_label_and_info(self) -> None:
        figures = figures_of()
        figures.watch("toolbooth_records_dropped_total", lambda: {"queue_full": 3, "shutdown": 0})
        figures.watch("toolbooth_build_info", lambda: "0.1.0")
        page = samples(figures)
        assert page["toolbooth_records_dropped_total", "queue_full"] == 3
        assert page["toolbooth_records_dropped_total", "shutdown"] == 0
        assert page["toolbooth_build_info", "0.1.0"] == 1

    def test_an_unregistered_name_is_refused(self) -> None:
        with pytest.raises(ValueError, match="toolbooth_secret_total"):
            figures_of().watch("toolbooth_secret_total", lambda: 1)

    def test_a_reader_that_fails_costs_its_metric_only(self) -> None:
        figures = figures_of()
        figures.watch("toolbooth_runs", lambda: 1 // 0)
        figures.watch("toolbooth_draining", lambda: 1)
        figures.render()
        page = samples(figures)
        assert ("toolbooth_runs",) not in page
        assert page[("toolbooth_draining",)] == 1
        assert page["toolbooth_scrape_errors_total", "toolbooth_runs"] == 2

    def test_everything_emitted_is_registered_and_everything_registered_can_be_emitted(
        self,
    ) -> None:
        figures = figures_of("search.read")
        figures.counts.observe(make_record(queue_ms=1.0))
        for metric in READ_METRICS:
            by_label = metric.labels and metric.kind is not MetricKind.INFO
            figures.watch(metric.name, (lambda: {"x": 1}) if by_label else (lambda: 1))
        figures.watch("toolbooth_runs", lambda: 1 // 0)
        figures.render()
        figures.watch("toolbooth_runs", lambda: 1)
        page = figures.render().decode()
        typed = dict(line.split()[2:4] for line in page.splitlines() if line.startswith("# TYPE"))
        expected = {m.name: "gauge" if m.kind is MetricKind.INFO else str(m.kind) for m in METRICS}
        assert typed == expected
        for family in text_string_to_metric_families(page):
            assert family.samples, family.name

    def test_every_metric_explains_itself(self) -> None:
        page = figures_of().render().decode()
        for metric in CALL_METRICS:
            assert f"# HELP {metric.name} {metric.help}\n" in page


class TestToolFigures:
    def test_what_the_console_shows(self) -> None:
        figures = figures_of("a")
        figures.watch("toolbooth_calls_in_flight", lambda: {"a": 4})
        for code in (Reason.OK, Reason.OK, Reason.TIMEOUT, Reason.RATE_LIMITED):
            figures.counts.observe(make_record(tool="a", code=code, total_ms=4.0))
        assert figures.tool_figures("a") == {
            "calls": 4, "errors": 1, "refusals": 1, "attempts": 4, "p50_ms": 2.5, "p95_ms": 4.75,
            "p99_ms": 4.95, "in_flight": 4,
        }  # fmt: skip

    def test_a_tool_that_was_never_called_has_zeroes(self) -> None:
        assert figures_of("a").tool_figures("a") == {
            "calls": 0, "errors": 0, "refusals": 0, "attempts": 0, "p50_ms": None, "p95_ms": None,
            "p99_ms": None, "in_flight": 0,
        }  # fmt: skip


def test_a_tool_of_an_mcp_server_counts_for_itself_only_if_the_policy_names_it() -> None:
    figures = Figures()
    figures.counts.know_tools(["docs"], ["docs.search"])
    for tool in ("docs.search", "docs.search.x", "docs.other", "docs", "made.up"):
        figures.counts.observe(make_record(tool=tool))
    page = samples(figures)
    calls = {
        key[-1]: int(value) for key, value in page.items() if key[0] == "toolbooth_calls_total"
    }
    assert calls == {"docs.search": 1, "docs": 3, "_unknown": 1}
