"""The first thing a stranger runs."""

import subprocess

import pytest

from tests.scenarios.processes import ROOT, bare_environment
from tests.sidecar_command import TOOLBOOTH

pytestmark = pytest.mark.scenario


_TOLD = (
    "tool_not_allowed", "timeout", "at attempt 2", "rate_limited", "max_tool_calls",
    "writes_disabled", "[redacted", "inside its TLS", "1,020 tokens", "isError",
)  # fmt: skip


def test_the_demo_goes_as_it_says_and_fits_a_terminal() -> None:
    done = subprocess.run(
        [*TOOLBOOTH, "demo"],
        env=bare_environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "UNEXPECTED" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    for what in _TOLD:
        assert what in done.stdout, what
