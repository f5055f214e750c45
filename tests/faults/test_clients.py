"""F36 to F41: clients that are slow, that go away, and that come in crowds."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from unittest.mock import patch

import pytest

from proxy.listeners.front import FrontLimits
from proxy.model.reason import Reason
from tests.conformance.world import CONNECT, END, GET, POLICY, POST, World
from tests.fakes.origin import OK, OriginConnection
from tests.fakes.sidecar import read_answer
from tests.fakes.sockets import reset_when_closed
from tests.fakes.waiting import until
from tests.faults.fault import LOOPS, Fault, NewLoop, Run, run_on
from tests.faults.world import a_world, is_told, settled
from tests.numbered import NumberedTests

FAULTS = (
    Fault(
        36,
        "a client that sends slowly, or nothing",
        "A head has 10 s in all, then 408. Content has its call's time, then 504. A connection "
        "without a byte is closed after 75 s, with no record.",
        ("bad_request", "timeout"),
        "content that does not come is told as `timeout`, a 504: the time is the call's, whoever "
        "used it up. A call that was not tried by then has used nothing of its run.",
    ),
    Fault(
        37,
        "a client that reads slowly, or not at all",
        "The upstream is not read on while 256 KiB wait for the client. The call ends with its "
        "time; what is then left has 30 s without progress.",
        ("timeout", "ok"),
    ),
    Fault(
        38,
        "a client that goes away",
        "The call is cancelled and the upstream's connection closed. A call that has left has used "
        "its call and its price; one that still waited has used nothing.",
        ("client_gone",),
    ),
    Fault(
        39,
        "half-close behind a request",
        "An answer that comes within a second is delivered; then the call is cancelled.",
        ("ok", "client_gone"),
        "a second and no more, for most clients that close went away, and this is all one sees.",
    ),
    Fault(
        40,
        "half-close of a tunnel, either way",
        "The other direction goes on until it ends too, or falls silent for `timeouts_ms.idle`.",
        ("ok", "timeout"),
    ),
    Fault(
        41,
        "a flood of connections",
        "Beyond `TOOLBOOTH_MAX_CONNECTIONS_PER_CLIENT` and `TOOLBOOTH_MAX_CONNECTIONS`: 503 with "
        "Retry-After, and closed. Those who are there are served.",
        ("busy", "ok"),
    ),
)
faults = NumberedTests()

BRIEF = POLICY.replace("default: 20000", "default: 300")
QUIET = POLICY.replace("default: 20000", "default: 20000, idle: 200")
PRICED = POLICY.replace("tunnel:", "cost_usd: 0.000007, tunnel:")
ONE_A_MINUTE = PRICED.replace(
    "  catalog:",
    "  rate_limits: {default: {requests: 1, per_seconds: 19, max_wait_ms: 60000}}\n  catalog:",
)
MANY = 64 << 20  # bytes


async def silent(connection: OriginConnection) -> None:
    """Until the other side hangs up."""
    await connection.read_head()
    await connection.reader.read()


async def checked(world: World, limits: FrontLimits) -> None:
    """What the sidecar looks at once a second, until all connections of clients are gone."""
    world.sidecar.front.limits = limits
    async with asyncio.timeout(10):
        while len(world.sidecar.front):
            await world.sidecar.front._check_all()
            await asyncio.sleep(0.01)


async def has_clients(world: World, count: int) -> None:
    """Wait for so many connections."""
    await until(lambda: len(world.sidecar.front) == count)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST."""
    reset_when_closed(writer.get_extra_info("socket"))
    writer.transport.abort()


def used(world: World) -> tuple[int, int]:
    """Calls and microdollars of the one run."""
    runs = world.sidecar.booth.ledger.runs_table.every()
    return sum(run.tool_calls for run in runs), sum(run.spend_micros for run in runs)


# --- slow to send ---------------------------------------------------------------------------


@faults("F36: half a head is a 408 when a head's time is over, however it drips")
async def _half_a_head() -> None:
    for half in (b"G", GET, GET + b"X: y\r\nZ"):
        async with a_world(calls=["bad_request"]) as world:
            reader, writer = await world.sidecar.open()
            writer.write(half)
            await has_clients(world, 1)
            await asyncio.sleep(0.05)  # it has been read
            await checked(world, FrontLimits(head_s=0.1, linger_s=0.1))
            got = await reader.read()
            assert got.startswith(b"HTTP/1.1 408 ")
            assert is_closing(got)
            writer.close()
            assert world.seen == b""


