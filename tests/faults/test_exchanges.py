"""F28 to F35: answers nobody asked for, early ones, endless ones, and connections that are kept."""

import asyncio
import gzip

import pytest

from proxy.model.reason import Reason
from tests.conformance.world import END, GET, POLICY, POST, World, plain
from tests.fakes.origin import OK, OriginConnection
from tests.fakes.sidecar import read_answer
from tests.fakes.waiting import until
from tests.faults.fault import LOOPS, Fault, NewLoop, Run, run_on
from tests.faults.world import a_world, is_told
from tests.numbered import NumberedTests

FAULTS = (
    Fault(
        28,
        "a second answer nobody asked for; bytes on an idle connection",
        "The connection is dropped; the next call gets a new one and its own answer.",
        ("ok",),
    ),
    Fault(
        29,
        "429 or 503 with a Retry-After of an hour, a century, or nonsense",
        "Relayed as it is; waited for only where it fits the call's time, else not tried again. "
        "What is no time counts as not said.",
        ("ok",),
    ),
    Fault(
        30,
        "a final answer while the request is still uploading",
        "Relayed at once; the upload stops, and both connections are closed after it.",
        ("ok",),
    ),
    Fault(
        31,
        "an answer without end",
        "Cut at the run's `max_bytes` or the call's time, whichever is first; what waits for a "
        "slow client is bounded.",
        ("max_bytes", "timeout"),
    ),
    Fault(
        32,
        "a kept connection that the upstream closes as the request is sent",
        "Tried again where the request may be repeated; a call that may not be gets a connection "
        "that has idled less than 4 s, or a new one.",
        ("ok", "upstream_reset"),
    ),
    Fault(
        33,
        "101 unasked; asked, but answered 200",
        "502; relayed as any answer, and the connection stays HTTP.",
        ("upstream_invalid", "ok"),
    ),
    Fault(
        34,
        "a compressed answer that unpacks to a thousand times its size, while it is read along",
        "Reading stops at its bounds and charges an estimate; the answer is relayed untouched.",
        ("ok",),
    ),
    Fault(
        35,
        "a stream of events that goes on and on",
        "Passed on event by event within the call's time, which a tool may set; silence beyond "
        "`timeouts_ms.idle` ends it.",
        ("ok", "timeout"),
    ),
)
faults = NumberedTests()

RETRIED = POLICY.replace("{max: 0}", "{max: 2, backoff_ms: [1, 2]}")
BRIEF = RETRIED.replace("default: 20000", "default: 300")
QUIET = RETRIED.replace("default: 20000", "default: 20000, idle: 200")
OK_LINE = b"HTTP/1.1 200 OK\r\n"
STRAY = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
EVENTS = OK_LINE + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


@faults("F28: a second answer behind the first is nobody's, and ends its connection")
async def _second_answer() -> None:
    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            await connection.send(OK + STRAY)

    async with a_world(script, calls=["ok", "ok"]) as world:
        for _ in range(2):
            assert plain(await world.ask(GET + END)) == OK
        assert len(world.origin.connections) == 2
        assert world.sidecar.booth.pool.idle_count == 0


@faults("F28: bytes on an idle connection end it before the next call can take them for its answer")
async def _poisoned_pool() -> None:
    poison = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(OK)
        if len(connection.origin.connections) == 1:
            await poison.wait()
            await connection.send(STRAY)
        await connection.read_head()

    async with a_world(script, calls=["ok", "ok"]) as world:
        pool = world.sidecar.booth.pool
        assert plain(await world.ask(GET + END)) == OK
        kept = next(iter(pool._idle.values()))[0]
        poison.set()
        await until(lambda: not kept.is_open)
        assert plain(await world.ask(GET + END)) == OK
        assert len(world.origin.connections) == 2


RETRY_AFTERS = (b"3600", b"999999999999", b"Wed, 25 Nov 2126 00:00:00 GMT")
NO_TIMES = (b"soon", b"-1", b"1.5", b"")
for _status in (429, 503):

    @faults(f"F29: a {_status} that asks for more time than the call has is relayed, once")
    async def _too_long(status: int = _status) -> None:
        for value in RETRY_AFTERS:
            answer = b"HTTP/1.1 %d No\r\nRetry-After: %b\r\nContent-Length: 0\r\n\r\n"

            async def script(
                connection: OriginConnection, raw: bytes = answer % (status, value)
            ) -> None:
                while await connection.read_head():
                    await connection.send(raw)

            async with a_world(script, policy=RETRIED, calls=["ok"]) as world:
                got = await world.ask(GET + END)
                assert got.startswith(b"HTTP/1.1 %d No\r\n" % status)
                assert b"\r\nRetry-After: %b\r\n" % value in got
                assert b"\r\nX-Should-Retry: false\r\n" in got
                assert len(world.origin.heads) == 1


