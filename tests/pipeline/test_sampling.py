"""Which calls are recorded with their bodies: by tool, by run, and for being slow."""

import asyncio
import json
from typing import Any

import pytest

from proxy.telemetry.sample import is_sampled
from proxy.telemetry.spotlight import Beam
from tests.fakes.origin import Origin, OriginConnection, answer_all
from tests.fakes.sidecar import Sidecar, policy_text

RUN_AT_HALF = next(f"run-{n}" for n in range(99) if is_sampled(f"run-{n}", 0.5))
RUN_BEYOND = next(f"run-{n}" for n in range(99) if not is_sampled(f"run-{n}", 0.5))


def _policy(port: int, **section: object) -> str:
    return policy_text(port, extra=f"observability: {json.dumps(section)}\n")


def _lines(sidecar: Sidecar) -> list[dict[str, Any]]:
    sidecar.recorder.stop(1.0)
    return [json.loads(line) for line in sidecar.sink.data.splitlines()]


@pytest.mark.parametrize(
    ("section", "run", "is_shown"),
    [
        pytest.param({"result_sample_rate": 0, "sample_rates": {"echo": 1}}, "r", True,
                     id="a rate of its own"),
        pytest.param({"result_sample_rate": 1, "sample_rates": {"echo": 0}}, "r", False,
                     id="a rate of its own that is lower"),
        pytest.param({"result_sample_rate": 0, "sample_rates": {"other": 1}}, "r", False,
                     id="another tool's rate"),
        pytest.param({"result_sample_rate": 0, "sample_rates": {"echo": 0.5}}, RUN_AT_HALF, True,
                     id="a run within the rate"),
        pytest.param({"result_sample_rate": 0, "sample_rates": {"echo": 0.5}}, RUN_BEYOND, False,
                     id="a run beyond the rate"),
        pytest.param({"sampled_tool_results": False, "sample_rates": {"echo": 1}, "slow_ms": 1},
                     "r", False, id="nothing where samples are forbidden"),
    ],
)  # fmt: skip
async def test_a_tool_has_its_rate(section: dict[str, object], run: str, is_shown: bool) -> None:
    async with Origin() as origin, Sidecar(_policy(origin.port, **section)) as sidecar:
        await sidecar.get(f"{origin.url}/", f"X-Agent-Run-Id: {run}")
        (line,) = _lines(sidecar)
    assert (line["sampled"], "result" in line, "request" in line) == (is_shown,) * 3


async def test_what_an_operator_turns_up_goes_before_the_rates_of_tools() -> None:
    section = {"result_sample_rate": 0, "sample_rates": {"echo": 0}}
    async with Origin() as origin, Sidecar(_policy(origin.port, **section)) as sidecar:
        now_s = sidecar.booth.clock.monotonic()
        sidecar.booth.spotlight.turn_on(Beam("all", 1.0, None, now_s + 60), now_s)
        await sidecar.get(f"{origin.url}/")
        assert _lines(sidecar)[0]["sampled"]


async def _answer_after_50_ms(connection: OriginConnection) -> None:
    await asyncio.sleep(0.05)
    await answer_all(connection)


async def test_a_slow_call_keeps_its_bodies() -> None:
    section = {"result_sample_rate": 0, "slow_ms": 40}
    async with (
        Origin(_answer_after_50_ms) as origin,
        Sidecar(_policy(origin.port, **section)) as sidecar,
    ):
        await sidecar.get(f"{origin.url}/")
        (line,) = _lines(sidecar)
        assert sidecar.booth.captures.used_bytes == 0, "given back once it was written"
    assert line["sampled"]
    assert line["result"]["body"]
    assert line["total_ms"] >= 40


async def test_a_fast_call_drops_them_and_their_memory() -> None:
    section = {"result_sample_rate": 0, "slow_ms": 60_000}
    async with Origin() as origin, Sidecar(_policy(origin.port, **section)) as sidecar:
        await sidecar.get(f"{origin.url}/")
        assert sidecar.booth.captures.used_bytes == 0
        assert sidecar.records[0].request is None
        (line,) = _lines(sidecar)
    assert not line["sampled"]
    assert "result" not in line


async def test_a_sampled_call_stays_though_it_is_fast() -> None:
    section = {"result_sample_rate": 1, "slow_ms": 60_000}
    async with Origin() as origin, Sidecar(_policy(origin.port, **section)) as sidecar:
        await sidecar.get(f"{origin.url}/")
        assert _lines(sidecar)[0]["sampled"]


async def test_a_slow_call_that_fails_is_shown_as_well() -> None:
    """Its request, at least."""

    async def hang(connection: OriginConnection) -> None:
        await connection.read_head()
        await asyncio.Event().wait()

    section = {"result_sample_rate": 0, "slow_ms": 40}
    async with Origin(hang) as origin:
        text = _policy(origin.port, **section).replace(
            "tools:\n", "tools:\n  timeouts_ms: {default: 60}\n", 1
        )
        async with Sidecar(text) as sidecar:
            await sidecar.get(f"{origin.url}/")
            (line,) = _lines(sidecar)
    assert (line["code"], line["sampled"]) == ("timeout", True)
    assert "request" in line
    assert "result" not in line


async def test_copies_that_may_not_be_needed_leave_half_of_the_memory() -> None:
    """And a slow call that found no room is counted."""
    section = {"result_sample_rate": 0, "slow_ms": 40}
    async with (
        Origin(_answer_after_50_ms) as origin,
        Sidecar(_policy(origin.port, **section)) as sidecar,
    ):
        captures = sidecar.booth.captures
        taken = captures.limit_bytes // 2
        assert captures.take(taken)
        await sidecar.get(f"{origin.url}/")
        assert captures.used_bytes == taken
        assert captures.refused == 1
        assert not _lines(sidecar)[0]["sampled"]


async def test_a_fast_call_that_found_no_room_is_no_loss() -> None:
    section = {"result_sample_rate": 0, "slow_ms": 60_000}
    async with Origin() as origin, Sidecar(_policy(origin.port, **section)) as sidecar:
        assert sidecar.booth.captures.take(sidecar.booth.captures.limit_bytes)
        await sidecar.get(f"{origin.url}/")
        assert sidecar.booth.captures.refused == 0