def is_closing(got: bytes) -> bool:
    """Does this answer say that it is the last?"""
    return b"\r\nConnection: close\r\n" in got


@faults("F36: a connection without a byte is closed without a word")
async def _no_byte() -> None:
    async with a_world(calls=[]) as world:
        reader, writer = await world.sidecar.open()
        await has_clients(world, 1)
        await checked(world, FrontLimits(keep_alive_s=0.1))
        assert await reader.read() == b""
        writer.close()


@faults("F36: half of the content is a 504 when the call's time is over, and nothing has leaked")
async def _half_a_body() -> None:
    for half in (b"Content-Length: 9\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"):
        async with a_world(silent, policy=BRIEF, calls=["timeout"]) as world:
            reader, writer = await world.sidecar.open()
            writer.write(POST + half)
            got = await read_answer(reader)
            writer.close()
            assert is_told(got, Reason.TIMEOUT)
            assert is_closing(got)


# --- slow to read ---------------------------------------------------------------------------


class Flood:
    """An answer of many bytes; `sent`: how many the origin got rid of."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MANY)
        while self.sent < MANY:
            await connection.send(bytes(65536))
            self.sent += 65536


@asynccontextmanager
async def never_reading(world: World) -> AsyncIterator[None]:
    """A client with a small window, which asks and takes nothing."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", world.sidecar.port))
        await asyncio.get_running_loop().sock_sendall(sock, GET + END)
        yield


def backlog_bytes(world: World) -> int:
    """What waits in the sidecar for its clients."""
    return sum(connection._backlog_bytes() for connection in world.sidecar.front._connections)


@faults("F37: while a client takes nothing the upstream is not read, and little is kept")
async def _zero_window() -> None:
    flood, most = Flood(), 0
    async with a_world(flood, policy=BRIEF, calls=["timeout"]) as world, never_reading(world):
        async with asyncio.timeout(10):
            while not world.sidecar.records:
                most = max(most, backlog_bytes(world))
                await asyncio.sleep(0.005)
        assert 0 < most < 1 << 20
        assert flood.sent < MANY // 2
        await checked(world, FrontLimits(stall_s=0.1, linger_s=0.1))


@faults("F37: other clients are served meanwhile")
async def _beside_zero_window() -> None:
    async def script(connection: OriginConnection) -> None:
        head = await connection.read_head()
        if b" /other " in head:
            await connection.send(OK)
        else:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MANY)
            while True:
                await connection.send(bytes(65536))

    calls = ["ok", "timeout"]
    async with a_world(script, policy=BRIEF, calls=calls) as world, never_reading(world):
        await until(lambda: backlog_bytes(world) > 0)
        got = await world.ask(GET.replace(b"test/", b"test/other") + END)
        assert got.endswith(b"ok")
        await settled(world.sidecar)


# --- gone -----------------------------------------------------------------------------------


@faults("F38: a client that resets while the upstream works cancels it, and has used its call")
async def _gone_while() -> None:
    async with a_world(silent, policy=PRICED, calls=["client_gone"]) as world:
        _, writer = await world.sidecar.open()
        writer.write(GET + END)
        await until(lambda: world.seen != b"")
        reset(writer)
        await settled(world.sidecar)
        await until(lambda: not world.origin._writers)
        assert used(world) == (1, 7)


@faults("F38: one that resets in its answer ends the upstream's")
async def _gone_within() -> None:
    flood = Flood()
    async with a_world(flood, policy=PRICED, calls=["client_gone"]) as world:
        reader, writer = await world.sidecar.open()
        writer.write(GET + END)
        await reader.readexactly(4096)
        reset(writer)
        await settled(world.sidecar)
        await until(lambda: not world.origin._writers)
        assert flood.sent < MANY
        assert used(world) == (1, 7)


@faults("F38: one that goes while its call waits in line has used nothing")
async def _gone_before() -> None:
    async with a_world(policy=ONE_A_MINUTE, calls=["ok", "client_gone"]) as world:
        assert (await world.ask(GET + END)).endswith(b"ok")
        _, writer = await world.sidecar.open()
        writer.write(GET + END)
        await until(lambda: world.sidecar.booth.rates.waiting("a") == 1)
        assert used(world) == (2, 7)  # a place is reserved
        reset(writer)
        await settled(world.sidecar)
        assert world.sidecar.booth.rates.waiting("a") == 0
        assert used(world) == (1, 7)