@faults("F29: a Retry-After that is no time is not waited for")
async def _no_time() -> None:
    for value in NO_TIMES:
        raw = b"HTTP/1.1 503 No\r\nRetry-After: %b\r\nContent-Length: 0\r\n\r\n" % value

        async def script(connection: OriginConnection, raw: bytes = raw) -> None:
            while await connection.read_head():
                await connection.send(raw if len(connection.origin.heads) < 3 else OK)

        async with a_world(script, policy=RETRIED, calls=["ok"]) as world:
            assert plain(await world.ask(GET + END)) == OK
            assert len(world.origin.heads) == 3


@faults("F30: an early answer is relayed at once, and nothing more is uploaded")
async def _early_answer() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await connection.reader.read()  # until it hangs up

    async with a_world(script, policy=RETRIED, calls=["ok"]) as world:
        reader, writer = await world.sidecar.open()
        writer.write(POST + b"Content-Length: 10000000\r\n\r\n" + b"a" * 200_000)
        got = await read_answer(reader)
        assert got.startswith(b"HTTP/1.1 413 Too Large\r\n")
        assert b"\r\nConnection: close\r\n" in got
        assert got.endswith(b"big")
        writer.close()
        await is_left(world)
        assert world.sidecar.booth.pool.idle_count == 0


async def endless(connection: OriginConnection) -> None:
    """Chunks as long as they are taken."""
    await connection.read_head()
    await connection.send(OK_LINE + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        await connection.send(b"4000\r\n" + b"a" * 0x4000 + b"\r\n")


async def all_of(world: World) -> int:
    """How many bytes come until the sidecar hangs up."""
    reader, writer = await world.sidecar.open()
    writer.write(GET + END)
    count = 0
    try:
        while data := await reader.read(65_536):
            count += len(data)
            assert not data.endswith(b"\r\n0\r\n\r\n")
    except ConnectionResetError:
        pass
    writer.close()
    await is_left(world)
    return count


async def is_left(world: World) -> None:
    """The sidecar has hung up on all of the origin's connections, and their scripts know."""
    await until(lambda: not world.origin._writers)


@faults("F31: an endless answer ends at the run's bytes, without a last chunk")
async def _endless_to_bytes() -> None:
    policy = RETRIED + "budgets: {max_bytes: 1000000}\n"
    async with a_world(endless, policy=policy, calls=["max_bytes"]) as world:
        assert 1_000_000 <= await all_of(world) < 1_300_000


@faults("F31: an endless answer ends with the call's time")
async def _endless_to_deadline() -> None:
    async with a_world(endless, policy=BRIEF, calls=["timeout"]) as world:
        assert await all_of(world) > 0


@faults("F31: a client that does not read makes the upstream wait, and memory stays what it is")
async def _endless_unread() -> None:
    sent = 0

    async def script(connection: OriginConnection) -> None:
        nonlocal sent
        await connection.read_head()
        await connection.send(OK_LINE + b"Transfer-Encoding: chunked\r\n\r\n")
        while True:
            await connection.send(b"4000\r\n" + b"a" * 0x4000 + b"\r\n")
            sent += 0x4000

    async with a_world(script, policy=RETRIED, calls=["client_gone"]) as world:
        _, writer = await world.sidecar.open()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET + END)
        await until(lambda: sent > 0)
        before = -1
        while sent != before:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.2)
        assert sent < 16_000_000  # the buffers of four sockets and ours, not what was sent
        writer.transport.abort()
        await is_left(world)


@faults("F32: a connection that is closed as it is used again costs a retry, not the call")
async def _keep_alive_race() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(OK)
        if len(connection.origin.connections) == 1:
            await connection.read_head()  # and hang up instead of answering
            return
        await connection.read_head()

    async with a_world(script, policy=RETRIED, calls=["ok", "ok"]) as world:
        assert plain(await world.ask(GET + END)) == OK
        assert plain(await world.ask(GET + END)) == OK
        assert [record.attempts for record in world.sidecar.records] == [1, 2]


