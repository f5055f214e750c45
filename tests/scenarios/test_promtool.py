"""Prometheus' own checker reads the alert rules, their tests and the dashboard's expressions."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.repo.monitoring import ALERT_TESTS, ALERTS, dashboard_expressions

PROMTOOL = shutil.which("promtool")
pytestmark = [
    pytest.mark.scenario,
    pytest.mark.skipif(
        PROMTOOL is None and not os.environ.get("CI"),
        reason="needs promtool, of Debian's package prometheus (.ci/run)",
    ),
]


def promtool(*arguments: str | Path) -> str:
    """What it says, having found nothing wrong."""
    assert PROMTOOL is not None, "promtool is missing: apt-get install prometheus"
    done = subprocess.run(
        [PROMTOOL, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_alert_rules_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", ALERTS)


def test_each_alert_fires_where_it_should_and_nowhere_else() -> None:
    assert "SUCCESS" in promtool("test", "rules", ALERT_TESTS)


def test_a_wrong_threshold_is_found(tmp_path: Path) -> None:
    """The tests of the rules do test them."""
    text = ALERTS.read_text(encoding="utf-8")
    assert text.count("> 0.25") == 1
    (tmp_path / ALERTS.name).write_text(text.replace("> 0.25", "> 0.35"), encoding="utf-8")
    shutil.copy(ALERT_TESTS, tmp_path)
    with pytest.raises(AssertionError, match="ToolboothEventLoopLate"):
        promtool("test", "rules", tmp_path / ALERT_TESTS.name)


def test_every_expression_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(dashboard_expressions())
    ]
    path = tmp_path / "dashboard.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", path)
    assert len(rules) > 40
