"""Processes of the tests run the compiled build where one can be made, and say which they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from setup import why_not
from tests.scenarios.processes import ROOT, bare_environment, policy, running
from tests.sidecar_command import TOOLBOOTH, inherited_environment, why_not_installed

pytestmark = pytest.mark.scenario

BUILD = "interpreted" if why_not_installed() else "compiled"


def test_it_is_the_compiled_build_that_is_tested() -> None:
    """Else CI could be green for a build that nobody runs."""
    if "COMPILED_BUILD" not in os.environ and os.environ.get("CI", "").lower() not in ("1", "true"):
        pytest.skip("asked in CI and by `make test`, which installs that build first")
    if missing := why_not():
        pytest.skip(f"nothing can be compiled here: {missing}")
    reason = why_not_installed()
    assert not reason, f"{reason}: remove .venv/.compiled and run `make compiled`"


def test_the_version_names_the_build() -> None:
    said = subprocess.run(
        [*TOOLBOOTH, "--version"], env=bare_environment(), cwd=ROOT,
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert said.stdout.endswith(f" ({BUILD})\n")


def test_a_start_names_the_build(tmp_path: Path) -> None:
    with running(tmp_path, policy()) as sidecar:
        (line,) = [line for line in sidecar.said if line.startswith("toolbooth: version ")]
    assert line.endswith(f", data path {BUILD}\n")


_COUNT = """
import json, sys
sys.path.append(sys.argv[1])  # after what is installed
from tests.pipeline.test_cost import calls_of
print(json.dumps({kind: calls_of(kind) for kind in ("get", "post", "refused")}))
"""
_MOST_INTERPRETED = 6  # of some 300 calls that the same takes in the tree


def test_a_call_walks_the_compiled_build_without_falling_back_to_the_interpreter() -> None:
    """The profiler sees calls of interpreted functions only: one module of the walk that is not
    compiled any more, or one callback made where it is not, shows here."""
    if reason := why_not_installed():
        pytest.skip(reason)
    output = subprocess.run(
        [sys.executable, "-P", "-c", _COUNT, str(ROOT)],
        env=inherited_environment(), check=True, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    counts = json.loads(output)
    assert set(counts) == {"get", "post", "refused"}
    assert max(counts.values()) <= _MOST_INTERPRETED, counts
