"""F62 to F67: what a process runs out of, and clocks and addresses that change."""

import asyncio
import errno
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from unittest.mock import patch

import pytest

from proxy.app.gauges import Lag
from proxy.app.serve import Sidecar as ServedSidecar
from proxy.guards.descriptors import share_out
from proxy.guards.memory import FEW_CALLS, ONE_EVERY_S, MemoryMark
from proxy.model.clock import SystemClock
from proxy.model.reason import Reason
from proxy.upstream.resolver import Address
from tests.conformance.world import CONNECT, END, GET, POLICY, World
from tests.fakes.network import PUBLIC
from tests.fakes.origin import OK, OriginConnection
from tests.fakes.waiting import until
from tests.faults.fault import LOOPS, Fault, NewLoop, Run, run_on
from tests.faults.world import a_world, dialling, is_told
from tests.numbered import NumberedTests

FAULTS = (
    Fault(
        62,
        "no more open files",
        "Clients run out first and get 503 with the time to come back; then calls that find none "
        "for an upstream, which the circuit breaker does not count; an idle upstream connection "
        "makes room before. The operators' ports have files of their own.",
        ("busy", "ok"),
        "where the limit is lowered under a running process, or the whole system is out of files, "
        "a new connection is closed without a word or waits, and the event loop is busy trying to "
        "take it.",
    ),
    Fault(
        63,
        "memory runs short",
        "Above a soft mark calls get 503, but for one now and then; what is under way goes on, "
        "and below the mark all pass again.",
        ("busy", "ok"),
    ),
    Fault(
        64,
        "the event loop is blocked",
        "`toolbooth_event_loop_lag_seconds` and its maximum of a minute say for how long; "
        "deadlines that have passed meanwhile hold at once.",
        ("timeout", "ok"),
        "`/livez` has no threshold: while the loop stands it does not answer at all, and probes "
        "fail; afterwards it is 200, as a restart would help nobody any more.",
    ),
    Fault(
        65,
        "the wall clock jumps",
        "Timeouts, windows and the hour of an agent do not notice. The day of a budget is the UTC "
        "date and only moves forward: set back, nothing is given back.",
        ("ok", "timeout", "max_spend_usd_per_day", "max_calls_per_hour"),
        "set forward past midnight a day does begin.",
    ),
    Fault(
        66,
        "no local port is left",
        "502 that says so; a connection that is kept is used as before.",
        ("upstream_connect", "ok"),
    ),
    Fault(
        67,
        "the addresses of this host change",
        "Whether an address is the sidecar itself is asked of each new connection, so there is no "
        "list to grow old.",
        ("ok", "address_denied"),
    ),
)
faults = NumberedTests()

PRICED = POLICY.replace("tunnel: {raw: true}", "cost_usd: 0.5")
WATCHED = POLICY.replace(
    "  catalog:\n",
    "  circuit_breaker: {error_rate: 0.5, min_requests: 1, open_seconds: 60}\n  catalog:\n",
)


# --- F62: open files ------------------------------------------------------------------------


@faults("F62: clients have their share of the open files, and are told when it is used up")
async def _no_files_for_clients() -> None:
    async with a_world(calls=["busy", "ok"]) as world:
        front, limits = world.sidecar.front, world.sidecar.front.limits
        front.limits = limits._replace(descriptors=share_out(8))
        assert limits.descriptors != front.limits.descriptors
        front.limits = front.limits._replace(
            descriptors=front.limits.descriptors._replace(answers=sys.maxsize)
        )
        got = await world.to_the_end(GET + END)
        assert is_told(got, Reason.BUSY)
        assert b"\r\nRetry-After: 1\r\n" in got
        assert front.turned_away == 1
        front.limits = limits
        assert (await world.ask(GET + END)).endswith(b"ok")


