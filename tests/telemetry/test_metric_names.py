"""The registry of metrics and its page."""

from pathlib import Path

from proxy.telemetry.metric_names import METRICS, MetricKind, metrics_page

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_names_follow_the_conventions_and_are_unique() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("toolbooth_")
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
        assert metric.name.endswith("_info") == (metric.kind is MetricKind.INFO)
        assert metric.help.endswith(".")


def test_the_page_in_docs_is_the_generated_one() -> None:
    assert PAGE.read_text(encoding="utf-8") == metrics_page()
