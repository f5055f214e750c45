"""`health`."""

import json

import pytest

from tests.cli.conftest import Sidecar, Toolbooth


def test_ready_and_not(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """The exit code is the answer."""
    assert toolbooth("health") == (0, "ready\n", "")
    sidecar.readiness = (False, "draining")
    assert toolbooth("health") == (1, "draining\n", "")
    document = json.loads(toolbooth("health", "--json").out)
    assert document == {"ready": False, "detail": "draining"}


def test_nothing_there(toolbooth: Toolbooth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not healthy, and where it looked."""
    monkeypatch.setenv("TOOLBOOTH_HEALTH_LISTEN", "127.0.0.1:1")
    result = toolbooth("health")
    assert result == (1, "nothing answers at 127.0.0.1:1\n", "")


def test_a_wildcard_is_asked_on_loopback(
    sidecar: Sidecar, toolbooth: Toolbooth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container."""
    monkeypatch.setenv("TOOLBOOTH_HEALTH_LISTEN", f"0.0.0.0:{sidecar.ports[1]}")
    assert toolbooth("health").code == 0