@faults("F62: beyond the share for saying no, a connection is closed without a word")
async def _no_files_for_answers() -> None:
    async with a_world(calls=["ok"]) as world:
        front, limits = world.sidecar.front, world.sidecar.front.limits
        front.limits = limits._replace(descriptors=share_out(8))
        reader, writer = await world.sidecar.open()
        got = b""
        with suppress(ConnectionResetError):
            got = await reader.read()
        writer.close()
        assert got == b""
        assert front.turned_away == 1
        front.limits = limits
        assert (await world.ask(GET + END)).endswith(b"ok")


@faults("F62: an idle upstream connection makes room; without one the call is a 503")
async def _no_files_for_upstreams() -> None:
    policy = WATCHED.replace("a.test", "'*.test'")
    async with a_world(policy=policy, calls=["ok", "ok", "busy", "ok"]) as world:
        world.network.answers["b.test"] = [[PUBLIC]]
        pool = world.sidecar.booth.pool
        assert (await world.ask(GET + END)).endswith(b"ok")
        assert pool.idle_count == 1
        pool.descriptors_end, end = 3, pool.descriptors_end
        other = GET.replace(b"a.test", b"b.test") + END
        assert (await world.ask(other)).endswith(b"ok")  # in the place of the idle one
        pool.close()
        assert is_told(await world.ask(other), Reason.BUSY)
        pool.descriptors_end = end
        assert (await world.ask(other)).endswith(b"ok")  # no breaker has opened


@faults("F62: a dial that the system has no file for is a 503 and not the upstream's fault")
async def _no_file_for_a_dial() -> None:
    for number in (errno.EMFILE, errno.ENFILE):
        async with a_world(policy=WATCHED, calls=["busy", "busy", "ok"]) as world:
            with dialling(world, {PUBLIC: "127.0.0.1"}):
                with failing_dials(number):
                    for _ in range(2):
                        got = await world.ask(GET + END)
                        assert is_told(got, Reason.BUSY)
                        assert b"\r\nRetry-After: 1\r\n" in got
                assert (await world.ask(GET + END)).endswith(b"ok")


@contextmanager
def failing_dials(number: int) -> Iterator[None]:
    """The system says this to every new connection."""

    async def fail(*_: object, **__: object) -> socket.socket:
        raise OSError(number, os.strerror(number))

    with patch("proxy.upstream.dial.aiohappyeyeballs.start_connection", fail):
        yield


# --- F63: memory ----------------------------------------------------------------------------


@faults("F63: above the mark calls are refused, and pass again below it")
async def _short_of_memory() -> None:
    calls = ["ok", *["busy"] * 3, "ok"]
    clock = ShiftedClock()
    async with a_shifted_world(clock, POLICY, calls) as world:
        mark = world.sidecar.booth.memory = MemoryMark(1000)
        mark.note(1000)
        assert (await world.ask(GET + END)).endswith(b"ok")  # one is let in
        for raw in (GET + END, GET + END, CONNECT):
            got = await world.to_the_end(raw)
            assert is_told(got, Reason.BUSY)
            assert b"\r\nRetry-After: 1\r\n" in got
        assert mark.refused == 3
        assert len(world.origin.heads) == 1
        mark.note(949)
        assert (await world.ask(GET + END)).endswith(b"ok")


@faults("F63: memory that does not shrink makes the sidecar slow and not dead")
async def _memory_stays_short() -> None:
    clock = ShiftedClock()
    async with a_shifted_world(clock, POLICY, ["ok", "busy"] * 3) as world:
        mark = world.sidecar.booth.memory = MemoryMark(1000)
        mark.note(2000)
        for _ in range(3):
            assert (await world.ask(GET + END)).endswith(b"ok")
            assert is_told(await world.ask(GET + END), Reason.BUSY)
            clock.shift_s += ONE_EVERY_S


