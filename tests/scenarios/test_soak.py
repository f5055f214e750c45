"""Half a minute of `bench/soak.py`: everything at once, and nothing wrong, lost or kept."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.scenarios.processes import ROOT, bare_environment

pytestmark = pytest.mark.scenario

SECONDS = 30


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What it has found."""
    folder = tmp_path_factory.mktemp("soak")
    out, plot = folder / "soak.json", folder / "soak.svg"
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "soak.py"), "--seconds", str(SECONDS),
         "--rate", "1000", "--out", str(out), "--picture", str(plot)],
        env={**bare_environment(), "PYTHONPATH": str(ROOT)}, cwd=ROOT,
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert out.exists(), done.stderr[-3000:]
    assert plot.read_text(encoding="utf-8").startswith("<svg ")
    result: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return result | {"exit_code": done.returncode, "said": done.stdout[-3000:]}


def test_every_call_has_the_verdict_it_should_have(soak: dict[str, Any]) -> None:
    assert soak["wrong_first"] == []
    assert soak["bugs"] == []
    assert soak["exit_code"] == 0, soak["said"]


def test_every_scene_was_played(soak: dict[str, Any]) -> None:
    """Else nothing wrong would mean nothing done."""
    assert set(soak["by_scene"]) == {
        "steady", "over budget", "events", "gateway", "tunnel", "web socket", "mcp", "refused",
        "hostile", "faults", "gone", "switched", "reloaded",
    }  # fmt: skip
    assert min(soak["by_scene"].values()) > 10
    assert min(soak["turns"].values()) > 4
    codes = soak["records"]["codes"]
    assert {"ok", "tool_disabled", "tool_not_allowed", "max_tool_calls", "client_gone"} < set(codes)


def test_every_call_left_its_record(soak: dict[str, Any]) -> None:
    """One each, with the code that the client saw."""
    records = soak["records"]
    assert (records["missing"], records["broken"], records["dropped"]) == (0, 0, 0)
    assert records["codes_that_differ"] == {}
    assert records["written"] == soak["calls"]


def test_everything_that_was_taken_came_back(soak: dict[str, Any]) -> None:
    """Calls, tunnels, connections, open files."""
    assert set(soak["left"].values()) == {0}


def test_memory_has_a_plateau(soak: dict[str, Any]) -> None:
    """Tables and caches fill in the first seconds; after that there is little to add."""
    assert len(soak["samples"]) > SECONDS / 4
    assert soak["memory"]["end_to_plateau"] < 1.25
