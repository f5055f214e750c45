"""Answers: what an upstream must not say, and what a slow client must still get."""

import asyncio

import pytest

from proxy.listeners.front import FrontLimits
from proxy.model.call import Origin as Place
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.outbox import Outbox
from proxy.wire.opening import Opening, classify
from tests.fakes.origin import Origin, OriginConnection
from tests.fakes.sidecar import Sidecar, policy_text, read_answer


async def test_interim_answers_cannot_speak_as_the_sidecar() -> None:
    """A 103 is relayed without `Toolbooth-*`, hop-by-hop and framing fields."""
    interim = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nToolbooth-Code: max_tool_calls\r\n"
        b"Proxy-Status: toolbooth; error=x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 5\r\n\r\n"
    )

    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            await connection.send(interim)
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        head = (await sidecar.get(origin.url + "/")).lower()
        assert b"103 early hints" in head
        assert b"link:" in head

        head = head.replace(b"via: 1.1 toolbooth-test\r\n", b"")
        for name in (b"toolbooth-", b"proxy-status", b"connection", b"transfer-", b"content-l"):
            assert name not in head, name


async def test_a_connection_turned_away_does_not_stay() -> None:
    """Beyond the limit: told so and closed, though the client never closes its side."""
    limits = FrontLimits(linger_s=0.2, max_connections=1)
    async with Origin() as origin, Sidecar(policy_text(origin.port), limits) as sidecar:
        watch = sidecar.tasks.spawn(sidecar.front.watch())
        _, first = await sidecar.open()
        await asyncio.sleep(0.05)
        reader, writer = await sidecar.open()
        assert b" 503 " in await read_answer(reader)
        await asyncio.sleep(1)  # linger, and a round of the watch
        is_closed = False
        for _ in range(5):
            writer.write(b"x")  # a closed peer answers with a reset
            try:
                await writer.drain()
            except (BrokenPipeError, ConnectionResetError):
                is_closed = True
                break
            await asyncio.sleep(0.05)
        assert is_closed
        first.close()
        writer.close()
        watch.cancel()


async def test_a_slow_reader_gets_the_end_of_an_answer_that_closes() -> None:
    """With `Connection: close` the end of the answer may still lie in our write buffer when the
    walk is over; it is not thrown away while the client reads on, however slowly."""
    limits = FrontLimits(linger_s=0.3)
    async with Origin() as origin, Sidecar(policy_text(origin.port), limits) as sidecar:
        watch = sidecar.tasks.spawn(sidecar.front.watch())
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port, limit=1 << 10)
        while not sidecar.front._connections:
            await asyncio.sleep(0)
        transport = next(iter(sidecar.front._connections))._transport
        assert transport is not None
        size = 0  # fill what the kernel takes, so that the answer stays in our buffer
        while not transport.get_write_buffer_size():
            transport.write(b"x" * 65536)
            size += 65536
        writer.write(
            f"GET {origin.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        while not sidecar.records:
            await asyncio.sleep(0.005)
        await asyncio.sleep(2.5)  # the client thinks about what it has read so far
        async with asyncio.timeout(5):
            got = await reader.read()
        writer.close()
        watch.cancel()
        assert len(got) > size
        assert got.endswith(b"ok")


async def test_an_idle_client_that_never_reads_its_answer_is_let_go() -> None:
    """Closing flushes first; a client that reads nothing must not hold its place for ever."""
    limits = FrontLimits(keep_alive_s=0.2, stall_s=0.2)
    async with Origin() as origin, Sidecar(policy_text(origin.port), limits) as sidecar:
        watch = sidecar.tasks.spawn(sidecar.front.watch())
        _, writer = await asyncio.open_connection("127.0.0.1", sidecar.port, limit=1024)
        while not sidecar.front._connections:
            await asyncio.sleep(0)
        transport = next(iter(sidecar.front._connections))._transport
        assert transport is not None
        while transport.get_write_buffer_size() < 150_000:
            transport.write(b"x" * 50_000)
        async with asyncio.timeout(8):
            while len(sidecar.front):
                await asyncio.sleep(0.05)
        writer.close()
        watch.cancel()


async def test_a_reader_that_was_slow_before_the_call_does_not_pile_up_the_answer() -> None:
    """An earlier answer still lies unread below the high-water mark; the next, large one pauses
    the upstream with its first bytes, and it stays paused."""
    size = 64 * 1024 * 1024

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
        await connection.send(head + b"x" * 200_000)
        for _ in range(size // 65536):
            await connection.send(b"x" * 65536)

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        _, writer = await asyncio.open_connection("127.0.0.1", sidecar.port, limit=1024)
        while not sidecar.front._connections:
            await asyncio.sleep(0)
        transport = next(iter(sidecar.front._connections))._transport
        assert transport is not None
        while transport.get_write_buffer_size() < 150_000:
            transport.write(b"x" * 50_000)
        writer.write(
            f"GET {origin.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode()
        )
        most = 0
        for _ in range(50):
            await asyncio.sleep(0.01)
            most = max(most, transport.get_write_buffer_size())
        writer.close()
        assert most < 2 * 1024 * 1024


class FakeTransport(asyncio.Transport):
    """Knows whether it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: object) -> None:
        pass

    def abort(self) -> None:
        pass


@pytest.mark.parametrize("piled_up", [0, 400_000], ids=["nothing", "more than the limit"])
async def test_streaming_does_not_undo_the_pause_of_a_slow_client(piled_up: int) -> None:
    """The client can be slow before the walk streams to it, or become so with the content that
    piled up: reading stays paused, or the rest of the answer piles up in its buffer."""
    place, loop = Place("http", "a.example", 80), asyncio.get_running_loop()
    connection = UpstreamConnection(place, loop, Outbox())
    transport = FakeTransport()
    connection.connection_made(transport)
    waiting = connection.begin("GET", on_interim=lambda head: None, upgrade=False, idle_limit_s=0.0)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
    if piled_up:
        connection.data_received(b"x" * piled_up)
    await waiting
    connection.pause()  # what `Exchange.throttle` does for a client that is slow already
    streaming = asyncio.ensure_future(connection.stream(lambda content: connection.pause()))
    await asyncio.sleep(0)
    still_paused = not transport.reads
    streaming.cancel()
    assert still_paused


@pytest.mark.parametrize(
    "opening",
    [
        b"frob / HTTP/1.1\r\nHost: other.example\r\n\r\n",
        b"Frob / HTTP/1.1\r\nHost: other.example\r\n\r\n",
        b"X1 / HTTP/1.1\r\nHost: other.example\r\n\r\n",
        b"M.SEARCH / HTTP/1.1\r\nHost: other.example\r\n\r\n",
    ],
)
def test_a_request_with_any_token_as_method_is_http(opening: bytes) -> None:
    """Go's net/http serves any token as a method, so none of them hides a request in a tunnel."""
    assert classify(opening) is Opening.HTTP