@faults("F63: what is under way goes on, however many there are")
async def _under_way_goes_on() -> None:
    gate = asyncio.Event()

    async def wait(connection: OriginConnection) -> None:
        while await connection.read_head():
            await gate.wait()
            await connection.send(OK)

    async with a_world(wait, calls=["busy"] + ["ok"] * FEW_CALLS) as world:
        asked = [asyncio.ensure_future(world.ask(GET + END)) for _ in range(FEW_CALLS)]
        await until(lambda: len(world.origin.heads) == FEW_CALLS)
        mark = world.sidecar.booth.memory = MemoryMark(1000)
        mark.note(2000)
        assert is_told(await world.ask(GET + END), Reason.BUSY)
        gate.set()
        assert all(got.endswith(b"ok") for got in await asyncio.gather(*asked))


# --- F64 and F65: time ----------------------------------------------------------------------


class ShiftedClock(SystemClock):
    """The system's, each of the two as much ahead as is said."""

    def __init__(self, wall_shift_s: float = 0.0) -> None:
        self.shift_s = 0.0
        self.wall_shift_s = wall_shift_s

    def monotonic(self) -> float:
        return super().monotonic() + self.shift_s

    def wall(self) -> float:
        return super().wall() + self.wall_shift_s


@asynccontextmanager
async def a_shifted_world(
    clock: ShiftedClock, policy: str, calls: list[str]
) -> AsyncIterator[World]:
    """A world whose sidecar lives by this clock."""
    with patch("proxy.app.assemble.SystemClock", lambda: clock):
        async with a_world(policy=policy, calls=calls) as world:
            yield world


@faults("F64: a blocked loop is measured, and a deadline that passed meanwhile holds at once")
async def _blocked_loop() -> None:
    async def silent(connection: OriginConnection) -> None:
        await connection.read_head()
        if len(connection.origin.connections) > 1:
            await connection.send(OK)
        await connection.read_some()

    policy = POLICY.replace("{default: 20000, connect: 10000}", "{default: 200, connect: 200}")
    lag = Lag()
    served = ServedSidecar.__new__(ServedSidecar)  # only its gauge
    served._lag = lag
    async with a_world(silent, policy=policy, calls=["timeout", "ok"]) as world:
        with patch("proxy.app.serve._LAG_EVERY_S", 0.01):
            measuring = asyncio.ensure_future(served._measure_lag())
            asked = asyncio.ensure_future(world.ask(GET + END))
            await until(lambda: len(world.origin.heads) == 1 and len(lag._kept) > 0)
            time.sleep(0.5)
            assert is_told(await asked, Reason.TIMEOUT)
            assert (await world.ask(GET + END)).endswith(b"ok")
            await until(lambda: lag.last_s < lag.worst_s())
            measuring.cancel()
    assert lag.worst_s() >= 0.45


@faults("F65: set back, a day's budget gives nothing back, and set forward a day is a day")
async def _day_budget() -> None:
    policy = PRICED + "budgets: {per_agent: {max_spend_usd_per_day: 1.0}}\n"
    day_s = 86_400.0
    spent = ["ok", "ok", "max_spend_usd_per_day"]
    clock = ShiftedClock()
    async with a_shifted_world(clock, policy, [*spent, *spent[2:] * 3, *spent]) as world:
        raw = GET + b"X-Agent-Id: one\r\n" + END
        for code in spent:
            assert has_code(await world.ask(raw), code)
        for back_s in (3600.0, day_s, 400 * day_s):
            clock.wall_shift_s = -back_s
            assert has_code(await world.ask(raw), spent[2])
        clock.wall_shift_s = day_s
        for code in spent:
            assert has_code(await world.ask(raw), code)


def has_code(got: bytes, code: str) -> bool:
    """The upstream's 200, or our answer with this code."""
    return got.endswith(b"ok") if code == "ok" else is_told(got, Reason(code))


