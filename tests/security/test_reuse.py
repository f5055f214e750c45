"""What one call leaves behind on a connection must never reach the next call."""

import asyncio

from proxy.model.reason import Reason
from tests.fakes.origin import OK, Origin, OriginConnection
from tests.fakes.sidecar import Sidecar, policy_text, read_answer
from tests.fakes.waiting import until


async def test_an_early_503_does_not_pool_a_connection_that_still_awaits_content() -> None:
    """A retryable answer that comes before the upload is over: the connection owes the rest of
    the content, so another call's head on it would be read as that content."""
    seen: list[bytes] = []

    async def script(connection: OriginConnection) -> None:
        head = await connection.read_head()
        if head.startswith(b"PUT"):
            await connection.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            while data := await connection.read_some():
                seen.append(data)  # a server that drains the content it announced
        elif head:
            await connection.send(OK)

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        _, writer = await sidecar.open()
        writer.write(
            f"PUT {origin.url}/a HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".encode()
        )
        await until(lambda: len(origin.heads) >= 2 or b"PUT" in b"".join(seen))
        writer.close()

        assert b"PUT" not in b"".join(seen), seen


async def test_a_connection_paused_for_a_slow_client_reads_again_for_the_next_call() -> None:
    """The last piece of a large answer can pause the upstream; the next call must hear it."""
    body = b"x" * (16 * 1024 * 1024)

    async def script(connection: OriginConnection) -> None:
        while head := await connection.read_head():
            if b"/large" in head:
                await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
                await connection.send(body)
            else:
                await connection.send(OK)

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port, limit=1 << 16)
        writer.write(
            f"GET {origin.url}/large HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        got = 0
        while not sidecar.records:  # just until the sidecar has all of it
            got += len(await reader.read(1 << 16))
            await asyncio.sleep(0)
        idle = [c for kept in sidecar.booth.pool._idle.values() for c in kept]
        assert len(idle) == 1
        transport = idle[0]._transport
        assert transport is not None
        assert transport.is_reading()
        writer.close()


async def test_the_end_of_the_bytes_is_not_told_to_the_next_call_on_the_connection() -> None:
    """A call that used up the run's bytes with its last answer; the next request of another run
    on the same client connection is a call of its own."""
    extra = "budgets: {max_bytes: 1}\n"
    async with Origin() as origin, Sidecar(policy_text(origin.port, extra=extra)) as sidecar:
        reader, writer = await sidecar.open()
        for run in ("one", "two"):
            writer.write(
                f"GET {origin.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n"
                f"X-Agent-Run-Id: {run}\r\n\r\n".encode()
            )
        first = await read_answer(reader)
        second = await read_answer(reader)
        await until(lambda: len(sidecar.records) == 2)
        codes = [record.code for record in sidecar.records]
        assert Reason.DRAINING not in codes, codes
        assert first
        assert second
        writer.close()


async def test_an_upload_does_not_outlive_the_answer_that_broke_off() -> None:
    """The answer breaks off while content is still coming: nothing keeps waiting for the rest."""

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await asyncio.sleep(0.05)
        connection.reset()

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        _, writer = await sidecar.open()
        writer.write(
            f"POST {origin.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".encode()
        )
        await until(lambda: sidecar.records)
        writer.close()
        await until(lambda: not len(sidecar.front))
        for _ in range(20):
            await asyncio.sleep(0.01)

        assert not sidecar.tasks._tasks
        assert sidecar.records[0].code is Reason.UPSTREAM_RESET