@faults("F32: a POST on such a connection is not sent twice")
async def _keep_alive_race_post() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(OK)
        await connection.read_head()

    async with a_world(script, policy=RETRIED, calls=["ok", "upstream_reset"]) as world:
        assert plain(await world.ask(GET + END)) == OK
        got = await world.ask(POST + b"Content-Length: 0\r\n\r\n")
        assert is_told(got, Reason.UPSTREAM_RESET)
        assert len(world.origin.heads) == 2


@faults("F32: a POST takes no connection that has idled for long")
async def _old_connection() -> None:
    async with a_world(policy=RETRIED, calls=["ok", "ok"]) as world:
        assert plain(await world.ask(GET + END)) == OK
        kept = next(iter(world.sidecar.booth.pool._idle.values()))[0]
        kept.idle_since_s -= 5
        assert plain(await world.ask(POST + b"Content-Length: 0\r\n\r\n")) == OK
        assert len(world.origin.connections) == 2


UPGRADE = GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@faults("F33: a 101 nobody asked for is a 502")
async def _unasked_switch() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(SWITCH + b"bytes of another protocol")
        await connection.reader.read()

    async with a_world(script, policy=RETRIED, calls=["upstream_invalid"]) as world:
        assert is_told(await world.ask(GET + END), Reason.UPSTREAM_INVALID)
        assert len(world.origin.heads) == 1


@faults("F33: an upgrade that is declined is an answer, and the next request is one too")
async def _declined_switch() -> None:
    async with a_world(policy=RETRIED, calls=["ok", "ok"]) as world:
        reader, writer = await world.sidecar.open()
        writer.write(UPGRADE)
        assert plain(await read_answer(reader)) == OK
        writer.write(GET + END)
        assert plain(await read_answer(reader)) == OK
        writer.close()


@faults("F34: a bomb in a model's answer is read up to a bound and relayed whole")
async def _bomb() -> None:
    bomb = gzip.compress(b'{"usage": {"prompt_tokens": 1}, "x": "' + b" " * 50_000_000 + b'"}')
    assert len(bomb) < 100_000
    head = OK_LINE + b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(bomb)

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.read(2)
        await connection.send(head + bomb)

    policy = RETRIED.replace("a: {", "a: {kind: model, ")
    async with a_world(
        script, policy=policy + "budgets: {max_tokens: 1000000}\n", calls=["ok"]
    ) as world:
        got = await world.ask(POST + b"Content-Length: 2\r\n\r\n{}")
        assert got.partition(b"\r\n\r\n")[2] == bomb
        record = world.sidecar.records[0]
        assert record.is_usage_unread
        assert record.tokens > 1


@faults("F35: events reach the client as they come, each by itself")
async def _events() -> None:
    taken = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(EVENTS)
        for number in range(20):
            taken.clear()
            event = b"data: %d\n\n" % number
            await connection.send(b"%x\r\n%b\r\n" % (len(event), event))
            await taken.wait()  # not one more before this one has arrived
        await connection.send(b"0\r\n\r\n")

    async with a_world(script, policy=RETRIED, calls=["ok"]) as world:
        reader, writer = await world.sidecar.open()
        writer.write(GET + END)
        for number in range(20):
            await reader.readuntil(b"data: %d\n\n\r\n" % number)
            taken.set()
        assert await reader.readuntil(b"0\r\n\r\n") == b"0\r\n\r\n"
        writer.close()


@faults("F35: a stream that falls silent ends, one that speaks does not")
async def _silent_stream() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(EVENTS)
        for _ in range(6):
            await asyncio.sleep(0.1)  # twice as often as silence is allowed to last
            await connection.send(b"4\r\n: \n\n\r\n")
        await connection.reader.read()

    async with a_world(script, policy=QUIET, calls=["timeout"]) as world:
        got = plain(await world.to_the_end(GET + END))
        assert got.count(b"4\r\n: \n\n\r\n") == 6
        assert not got.endswith(b"0\r\n\r\n")


@faults("F35: a stream outlasts no call, whose time a tool may set")
async def _long_stream() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(EVENTS)
        while True:
            await asyncio.sleep(0.05)
            await connection.send(b"4\r\n: \n\n\r\n")

    async with a_world(script, policy=BRIEF, calls=["timeout"]) as world:
        got = plain(await world.to_the_end(GET + END))
        await is_left(world)
        assert got.startswith(EVENTS)
        assert not got.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("run", faults.params)
def test_fault(run: Run, new_loop: NewLoop) -> None:
    run_on(new_loop, run)
