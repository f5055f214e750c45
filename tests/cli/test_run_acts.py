"""`toolbooth runs` against a control port."""

import json

import pytest

from tests.cli.conftest import Sidecar, Toolbooth


@pytest.fixture
def run(sidecar: Sidecar) -> str:
    """A run that has used a quarter dollar in one call."""
    sidecar.do(lambda: sidecar.desk.start_run("r/1").settle(250_000))
    return "r/1"


def test_runs_are_sorted(sidecar: Sidecar, toolbooth: Toolbooth, run: str) -> None:
    sidecar.do(lambda: sidecar.desk.start_run("later").settle(0))
    for options, first in (((), "later"), (("--sort", "spend"), run)):
        lines = toolbooth("runs", *options).out.splitlines()
        assert lines[1].split()[0] == first
    assert toolbooth("runs", "--sort", "cost").code == 2


def test_a_run_is_shown(sidecar: Sidecar, toolbooth: Toolbooth, run: str) -> None:
    """In 80 columns, with who stopped it and why."""
    sidecar.do(lambda: sidecar.desk.switches.engage(f"run:{run}", "why " * 60, "alice"))
    result = toolbooth("runs", "show", run)
    facts = {line[:10].strip(): line[10:].strip() for line in result.out.splitlines()}
    assert (facts["tool calls"], facts["spend usd"]) == ("1 of 12", "0.25 of 1")
    assert (facts["state"], facts["stopped by"]) == ("stopped", "alice")
    assert all(len(line) <= 80 for line in result.out.splitlines())
    assert json.loads(toolbooth("runs", "show", run, "--json").out)["run_id"] == run
    assert json.loads(toolbooth("runs", "--json", "show", run).out)["run_id"] == run


def test_limits_are_raised_and_given_back(sidecar: Sidecar, toolbooth: Toolbooth, run: str) -> None:
    result = toolbooth("runs", "raise", run, "--tool-calls", "20", "--spend-usd", "2.5")
    assert "1 of 20 (set for this run)" in result.out
    assert "0.25 of 2.5 (set for this run)" in result.out
    result = toolbooth("runs", "raise", run, "--tool-calls", "policy", "--json")
    assert json.loads(result.out)["limits"] == {"max_spend_usd": 2.5}
    actors = {entry["actor"] for entry in sidecar.desk.audited}
    assert len(actors) == 1
    assert actors != {"admin"}, "the user's name is sent"


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        pytest.param(("raise", "r/1"), 2, "at least one limit", id="nothing to raise"),
        pytest.param(("raise", "r/1", "--steps", "-1"), 2, "-1", id="less than nothing"),
        pytest.param(("raise", "r/1", "--steps", "lots"), 2, "lots", id="no number"),
        pytest.param(("raise", "r/1", "--steps", "1.5"), 1, "whole", id="half a step"),
        pytest.param(("show", "r/2"), 1, "No run 'r/2'", id="a run nobody knows"),
        pytest.param(("forget",), 2, "ID", id="no run at all"),
    ],
)
@pytest.mark.usefixtures("run")
def test_errors_say_what_is_wrong(
    toolbooth: Toolbooth, arguments: tuple[str, ...], code: int, word: str
) -> None:
    result = toolbooth("runs", *arguments)
    assert (result.code, result.out, word in result.err) == (code, "", True), result


def test_a_run_is_forgotten(sidecar: Sidecar, toolbooth: Toolbooth, run: str) -> None:
    assert toolbooth("runs", "forget", run).out == "forgotten: r/1, which had made 1 of 12 calls\n"
    assert toolbooth("runs").out == "No run has called yet.\n"
    sidecar.do(lambda: sidecar.desk.start_run("busy"))
    assert "under way" in toolbooth("runs", "forget", "busy").err


def test_the_widest_rows_fit(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    for number in range(3):
        sidecar.do(lambda n=number: sidecar.desk.start_run(f"{'x' * 90}{n}").settle(123_456))  # type: ignore[misc]
    lines = toolbooth("runs").out.splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
