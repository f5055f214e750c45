"""Deadlines, budgets, rates and slots, seen from outside of the walk."""

import asyncio

import pytest

from proxy.model.reason import Reason
from tests.fakes.origin import OK, Origin, OriginConnection
from tests.fakes.sidecar import Sidecar, policy_text, read_answer


async def silent(connection: OriginConnection) -> None:
    await connection.read_head()
    await connection.read_some()


def timeouts(port: int, text: str) -> str:
    return policy_text(port).replace("tools:\n", f"tools:\n  timeouts_ms: {text}\n", 1)


async def slow_body(connection: OriginConnection) -> None:
    await connection.read_head()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf-")
    await connection.read_some()


async def test_a_silent_tool_times_out() -> None:
    """No answer within the tool's time: 504 with a code, and the SDK is told not to retry."""
    async with Origin(silent) as origin, Sidecar(timeouts(origin.port, "{echo: 100}")) as sidecar:
        got = await sidecar.get(f"{origin.url}/")
        assert got.startswith(b"HTTP/1.1 504 ")
        assert b"Toolbooth-Code: timeout\r\n" in got
        assert b"X-Should-Retry: false\r\n" in got
        assert [r.code for r in sidecar.records] == [Reason.TIMEOUT]
        assert sidecar.booth.slots.in_flight("echo") == 0


async def test_a_stalled_body_is_cut_visibly() -> None:
    """After the head has gone out, the deadline ends the answer short of its length."""
    async with (
        Origin(slow_body) as origin,
        Sidecar(timeouts(origin.port, "{echo: 150}")) as sidecar,
    ):
        got = await sidecar.get(f"{origin.url}/")
        assert got.endswith(b"half-")
        assert b"Content-Length: 10\r\n" in got
        assert [r.code for r in sidecar.records] == [Reason.TIMEOUT]


async def test_silence_on_an_open_answer_is_bounded() -> None:
    """The idle timeout cuts an answer long before the call's own deadline."""
    async with (
        Origin(slow_body) as origin,
        Sidecar(timeouts(origin.port, "{default: 8000, idle: 100}")) as sidecar,
    ):
        async with asyncio.timeout(3):
            got = await sidecar.get(f"{origin.url}/")
        assert got.endswith(b"half-")
        assert [r.code for r in sidecar.records] == [Reason.TIMEOUT]


async def test_the_deadline_is_what_the_run_has_left() -> None:
    """A run with one second left cannot wait eight for a tool."""
    extra = "runtime:\n  env: {AGENT_MAX_SECONDS: 1}\n"
    async with Origin(silent) as origin, Sidecar(policy_text(origin.port, extra=extra)) as sidecar:
        async with asyncio.timeout(4):
            got = await sidecar.get(f"{origin.url}/")
        assert b"Toolbooth-Code: max_seconds\r\n" in got
        assert b'"stop_reason":"max_seconds"' in got


@pytest.mark.parametrize("limit", [1, 12, 40])
async def test_a_budget_never_oversells(limit: int) -> None:
    """With so many calls left and a hundred at once, exactly so many reach the upstream."""
    release = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            await release.wait()
            await connection.send(OK)

    extra = f"runtime:\n  env: {{AGENT_MAX_TOOL_CALLS: {limit}}}\n"
    async with (
        Origin(script) as origin,
        Sidecar(policy_text(origin.port, extra=extra)) as sidecar,
    ):
        calls = [
            asyncio.ensure_future(
                sidecar.get(f"{origin.url}/{n}", "Proxy-Authorization: Basic cnVuOng=")
            )
            for n in range(100)
        ]
        async with asyncio.timeout(10):
            while len(sidecar.records) < 100 - limit or len(origin.heads) < limit:
                await asyncio.sleep(0.01)
        release.set()
        answers = await asyncio.gather(*calls)
        assert sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers) == limit
        assert len(origin.heads) == limit
        codes = [record.code for record in sidecar.records]
        assert codes.count(Reason.OK) == limit
        assert codes.count(Reason.MAX_TOOL_CALLS) == 100 - limit


async def test_runs_have_budgets_of_their_own() -> None:
    """One run's last call does not touch another's, and what is left is told on every answer."""
    extra = "runtime:\n  env: {AGENT_MAX_TOOL_CALLS: 1}\n"
    async with Origin() as origin, Sidecar(policy_text(origin.port, extra=extra)) as sidecar:
        for run in ("a", "b"):
            got = await sidecar.get(f"{origin.url}/", f"X-Agent-Run-Id: {run}")
            assert b"Toolbooth-Budget: tool-calls=0\r\n" in got
            got = await sidecar.get(f"{origin.url}/", f"X-Agent-Run-Id: {run}")
            assert got.startswith(b"HTTP/1.1 403 ")
            assert f'"run_id":"{run}"'.encode() in got


