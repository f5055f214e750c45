"""Content on its way up: none lost, none waited for in vain."""

import asyncio

from proxy.model.reason import Reason
from tests.fakes.origin import Origin, OriginConnection
from tests.fakes.sidecar import Sidecar, policy_text, read_answer

LOOP = "budgets: {loop_limit: 5}\n"


async def test_large_chunked_content_arrives_whole_with_loop_detection_on() -> None:
    """Loop detection reads ahead; what proves too large to keep must still be sent."""
    content = bytes(range(256)) * 1200  # 307,200 bytes, beyond what is kept
    got = bytearray()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        while not got.endswith(b"0\r\n\r\n"):
            got.extend(await connection.read_some())
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with Origin(script) as origin, Sidecar(policy_text(origin.port, extra=LOOP)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(
            f"POST {origin.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        for at in range(0, len(content), 16384):
            part = content[at : at + 16384]
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        assert (await read_answer(reader)).endswith(b"ok")
        decoded = _unchunk(bytes(got))

        assert len(decoded) == len(content)
        assert decoded == content
        writer.close()


async def test_a_client_that_awaits_100_continue_gets_it_with_loop_detection_on() -> None:
    """Loop detection wants the content before the upstream is asked, so somebody has to say
    100 Continue, or both sides wait until the deadline."""
    async with Origin() as origin, Sidecar(policy_text(origin.port, extra=LOOP)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(
            f"POST {origin.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n"
            "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        async with asyncio.timeout(3):
            head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 100")
        writer.close()


async def test_sampled_content_is_captured_with_loop_detection_on() -> None:
    """What loop detection reads ahead belongs into the sampled record as well."""
    extra = LOOP + "observability: {result_sample_rate: 1.0}\n"
    async with Origin() as origin, Sidecar(policy_text(origin.port, extra=extra)) as sidecar:
        answer = await sidecar.exchange(
            f"POST {origin.url}/ HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n"
            "Content-Length: 5\r\n\r\nhello".encode()
        )
        assert answer.endswith(b"ok")
        request = sidecar.records[0].request
        assert request is not None
        assert bytes(request.body) == b"hello"


async def test_content_cut_short_behind_a_pipelined_request_is_refused_at_once() -> None:
    """EOF came while an earlier request was walked: the later one's content will never be whole,
    so it must not hold a slot until the deadline."""

    async def slow(connection: OriginConnection) -> None:
        while await connection.read_head():
            await asyncio.sleep(0.2)
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with Origin(slow) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        head = f"Host: 127.0.0.1:{origin.port}\r\n"
        writer.write(f"GET {origin.url}/ HTTP/1.1\r\n{head}\r\n".encode())
        writer.write(
            f"POST {origin.url}/ HTTP/1.1\r\n{head}Content-Length: 10\r\n\r\nhello".encode()
        )
        writer.write_eof()
        assert (await read_answer(reader)).endswith(b"ok")
        async with asyncio.timeout(3):
            await read_answer(reader)
            while len(sidecar.records) < 2:
                await asyncio.sleep(0.01)
        assert sidecar.records[1].code in (Reason.BAD_REQUEST, Reason.CLIENT_GONE)
        writer.close()


def _unchunk(data: bytes) -> bytes:
    content = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return content
        content += data[:length]
        data = data[length + 2 :]