@faults("F38: one that goes within its content takes the upstream's request with it")
async def _gone_in_content() -> None:
    async def script(connection: OriginConnection) -> None:
        while await connection.read_some():
            pass

    async with a_world(script, calls=["client_gone"]) as world:
        _, writer = await world.sidecar.open()
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await until(lambda: b"half" in world.seen)
        reset(writer)
        await settled(world.sidecar)
        await until(lambda: not world.origin._writers)
        assert not world.seen.endswith(b"0\r\n\r\n")


@faults("F38: a reset that comes as the last answer is over leaves no error")
async def _gone_at_the_end() -> None:
    async with a_world(calls=["ok"]) as world:
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", world.sidecar.port))
            await loop.sock_sendall(sock, GET + END)
            assert (await loop.sock_recv(sock, 65536)).endswith(b"ok")
            (connection,) = world.sidecar.front._connections
            reset_when_closed(sock)
        connection._end()  # before the loop has seen the reset
        await has_clients(world, 0)


# --- half-closed ----------------------------------------------------------------------------


async def half_closing(world: World) -> bytes:
    """All that comes to a client that ends its side behind its request."""
    reader, writer = await world.sidecar.open()
    writer.write(GET + END)
    writer.write_eof()
    async with asyncio.timeout(10):
        got = await reader.read()
    writer.close()
    return got


@faults("F39: an answer that is nearly there reaches a client that has half-closed")
async def _half_closed() -> None:
    async with a_world(calls=["ok"]) as world:
        assert (await half_closing(world)).endswith(b"\r\n\r\nok")


@faults("F39: a client that has half-closed is not waited for longer")
async def _half_closed_for_long() -> None:
    with patch("proxy.listeners.client._HALF_CLOSE_GRACE_S", 0.05):
        async with a_world(silent, calls=["client_gone"]) as world:
            await half_closing(world)
            await settled(world.sidecar)
            await until(lambda: not world.origin._writers)


async def opened(world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await world.sidecar.open()
    writer.write(CONNECT)
    assert (await read_answer(reader, is_head=True)).startswith(b"HTTP/1.1 200 ")
    return reader, writer


@faults("F40: behind the client's end of a tunnel the upstream's bytes still come")
async def _tunnel_half_closed() -> None:
    async def script(connection: OriginConnection) -> None:
        assert await connection.reader.read() == b"\x01last"
        await connection.send(b"good")
        await connection.send(b"bye")

    async with a_world(script, calls=["ok"]) as world:
        reader, writer = await opened(world)
        writer.write(b"\x01last")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b"goodbye"
        writer.close()


@faults("F40: behind the upstream's end of a tunnel the client's bytes still go")
async def _tunnel_half_closed_above() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.send(b"last")
        connection.writer.write_eof()
        while await connection.read_some():
            pass

    async with a_world(script, calls=["ok"]) as world:
        reader, writer = await opened(world)
        writer.write(b"\x01")
        assert await asyncio.wait_for(reader.read(), 5) == b"last"
        writer.write(b"more")
        writer.write_eof()
        await until(lambda: world.seen == b"\x01more")
        await settled(world.sidecar)
        writer.close()


@faults("F40: a tunnel that is half-closed and silent ends with its idle time")
async def _tunnel_half_open() -> None:
    is_over = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.reader.read()
        await is_over.wait()  # says nothing, and keeps its side

    async with a_world(script, policy=QUIET, calls=["timeout"]) as world:
        reader, writer = await opened(world)
        writer.write(b"\x01")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        await settled(world.sidecar)
        writer.close()
        is_over.set()
        await until(lambda: not world.origin._writers)


# --- crowds ---------------------------------------------------------------------------------


@faults("F41: one too many, of one address or of all, is told to come back, and others are served")
async def _flood() -> None:
    for limits in (FrontLimits(max_per_client=3), FrontLimits(max_connections=3)):
        async with a_world(calls=["busy"] * 5 + ["ok"] * 4) as world:
            world.sidecar.front.limits = limits
            there = [await world.sidecar.open() for _ in range(3)]
            await has_clients(world, 3)
            for _ in range(5):
                got = await world.ask(b"")
                assert is_told(got, Reason.BUSY)
                assert b"\r\nRetry-After: 1\r\n" in got
            assert len(world.sidecar.front) == 3
            for reader, writer in there:
                writer.write(GET + END)
                assert (await read_answer(reader)).endswith(b"ok")
                writer.close()
            await has_clients(world, 0)
            assert (await world.ask(GET + END)).endswith(b"ok")


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("run", faults.params)
def test_a_client_fails(run: Run, new_loop: NewLoop) -> None:
    run_on(new_loop, run)