async def test_refused_calls_cost_nothing() -> None:
    """A call refused after its reservation gives it back; the next one still fits."""
    extra = "runtime:\n  env: {AGENT_MAX_TOOL_CALLS: 2}\n"
    limits = "  rate_limits: {default: {requests: 1, per_seconds: 60}}\n"
    async with (
        Origin() as origin,
        Sidecar(policy_text(origin.port, extra=limits + extra)) as sidecar,
    ):
        assert b" 200 OK" in await sidecar.get(f"{origin.url}/")
        for _ in range(3):
            got = await sidecar.get(f"{origin.url}/")
            assert b"Toolbooth-Code: rate_limited\r\n" in got
            assert b"Retry-After: " in got
        view = sidecar.booth.ledger.run_view(sidecar.booth.policy.budgets, "shared:127.0.0.1")
        assert view is not None
        assert view.used.tool_calls == 1


async def test_a_call_may_wait_for_its_rate() -> None:
    """Within max_wait_ms a call queues instead of failing, and the record says how long."""
    limits = (
        "  rate_limits: {default: {requests: 1, per_seconds: 0.2, scope: run, max_wait_ms: 500}}\n"
    )
    async with Origin() as origin, Sidecar(policy_text(origin.port, extra=limits)) as sidecar:
        for _ in range(2):
            assert b" 200 OK" in await sidecar.get(f"{origin.url}/")
        assert sidecar.records[1].queue_ms > 50


async def test_slots_bound_what_is_under_way() -> None:
    """One call more than the cap is told to come back; afterwards every slot is free again."""
    release = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await release.wait()
        await connection.send(OK)

    async with (
        Origin(script) as origin,
        Sidecar(policy_text(origin.port, extra="  concurrency: {echo: 2}\n")) as sidecar,
    ):
        calls = [asyncio.ensure_future(sidecar.get(f"{origin.url}/")) for _ in range(2)]
        while len(origin.heads) < 2:
            await asyncio.sleep(0.01)
        got = await sidecar.get(f"{origin.url}/")
        assert got.startswith(b"HTTP/1.1 503 ")
        assert b"Toolbooth-Code: busy\r\n" in got
        release.set()
        assert all(b" 200 OK" in answer for answer in await asyncio.gather(*calls))
        assert sidecar.booth.slots.in_flight("echo") == 0


async def test_the_same_call_again_and_again_ends_its_run() -> None:
    """The fourth identical POST of a run is refused for good; another body is another call."""
    async with (
        Origin() as origin,
        Sidecar(policy_text(origin.port, extra="budgets: {loop_limit: 3}\n")) as sidecar,
    ):

        async def post(body: str) -> bytes:
            return await sidecar.exchange(
                f"POST {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )

        for number in range(4):
            assert b" 200 OK" in await post(f"other {number}")
        for _ in range(3):
            assert b" 200 OK" in await post("same")
        assert b"Toolbooth-Code: loop_detected\r\n" in await post("same")
        assert b"Toolbooth-Code: loop_detected\r\n" in await post("new")


async def test_the_byte_budget_cuts_an_answer_in_the_middle() -> None:
    """An answer larger than the run's bytes is cut where they end, visibly."""

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
        for _ in range(500):
            await connection.send(b"x" * 100_000)

    async with (
        Origin(script) as origin,
        Sidecar(policy_text(origin.port, extra="budgets: {max_bytes: 1000000}\n")) as sidecar,
    ):
        got = await sidecar.get(f"{origin.url}/")
        assert 900_000 < len(got) < 3_000_000
        assert [r.code for r in sidecar.records] == [Reason.MAX_BYTES]


async def test_warnings_come_before_the_end() -> None:
    """Past a warn_at threshold every answer says so."""
    extra = "runtime:\n  env: {AGENT_MAX_TOOL_CALLS: 4}\nbudgets: {warn_at: [0.75]}\n"
    async with Origin() as origin, Sidecar(policy_text(origin.port, extra=extra)) as sidecar:
        answers = [await sidecar.get(f"{origin.url}/") for _ in range(3)]
        assert [b"Toolbooth-Warning: " in answer for answer in answers] == [False, False, True]


async def test_a_missing_run_id_can_be_refused() -> None:
    """`on_missing_run: reject` asks with 407 and keeps the connection for the second try."""
    async with (
        Origin() as origin,
        Sidecar(policy_text(origin.port, extra="budgets: {on_missing_run: reject}\n")) as sidecar,
    ):
        reader, writer = await sidecar.open()
        head = f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n"
        writer.write(f"{head}\r\n".encode())
        answer = await read_answer(reader)
        assert answer.startswith(b"HTTP/1.1 407 ")
        assert b"Proxy-Authenticate: Basic" in answer
        writer.write(f"{head}Proxy-Authorization: Basic cnVuOng=\r\n\r\n".encode())
        assert b" 200 OK" in await read_answer(reader)
        writer.close()


async def test_a_call_whose_time_is_over_before_it_is_tried_has_used_nothing() -> None:
    """Its client never sent the content that was to go out with it."""
    async with Origin() as origin, Sidecar(timeouts(origin.port, "{echo: 100}")) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(
            f"POST {origin.url}/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n"
            "X-Agent-Run-Id: slow\r\n\r\n".encode()
        )
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 504 ")
        writer.close()
        assert [(r.code, r.attempts) for r in sidecar.records] == [(Reason.TIMEOUT, 0)]
        run = sidecar.booth.ledger.runs_table.peek("slow")
        assert run is not None
        assert (run.tool_calls, run.in_flight) == (0, 0)
