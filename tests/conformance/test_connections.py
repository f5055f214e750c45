"""R63 to R71: connections, tunnels, and what a proxy without a cache leaves alone."""

import asyncio
import socket
import ssl

import pytest
import trustme
import uvloop

from proxy.model.reason import Reason
from proxy.upstream.trust import TrustStore
from tests.conformance.world import (
    CONNECT,
    END,
    GET,
    POST,
    Run,
    Scenarios,
    World,
    a_world,
    after_head,
    plain,
    upstream,
)
from tests.fakes.origin import OK, OriginConnection
from tests.fakes.sidecar import read_answer

scenarios = Scenarios()
refuses, passes, answers = scenarios.refuses, scenarios.passes, scenarios.answers
OK_LINE = b"HTTP/1.1 200 OK\r\n"
NEXT = b"GET http://a.test/next HTTP/1.1\r\nHost: a.test\r\n\r\n"
DENIED = b"POST http://b.test/ HTTP/1.1\r\nHost: b.test\r\n"
SEEN = upstream(b"GET / HTTP/1.1")
SEEN_NEXT = upstream(b"GET /next HTTP/1.1")


async def until(world: World, count: int = 1) -> None:
    """`count` records are there."""
    async with asyncio.timeout(20):
        while len(world.sidecar.records) < count:
            await asyncio.sleep(0.005)


@scenarios("R63: a refusal before the content has come ends the connection")
async def _unread_content() -> None:
    async with a_world() as world:
        got = await world.to_the_end(DENIED + b"Content-Length: 9\r\n\r\nGET")
        assert got.startswith(b"HTTP/1.1 403 ")
        assert b"\r\nConnection: close\r\n" in got
        assert len(world.sidecar.records) == 1


@scenarios("R63: content that has come is not the next request")
async def _read_content() -> None:
    async with a_world() as world:
        reader, writer = await world.sidecar.open()
        writer.write(DENIED + b"Content-Length: %d\r\n\r\n" % len(NEXT) + NEXT + GET + END)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 403 ")
        assert (await read_answer(reader)).startswith(OK_LINE)
        assert world.seen == SEEN
        writer.close()


@scenarios("R63: an early answer of the origin leaves no content behind")
async def _early_answer() -> None:
    async with a_world(after_head(OK, closes=False)) as world:
        got = await world.to_the_end(POST + b"Content-Length: 100000\r\n\r\npart")
        assert got.startswith(OK_LINE)
        assert b"\r\nConnection: close\r\n" in got
        assert world.sidecar.booth.pool.idle_count == 0


@scenarios("R64: no connection is kept with an HTTP/1.0 client, whatever it says")
async def _http10() -> None:
    async with a_world() as world:
        raw = b"GET http://a.test/ HTTP/1.0\r\nConnection: keep-alive\r\nKeep-Alive: 9\r\n\r\n"
        got = await world.to_the_end(raw + NEXT)
        assert got.count(OK_LINE) == 1
        assert b"\r\nConnection: close\r\n" in got
        assert b"keep-alive" not in got.lower()
        assert len(world.origin.heads) == 1


@scenarios("R65: pipelined answers come in the order of their requests")
async def _pipeline() -> None:
    async def script(connection: OriginConnection) -> None:
        while head := await connection.read_head():
            path = head.split()[1]
            await asyncio.sleep(0.02 if path == b"/slow" else 0)
            await connection.send(OK_LINE + b"Content-Length: 5\r\n\r\n" + path)

    async with a_world(script) as world:
        reader, writer = await world.sidecar.open()
        for path in (b"slow", b"fast", b"slow", b"fast"):
            writer.write(GET.replace(b"a.test/", b"a.test/" + path) + END)
        got = [(await read_answer(reader))[-5:] for _ in range(4)]
        assert got == [b"/slow", b"/fast", b"/slow", b"/fast"]
        writer.close()


@scenarios("R66: nothing is read after a request that closes")
async def _client_closes() -> None:
    async with a_world() as world:
        got = await world.to_the_end(GET + b"Connection: Close\r\n\r\n" + NEXT)
        assert got.count(OK_LINE) == 1
        assert b"\r\nConnection: close\r\n" in got
        assert world.seen == SEEN


