"""`kill` and `revive` against a control port."""

import json

from tests.cli.conftest import Sidecar, Toolbooth


def keys(sidecar: Sidecar) -> list[str]:
    return [switch.key for switch in sidecar.desk.switches.active()]


def test_a_kill_takes_hold_and_is_taken_back(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """Said in one line each time; the trail knows which user it was."""
    killed = toolbooth("kill", "search.read", "--for", "10m", "--reason", "it leaks")
    assert killed == (
        0, "off  tool:search.read  until 2027-01-15T08:10:00.000Z  (it leaks)\n", "",
    )  # fmt: skip
    assert keys(sidecar) == ["tool:search.read"]
    revived = toolbooth("revive", "search.read")
    assert revived == (0, "on  tool:search.read  (was off: it leaks)\n", "")
    assert keys(sidecar) == []
    assert sidecar.desk.audited[0]["actor"] not in ("", "admin")
    assert sidecar.desk.audited[0]["role"] == "admin"


def test_every_selector_reaches_its_switch(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """Ids are carried whole, whatever they hold."""
    for selector in (["--writes"], ["--all"], ["--run", "a/b:c@d%2F ?#é"], ["--agent", "../x"]):
        assert toolbooth("kill", *selector, "--reason", "x").code == 0
    assert keys(sidecar) == ["writes", "all", "run:a/b:c@d%2F ?#é", "agent:../x"]
    assert toolbooth("revive", "--run", "a/b:c@d%2F ?#é").code == 0
    assert keys(sidecar) == ["writes", "all", "agent:../x"]


def test_json(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """The switch as the API shows it."""
    killed = json.loads(toolbooth("kill", "--all", "--reason", "x", "--json").out)
    assert (killed["key"], killed["expires"]) == ("all", None)
    assert json.loads(toolbooth("revive", "--all", "--json").out)["key"] == "all"


def test_a_typing_error_is_told_and_can_be_forced(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """Nothing is switched until it is meant."""
    result = toolbooth("kill", "search.raed", "--reason", "x")
    assert (result.code, result.out) == (1, "")
    assert "did you mean search.read?" in result.err
    assert "--all" in toolbooth("kill", "all", "--reason", "x").err
    assert keys(sidecar) == []
    assert toolbooth("kill", "search.raed", "--reason", "x", "--force").code == 0
    assert keys(sidecar) == ["tool:search.raed"]


def test_what_is_not_off_cannot_be_revived(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """Exit 1 and a sentence."""
    assert toolbooth("revive", "--writes") == (
        1,
        "",
        "toolbooth: No switch 'writes' is engaged.\n",
    )


def test_a_reason_is_required(toolbooth: Toolbooth) -> None:
    """Bad usage, before anything is sent."""
    assert toolbooth("kill", "--all").code == 2
