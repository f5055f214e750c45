"""`toolbooth policy` against a control port."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Sidecar, Toolbooth
from tests.control.desk import POLICY


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "new.yaml"
    text = POLICY.replace("disabled: [mail.send]", "disabled: []").replace("hidden", "shown")
    path.write_text(text)
    return path


@pytest.mark.usefixtures("sidecar")
def test_the_policy_in_force_is_shown(toolbooth: Toolbooth) -> None:
    """As text that could be put back."""
    assert toolbooth("policy", "show").out == POLICY
    assert json.loads(toolbooth("policy", "show", "--json").out)["yaml"] == POLICY


def test_a_dry_run_tells_and_changes_nothing(
    sidecar: Sidecar, toolbooth: Toolbooth, file: Path
) -> None:
    result = toolbooth("policy", "put", str(file), "--dry-run")
    lines = result.out.splitlines()
    assert lines[0].startswith("would replace ")
    assert lines[1:] == ["  + shown", "  - hidden", "  ~ disabled"]
    assert "hidden" in sidecar.desk.policy.tools


def test_a_file_is_put_in_force(sidecar: Sidecar, toolbooth: Toolbooth, file: Path) -> None:
    result = toolbooth("policy", "put", str(file))
    assert (result.code, result.out.split()[:2]) == (0, ["in", "force"])
    assert "shown" in sidecar.desk.policy.tools
    assert "in force already" in toolbooth("policy", "put", str(file)).out
    change = json.loads(toolbooth("policy", "put", str(file), "--json").out)
    assert change["version"] == change["previous"] == sidecar.desk.policy.version


def test_only_in_place_of_the_version_that_was_meant(
    sidecar: Sidecar, toolbooth: Toolbooth, file: Path
) -> None:
    result = toolbooth("policy", "put", str(file), "--if-match", "0123456789ab")
    assert (result.code, sidecar.desk.policy.version in result.err) == (1, True)
    assert "hidden" in sidecar.desk.policy.tools


def test_a_bad_file_is_told_as_check_tells_it(
    sidecar: Sidecar, toolbooth: Toolbooth, file: Path
) -> None:
    """Every error with its line; then it is seen in `status` and `policy show` too."""
    file.write_text("tools: {allowlist: [a], nonsense: 1}\nbudgets: {max_tokens: -1}\n")
    result = toolbooth("policy", "put", str(file))
    assert result.code == 2
    lines = result.err.splitlines()
    assert lines[0] == f"{file}:1: tools.nonsense: unknown key"
    assert lines[1].startswith(f"{file}:2: budgets.max_tokens: must be")
    assert "hidden" in sidecar.desk.policy.tools
    shown = toolbooth("status").out
    assert "NOT LOADED" in shown
    assert "tools.nonsense (line 1): unknown key" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert "tools.nonsense" in toolbooth("policy", "show").err


def test_a_file_that_cannot_be_read(toolbooth: Toolbooth, tmp_path: Path) -> None:
    result = toolbooth("policy", "put", str(tmp_path / "none.yaml"))
    assert (result.code, "No such file" in result.err) == (2, True)