@scenarios("R66: a connection whose upstream closes is not used again")
async def _upstream_closes() -> None:
    answer = OK_LINE + b"Connection: close\r\nContent-Length: 2\r\n\r\nok"
    async with a_world(after_head(answer, closes=False)) as world:
        reader, writer = await world.sidecar.open()
        for raw in (GET + END, NEXT):
            writer.write(raw)
            got = plain(await read_answer(reader))
            assert got == OK  # for the client's connection it means nothing
        assert [c.received for c in world.origin.connections] == [SEEN, SEEN_NEXT]
        writer.close()


@scenarios("R67: bytes on an idle connection are no answer")
async def _unasked() -> None:
    poison = OK_LINE + b"Content-Length: 6\r\n\r\npoison"
    sent = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(OK)
        await sent.wait()
        await connection.send(poison)
        await connection.read_head()
        await connection.send(OK)

    async with a_world(script) as world:
        assert (await world.ask(GET + END)).endswith(b"ok")
        assert world.sidecar.booth.pool.idle_count == 1
        sent.set()
        async with asyncio.timeout(20):
            assert await world.origin.connections[0].reader.read() == b""
        assert (await world.ask(GET + END)).endswith(b"ok")
        assert len(world.origin.connections) == 2


@scenarios("R67: nor are bytes behind an answer")
async def _surplus() -> None:
    poison = OK_LINE + b"Content-Length: 6\r\n\r\npoison"
    async with a_world(after_head(OK + poison, closes=False)) as world:
        for _ in range(2):
            assert (await world.ask(GET + END)).endswith(b"ok")
        assert len(world.origin.connections) == 2


@scenarios("R68: a client that goes away ends the work upstream")
async def _client_gone() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        asked.set()
        await connection.reader.read()
        gone.set()

    async with a_world(script) as world:
        _, writer = await world.sidecar.open()
        writer.write(GET + END)
        async with asyncio.timeout(20):
            await asked.wait()
            writer.transport.abort()
            await gone.wait()
        await until(world)
        assert world.sidecar.records[0].code is Reason.CLIENT_GONE


@scenarios("R69: what one end sent last still reaches the other")
async def _last_bytes() -> None:
    last = b"\x00" * 300_000

    async def script(connection: OriginConnection) -> None:
        await connection.read(1)
        await connection.send(last)

    async with a_world(script) as world:
        reader, writer = await world.sidecar.open()
        writer.write(CONNECT + b"\x00")
        async with asyncio.timeout(20):
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.read() == last
        writer.close()
        await until(world)
    async with a_world(drain) as world:
        reader, writer = await world.sidecar.open()
        writer.write(CONNECT + last)
        writer.write_eof()
        async with asyncio.timeout(20):
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
        await until(world)
        assert world.seen == last
        writer.close()


async def drain(connection: OriginConnection) -> None:
    """Read to the end, then close."""
    while await connection.read_some():
        pass


@scenarios("R70: an upstream over TLS is told of the end by an alert")
async def _alert() -> None:
    """As a TLS server the sidecar would have to do the same; this one ends no client's TLS."""
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("a.test").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)
    ends: list[bool] = []

    def serve(sock: ssl.SSLSocket) -> None:
        """Blocking, in a thread: only a plain socket tells the two ends apart."""
        sock.recv(65536)
        sock.sendall(OK)
        try:
            ends.append(sock.recv(1) == b"")
        except (ssl.SSLError, OSError):
            ends.append(False)
        sock.close()

    loop = asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        sock, _ = listening.accept()
        serve(server_tls.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False))

    served = loop.run_in_executor(None, accept)
    async with a_world() as world:
        world.sidecar.booth.pool._trust = TrustStore(lambda _: client_tls)
        world.network.leads_to[443] = listening.getsockname()[1]
        got = await world.ask(b"GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert got.endswith(b"ok")
        world.sidecar.booth.pool.close()
        await asyncio.wait_for(served, 5)
    listening.close()
    assert ends == [True]


AGED = (
    OK_LINE + b"Age: 17\r\nCache-Control: max-age=60\r\nExpires: 0\r\nContent-Length: 2\r\n\r\nok"
)
answers("R71: Age comes back as it was", AGED, AGED)
answers("R71: and is not added", OK, OK)


@pytest.mark.parametrize("run", scenarios.params)
async def test_requirement(run: Run) -> None:
    await run()


def test_the_alert_on_the_loop_of_production() -> None:
    """R70 again: uvloop has a TLS implementation of its own, and writes later."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_alert())
