"""The upstream connection by itself, fed by hand."""

import asyncio

import pytest

from proxy.model.call import Origin
from proxy.model.errors import UpstreamFailed
from proxy.model.reason import Reason
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.outbox import Outbox

ORIGIN = Origin("http", "tool.test", 80)


class FakeTransport(asyncio.Transport):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_aborted = False
        self.calls: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def abort(self) -> None:
        self.is_aborted = True

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


def connected() -> tuple[UpstreamConnection, FakeTransport]:
    connection = UpstreamConnection(ORIGIN, asyncio.get_running_loop(), Outbox())
    transport = FakeTransport()
    connection.connection_made(transport)
    return connection, transport


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize("step", [1, 7, len(ANSWER)], ids=["by bytes", "by sevens", "whole"])
async def test_an_answer_is_read_however_it_is_split(step: int) -> None:
    """The content arrives once, in order, and the connection can be used again."""
    connection, _ = connected()
    waiting = connection.begin("GET", on_interim=lambda _: None, upgrade=False, idle_limit_s=0)
    for index in range(0, len(ANSWER), step):
        connection.data_received(ANSWER[index : index + step])
    answer = await waiting
    got = [answer.content]
    await connection.stream(got.append)
    assert b"".join(got) == b"hello"
    assert connection.is_reusable


async def test_bytes_on_an_idle_connection_close_it() -> None:
    """What nobody asked for is not an answer (RFC 9112 section 9.2)."""
    connection, transport = connected()
    connection.data_received(ANSWER)
    assert transport.is_aborted
    assert not connection.is_open


async def test_an_answer_that_ends_by_close_is_whole_only_after_a_clean_end() -> None:
    """EOF completes it; a reset does not."""
    for is_clean in (True, False):
        connection, _ = connected()
        waiting = connection.begin("GET", on_interim=lambda _: None, upgrade=False, idle_limit_s=0)
        connection.data_received(b"HTTP/1.1 200 OK\r\n\r\npart")
        answer = await waiting
        assert not answer.is_whole
        streaming = asyncio.ensure_future(connection.stream(lambda _: None))
        await asyncio.sleep(0)
        if is_clean:
            connection.eof_received()
            await streaming
        else:
            connection.connection_lost(ConnectionResetError())
            with pytest.raises(UpstreamFailed) as caught:
                await streaming
            assert caught.value.reason is Reason.UPSTREAM_RESET
        assert not connection.is_reusable


async def test_a_connection_goes_back_reading() -> None:
    """Whoever read slowly last must not leave it paused for the next call."""
    connection, transport = connected()
    waiting = connection.begin("GET", on_interim=lambda _: None, upgrade=False, idle_limit_s=0)
    connection.data_received(ANSWER)
    await waiting
    connection.pause()
    connection.pause()
    assert transport.calls == ["pause"]
    connection.finish()
    assert transport.calls == ["pause", "resume"]


async def test_what_nobody_reads_yet_is_bounded() -> None:
    """Content that comes before the relay is ready pauses the upstream and is then handed on."""
    connection, transport = connected()
    waiting = connection.begin("GET", on_interim=lambda _: None, upgrade=False, idle_limit_s=0)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n")
    await waiting
    for _ in range(3):
        connection.data_received(b"x" * 100_000)
    assert transport.calls == ["pause"]
    got: list[bytes] = []
    streaming = asyncio.ensure_future(connection.stream(got.append))
    await asyncio.sleep(0)
    assert transport.calls == ["pause", "resume"]
    connection.data_received(b"x" * 100_000)
    await streaming
    assert sum(map(len, got)) == 400_000


async def test_silence_is_bounded() -> None:
    """No byte for the idle limit fails the answer as a timeout and closes the connection."""
    connection, transport = connected()
    waiting = connection.begin("GET", on_interim=lambda _: None, upgrade=False, idle_limit_s=0.02)
    with pytest.raises(UpstreamFailed) as caught:
        await asyncio.wait_for(waiting, 2)
    assert caught.value.reason is Reason.TIMEOUT
    assert transport.is_aborted


async def test_a_connection_that_died_before_it_was_used_says_so() -> None:
    """`begin` on a closed connection fails at once instead of waiting for ever."""
    connection, _ = connected()
    connection.connection_lost(None)
    with pytest.raises(UpstreamFailed):
        await connection.begin("GET", on_interim=lambda _: None, upgrade=False, idle_limit_s=0)
