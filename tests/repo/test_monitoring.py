"""The alert rules and the dashboard in config/: every metric they ask for exists, every alert has
its paragraph and its test. `tests/scenarios/test_promtool.py` has Prometheus read them."""

import json
import re

import pytest
import yaml

from proxy.model.reason import Reason
from proxy.telemetry.metric_names import METRICS, Metric, MetricKind
from tests.repo.monitoring import ALERT_TESTS, ALERTS, DASHBOARD, alert_rules, dashboard_expressions
from tests.repo.tree import ROOT

_METRIC = re.compile(r"\b(toolbooth_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_AGGREGATED = re.compile(r"\bby \(([^)]*)\)")
_OF_THE_SERVER = {"instance", "job", "le"}
_KNOWN: dict[str, Metric] = {}
for _metric in METRICS:
    _KNOWN[_metric.name] = _metric
    if _metric.kind is MetricKind.HISTOGRAM:
        _KNOWN |= {f"{_metric.name}_{part}": _metric for part in ("bucket", "sum", "count")}

_EXPRESSIONS = [
    *(pytest.param(rule["expr"], id=rule["alert"]) for rule in alert_rules()),
    *(pytest.param(expression, id=place) for place, expression in dashboard_expressions()),
]


@pytest.mark.parametrize("expression", _EXPRESSIONS)
def test_what_is_asked_for_exists(expression: str) -> None:
    used = set()
    for name, matchers in _METRIC.findall(expression):
        assert name in _KNOWN, name
        labels = {*_KNOWN[name].labels, *_OF_THE_SERVER}
        used |= labels
        for label, _, value in _MATCHER.findall(matchers):
            assert label in labels, f"{name} has no label {label}"
            if label == "code":
                _has_meaning(value)
    for group in _AGGREGATED.findall(expression):
        assert {label.strip() for label in group.split(",")} <= used, group


def _has_meaning(pattern: str) -> None:
    """Each alternative fits a code that there is."""
    for alternative in pattern.split("|"):
        assert any(re.fullmatch(alternative, code) for code in Reason), alternative


def test_every_metric_stands_on_the_dashboard_or_in_an_alert_or_is_left_out_knowingly() -> None:
    text = ALERTS.read_text(encoding="utf-8") + DASHBOARD.read_text(encoding="utf-8")
    shown = {_KNOWN[name].name for name in re.findall(r"toolbooth_\w+", text) if name in _KNOWN}
    assert {metric.name for metric in METRICS} - shown == {
        "toolbooth_sampled_calls_total",
        "toolbooth_upstream_seconds_total",
        "toolbooth_runs",
        "toolbooth_agents",
        "toolbooth_policy_info",
        "toolbooth_draining",
        "toolbooth_descriptor_limit",
        "toolbooth_log_lines_dropped_total",
        "toolbooth_memory_soft_limit_bytes",
        "toolbooth_event_loop_lag_seconds",
        "toolbooth_record_reopen_errors_total",
        "toolbooth_tails_refused_total",
        "toolbooth_audit_entries_total",
        "toolbooth_spans_exported_total",
        "toolbooth_span_queue_depth",
    }


@pytest.mark.parametrize("rule", [pytest.param(r, id=r["alert"]) for r in alert_rules()])
def test_an_alert_says_what_is_wrong_and_where_to_read_on(rule: dict[str, dict[str, str]]) -> None:
    notes = rule["annotations"]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert not notes["summary"].endswith(".")
    assert notes["description"].endswith((".", "?"))
    page, _, anchor = notes["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor == str(rule["alert"]).lower()
    assert anchor in {heading.lower() for heading in headings}


def test_every_alert_is_seen_firing_and_not_firing() -> None:
    tests = yaml.safe_load(ALERT_TESTS.read_text(encoding="utf-8"))["tests"]
    tested = [test["name"] for test in tests if "promql_expr_test" in test]
    assert tested == [rule["alert"] for rule in alert_rules()]


def test_no_runbook_is_left_of_an_alert_that_is_gone() -> None:
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    described = re.findall(r"^### (Toolbooth\w+)$", page, re.MULTILINE)
    assert described == [rule["alert"] for rule in alert_rules()]


def test_panels_do_not_overlap_and_have_numbers_of_their_own() -> None:
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


def test_the_dashboard_asks_whatever_source_is_chosen() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    sources = re.findall(r'"uid": "([^"]*)"', DASHBOARD.read_text(encoding="utf-8"))
    assert set(sources) == {"${datasource}", "toolbooth"}  # the latter is the dashboard's own
    assert [variable["name"] for variable in board["templating"]["list"]] == [
        "datasource",
        "instance",
        "tool",
    ]
