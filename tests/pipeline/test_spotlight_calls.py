"""Handle: a call is recorded with its bodies while an operator looks, and not after."""

import json
from typing import Any

import pytest

from proxy.telemetry.spotlight import Beam
from tests.fakes.origin import Origin
from tests.fakes.sidecar import Sidecar, policy_text


def _policy(port: int, **more: object) -> str:
    section = {"result_sample_rate": 0, **more}
    return policy_text(port, extra=f"observability: {json.dumps(section)}\n")


def _lines(sidecar: Sidecar) -> list[dict[str, Any]]:
    sidecar.recorder.stop(1.0)
    return [json.loads(line) for line in sidecar.sink.data.splitlines()]


@pytest.mark.parametrize(
    ("scope", "is_shown"),
    [("all", True), ("tool:echo", True), ("tool:other", False), ("run:r1", True), ("run:r", False)],
)
async def test_what_is_looked_at_is_recorded(scope: str, is_shown: bool) -> None:
    """Request and result; the policy's own rate is 0."""
    async with Origin() as origin, Sidecar(_policy(origin.port)) as sidecar:
        now_s = sidecar.booth.clock.monotonic()
        sidecar.booth.spotlight.turn_on(Beam(scope, 1.0, 1, now_s + 60), now_s)
        await sidecar.get(f"{origin.url}/", "X-Agent-Run-Id: r1")
        sidecar.booth.spotlight.turn_off()
        await sidecar.get(f"{origin.url}/", "X-Agent-Run-Id: r1")
        lines = _lines(sidecar)
    assert [line["sampled"] for line in lines] == [is_shown, False]
    assert ("result" in lines[0]) == is_shown
    if is_shown:
        assert lines[0]["result"]["truncated"], "its own size of bodies holds too"


async def test_what_the_policy_forbids_to_show_stays_hidden() -> None:
    text_of = _policy
    async with (
        Origin() as origin,
        Sidecar(text_of(origin.port, sampled_tool_results=False)) as sidecar,
    ):
        now_s = sidecar.booth.clock.monotonic()
        sidecar.booth.spotlight.turn_on(Beam("all", 1.0, None, now_s + 60), now_s)
        await sidecar.get(f"{origin.url}/")
        assert [line["sampled"] for line in _lines(sidecar)] == [False]