@faults("F65: an agent's hour does not notice the wall clock")
async def _hour() -> None:
    policy = POLICY + "budgets: {per_agent: {max_calls_per_hour: 1}}\n"
    clock = ShiftedClock()
    code = "max_calls_per_hour"
    async with a_shifted_world(clock, policy, ["ok", code, code, "ok"]) as world:
        raw = GET + b"X-Agent-Id: one\r\n" + END
        assert has_code(await world.ask(raw), "ok")
        for clock.wall_shift_s in (1e6, -1e6):
            assert has_code(await world.ask(raw), code)
        clock.shift_s = 3600.0
        assert has_code(await world.ask(raw), "ok")


@faults("F65: a call's time and a kept connection do not notice the wall clock")
async def _timeouts() -> None:
    async def script(connection: OriginConnection) -> None:
        while b"/silent" not in await connection.read_head():
            clock.wall_shift_s = -clock.wall_shift_s  # while the call is under way
            await connection.send(OK)
        clock.wall_shift_s = -clock.wall_shift_s
        await connection.read_some()

    clock = ShiftedClock(wall_shift_s=1e8)
    policy = POLICY.replace("default: 20000", "default: 300")
    with patch("proxy.app.assemble.SystemClock", lambda: clock):
        async with a_world(script, policy=policy, calls=["ok", "ok", "timeout"]) as world:
            for _ in range(2):
                assert (await world.ask(GET + END)).endswith(b"ok")
            assert len(world.origin.connections) == 1
            silent = GET.replace(b"a.test/", b"a.test/silent", 1) + END
            assert is_told(await world.ask(silent), Reason.TIMEOUT)
            records = world.sidecar.records
            assert all(0 <= record.total_ms < 20_000 for record in records)
            assert records[2].total_ms >= 250


# --- F66 and F67: addresses -----------------------------------------------------------------


@faults("F66: without a local port a new connection is a 502 that says so, a kept one is used")
async def _no_local_port() -> None:
    calls = ["ok", "ok", "upstream_connect", "ok"]
    async with a_world(calls=calls) as world:
        with dialling(world, {PUBLIC: "127.0.0.1"}):
            assert (await world.ask(GET + END)).endswith(b"ok")
            with failing_dials(errno.EADDRNOTAVAIL):
                assert (await world.ask(GET + END)).endswith(b"ok")
                world.sidecar.booth.pool.close()
                assert is_told(await world.ask(GET + END), Reason.UPSTREAM_CONNECT)
            assert (await world.ask(GET + END)).endswith(b"ok")
        detail = world.sidecar.records[2].detail
        assert os.strerror(errno.EADDRNOTAVAIL).lower() in detail


@faults("F67: an address that has become ours is a loop from the next connection on")
async def _address_becomes_ours() -> None:
    async def once(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    sources = ["127.0.0.9"]  # while the peer is not of this host, both ends differ

    async with a_world(once, calls=["ok", "address_denied", "address_denied", "ok"]) as world:
        world.sidecar.booth.pool.own_ports = frozenset({80})
        with dialled_from(world, sources):
            assert (await world.ask(GET + END)).endswith(b"ok")
            sources[0] = "127.0.0.1"
            for _ in range(2):
                assert is_told(await world.ask(GET + END), Reason.ADDRESS_DENIED)
            sources[0] = "127.0.0.9"
            assert (await world.ask(GET + END)).endswith(b"ok")
        assert len(world.origin.heads) == 2
        assert "this sidecar itself" in world.sidecar.records[1].detail


@contextmanager
def dialled_from(world: World, sources: list[str]) -> Iterator[None]:
    """Every dial ends at the origin, and comes from the first of these."""

    async def local(_: tuple[Address, ...], port: int) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((sources[0], 0))
        there = ("127.0.0.1", world.network.leads_to[port])
        await asyncio.get_running_loop().sock_connect(sock, there)
        return sock

    with patch("proxy.upstream.pool.dial", local):
        yield


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("run", faults.params)
def test_fault(run: Run, new_loop: NewLoop) -> None:
    run_on(new_loop, run)
