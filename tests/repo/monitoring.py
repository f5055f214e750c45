"""The alert rules and the dashboard, read for the tests that look at them."""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from tests.repo.tree import ROOT

ALERTS = ROOT / "config" / "prometheus" / "alerts.yaml"
ALERT_TESTS = ROOT / "config" / "prometheus" / "alerts_test.yaml"
DASHBOARD = ROOT / "config" / "grafana" / "toolbooth.json"


def alert_rules() -> list[dict[str, Any]]:
    """Every rule, in the order of the file."""
    document = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of every panel, annotation and variable, with Grafana's variables filled
    in."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", _filled(target["expr"])
    for note in board["annotations"]["list"]:
        yield note["name"], _filled(note["expr"])
    for variable in board["templating"]["list"]:
        query = variable["query"]
        if isinstance(query, dict):
            asked = query["query"].removeprefix("label_values(").rpartition(",")[0]
            yield f"variable {variable['name']}", _filled(asked)


def _filled(expression: str) -> str:
    for name, value in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$tool", ".*")):
        expression = expression.replace(name, value)
    return expression
