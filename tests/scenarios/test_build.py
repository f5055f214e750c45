"""Processes of the tests run the compiled build where one can be made, and say which they are."""

import os
import subprocess
from pathlib import Path

import pytest

from setup import why_not
from tests.scenarios.processes import ROOT, bare_environment, policy, running
from tests.sidecar_command import TOOLBOOTH, why_not_installed

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
