"""The bounds of the proxy port."""

import asyncio
import contextlib
import socket
from unittest.mock import patch

from proxy.guards.descriptors import Descriptors
from proxy.guards.memory import MemoryMark
from proxy.listeners.client import ClientConnection
from proxy.listeners.front import FrontLimits
from proxy.model.reason import Reason
from tests.fakes.origin import Origin, OriginConnection
from tests.fakes.sidecar import Sidecar, policy_text


async def test_an_answer_nobody_takes_ends_its_connection() -> None:
    """Its call is over and holds no place any more, so silence alone must not keep its buffer."""
    body = b"x" * (8 << 20)

    async def script(connection: OriginConnection) -> None:
        await connection.read_some()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    limits = FrontLimits(stall_s=0.5)
    async with Origin(script) as origin, Sidecar(policy_text(origin.port), limits) as sidecar:
        # What the sidecar cannot hand to the system it holds itself, and the call ends.
        with patch("proxy.listeners.client._WRITE_HIGH_BYTES", len(body)):
            _, writer = await sidecar.open()  # nobody reads from it
        writer.write(f"GET http://127.0.0.1:{origin.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        async with asyncio.timeout(10):
            while not sidecar.records:
                await asyncio.sleep(0.02)
            assert sidecar.records[0].code is Reason.OK
            assert len(sidecar.front) == 1
            while len(sidecar.front):
                await sidecar.front._check_all()
                await asyncio.sleep(0.05)
        writer.close()


async def test_one_address_has_a_cap_of_its_own() -> None:
    """Tunnels and all; what it closes it may open again."""
    limits = FrontLimits(max_per_client=1)
    async with Origin() as origin, Sidecar(policy_text(origin.port), limits) as sidecar:
        _, first = await sidecar.open()
        await asyncio.sleep(0.05)
        reader, second = await sidecar.open()
        answer = await asyncio.wait_for(reader.read(), 5)
        assert b"\r\nRetry-After: 1\r\n" in answer
        assert sidecar.records[0].rule == "TOOLBOOTH_MAX_CONNECTIONS_PER_CLIENT"
        first.close()
        second.close()
        async with asyncio.timeout(5):
            while len(sidecar.front):
                await asyncio.sleep(0.01)
        assert (await sidecar.get(f"http://127.0.0.1:{origin.port}/")).startswith(b"HTTP/1.1 200 ")


async def test_a_client_beyond_its_share_of_descriptors_is_told_or_just_closed() -> None:
    """There is a moment for an answer, but not without end."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        sidecar.front.limits = FrontLimits(descriptors=Descriptors(clients=0))
        told = await sidecar.exchange(b"")
        assert told.startswith(b"HTTP/1.1 503 ")
        assert sidecar.records[0].rule == "RLIMIT_NOFILE"
        sidecar.front.limits = FrontLimits(descriptors=Descriptors(clients=0, answers=0))
        reader, writer = await sidecar.open()
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        assert (sidecar.front.turned_away, len(sidecar.records)) == (2, 1)


async def test_the_idle_make_room_while_others_are_turned_away() -> None:
    """Once somebody found no place, seconds of silence suffice; after that, the usual time."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        front = sidecar.front
        assert front._limits_now() == front.limits
        front.turned_away += 1
        assert front._limits_now() == front.limits._replace(keep_alive_s=5.0, stall_s=5.0)
        assert front._limits_now() == front.limits
        sidecar.booth.memory.is_over = True
        assert front._limits_now().keep_alive_s == 5.0


async def test_short_of_memory_calls_are_refused() -> None:
    """By the walk, so that each way in says it in its own form."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        mark = sidecar.booth.memory = MemoryMark(1)
        mark.note(2)
        url = f"http://127.0.0.1:{origin.port}/"
        assert (await sidecar.get(url)).startswith(b"HTTP/1.1 200 ")  # one now and then
        refused = await sidecar.get(url)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in refused
        mark.note(0)
        assert (await sidecar.get(url)).startswith(b"HTTP/1.1 200 ")


async def test_requests_of_a_client_that_reads_no_answers_pile_up_no_further_than_a_bound() -> None:
    """Between its calls nothing else would bound them."""
    body = b"x" * 50_000

    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            await connection.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        request = b"GET %b/ HTTP/1.1\r\nHost: x\r\n\r\n" % origin.url.encode()
        with patch("proxy.listeners.client._WRITE_HIGH_BYTES", 4096), socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # nobody reads from it
            sock.connect(("127.0.0.1", sidecar.port))
            sock.sendall(request * 200)
            connection = await _first_connection(sidecar)
            async with asyncio.timeout(10):
                while not (connection._is_full and connection._exchange is None):
                    await asyncio.sleep(0.01)
            for _ in range(100):
                if connection._is_paused:
                    break
                connection.data_received(request * 100)  # as the loop does while it may read
            assert connection._is_paused
            assert len(connection._buffer) < 128 * 1024


async def _first_connection(sidecar: Sidecar) -> ClientConnection:
    async with asyncio.timeout(5):
        while not sidecar.front._connections:
            await asyncio.sleep(0.01)
    return next(iter(sidecar.front._connections))


async def test_a_bug_in_reading_a_request_ends_its_connection_and_is_told() -> None:
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        with patch("proxy.listeners.ways_in.read_question", side_effect=ValueError("a bug")):
            assert await sidecar.get(f"{origin.url}/") == b""
        assert [str(bug) for bug in sidecar.bugs] == ["a bug"]
        sidecar.bugs.clear()
        assert (await sidecar.get(f"{origin.url}/")).startswith(b"HTTP/1.1 200 ")
