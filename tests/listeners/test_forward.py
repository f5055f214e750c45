"""Absolute-form requests through the real data path, against a scripted origin."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from proxy.listeners.front import FrontLimits
from proxy.model.reason import Reason
from tests.fakes.origin import OK, Origin, OriginConnection, answering
from tests.fakes.sidecar import Sidecar, policy_text, read_answer


async def test_get_is_relayed_and_marked() -> None:
    """An allowed GET reaches the origin in origin-form and its answer carries our marks."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        answer = await sidecar.get(f"{origin.url}/a%2Fb/%7E/./x;y=1?b=%20+&c=%c3%a9")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nok")
        assert b"Toolbooth-Call-Id: test-1\r\nToolbooth-Tool: echo\r\n" in answer
        assert b"Toolbooth-Attempts: 1\r\n" in answer
        assert b"\r\nDate: " in answer
        assert origin.heads[0].startswith(
            b"GET /a%2Fb/%7E/./x;y=1?b=%20+&c=%c3%a9 HTTP/1.1\r\nHost: 127.0.0.1:"
        )
        assert [record.code for record in sidecar.records] == [Reason.OK]


STRIPPED = [
    pytest.param("Proxy-Authorization: Basic cnVuOng=", id="the run id's credentials stop here"),
    pytest.param("Proxy-Connection: keep-alive", id="Proxy-Connection is hop-by-hop"),
    pytest.param("Keep-Alive: timeout=9", id="Keep-Alive is hop-by-hop"),
    pytest.param("TE: trailers", id="TE is hop-by-hop"),
    pytest.param("Trailer: X", id="Trailer is hop-by-hop"),
    pytest.param("Upgrade: h2c", id="an upgrade nobody serves stops here"),
    pytest.param("X-Agent-Run-Id: r1", id="the run header is consumed"),
    pytest.param("X-Agent-Id: a1", id="the agent header is consumed"),
    pytest.param("Proxy: http://evil.test", id="httpoxy stops here"),
    pytest.param(
        "Connection: X-Private\r\nX-Private: 1", id="what Connection nominates stops here"
    ),
    pytest.param("baggage: agent.run_id=r1", id="baggage that only names the run stops here"),
]


@pytest.mark.parametrize("line", STRIPPED)
async def test_fields_that_are_not_for_the_origin_stop_here(line: str) -> None:
    """Hop-by-hop fields and those meant for us never reach the origin."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        answer = await sidecar.get(f"{origin.url}/", line, "X-Kept: yes")
        assert answer.startswith(b"HTTP/1.1 200")
        name = line.split(":")[0].lower().encode()
        assert name + b":" not in origin.heads[0].lower()
        assert b"x-private" not in origin.heads[0].lower()
        assert b"X-Kept: yes\r\n" in origin.heads[0]


async def test_other_baggage_goes_on() -> None:
    """Only the run id is taken out of the baggage."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        await sidecar.get(f"{origin.url}/", "baggage: a=1, agent.run_id=r7, b=2")
        assert b"baggage: a=1,b=2\r\n" in origin.heads[0]
        assert sidecar.records[0].caller is not None
        assert sidecar.records[0].caller.run_id == "r7"


async def test_hosts_come_from_the_target_alone() -> None:
    """A Host field that says otherwise is replaced, never routed by (RFC 9112 3.2.2)."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        raw = f"GET {origin.url}/ HTTP/1.1\r\nHost: denied.test\r\n\r\n".encode()
        assert (await sidecar.exchange(raw)).startswith(b"HTTP/1.1 200")
        assert b"denied.test" not in origin.heads[0]
        assert f"Host: 127.0.0.1:{origin.port}\r\n".encode() in origin.heads[0]


MALFORMED = [
    pytest.param(b"GET http://127.0.0.1/\r\n\r\n", 400, id="a request line without version"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 400, id="origin-form to a proxy"),
    pytest.param(b"GET http://h/ HTTP/2.0\r\nHost: h\r\n\r\n", 505, id="another major version"),
    pytest.param(b"GET  http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, id="two spaces"),
    pytest.param(b"GET http://h/#f HTTP/1.1\r\nHost: h\r\n\r\n", 400, id="a fragment"),
    pytest.param(b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, id="another scheme"),
    pytest.param(b"GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400, id="userinfo"),
    pytest.param(b"GET http://h/ HTTP/1.1\r\n\r\n", 400, id="no Host"),
    pytest.param(b"GET http://h/ HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400, id="two Hosts"),
    pytest.param(b"GET http://h/ HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, id="a list of hosts"),
    pytest.param(b"GET http://h/ HTTP/1.1\nHost: h\n\n", 400, id="bare LF"),
    pytest.param(b"GET http://h/ HTTP/1.1\r\n Host: h\r\n\r\n", 400, id="a folded first line"),
    pytest.param(b"GET http://h/ HTTP/1.1\r\nHost : h\r\n\r\n", 400, id="space before the colon"),
    pytest.param(b"GET http://h/ HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", 400, id="a bare CR"),
    pytest.param(b"GET http://h/ HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n", 400, id="a NUL"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00", 400, id="a TLS hello on the plain port"),
    pytest.param(
        b"POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, id="length and chunked together",
    ),
    pytest.param(
        b"POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 5, 5\r\n\r\nhello", 400,
        id="a list of lengths",
    ),
    pytest.param(
        b"POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501,
        id="a coding we do not know",
    ),
    pytest.param(
        b"POST http://h/ HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 400,
        id="chunked in HTTP/1.0",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431,
        id="a header section that is too large",
    ),
    pytest.param(
        b"GET http://h/" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414,
        id="a target that is too long",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\nHost: h\r\nExpect: magic\r\n\r\n", 417,
        id="an expectation nobody knows",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\nHost: h\r\nProxy-Authorization: Basic !!\r\n\r\n", 400,
        id="credentials that are not base64",
    ),
    pytest.param(
        b"GET http://h/ HTTP/1.1\r\nHost: h\r\nX-Agent-Run-Id: shared:1.2.3.4\r\n\r\n", 400,
        id="a run id in the reserved name space",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "status"), MALFORMED)
@pytest.mark.parametrize("pieces", ["whole", "in pieces"])
async def test_malformed_requests_are_refused(raw: bytes, status: int, pieces: str) -> None:
    """Malformed requests get a clear 4xx or 5xx, one record, and a closed connection, however
    the bytes are split on the way."""
    step = 1 if len(raw) < 1000 else 4999
    async with Sidecar(policy_text(1)) as sidecar:
        reader, writer = await sidecar.open()
        if pieces == "whole":
            writer.write(raw)
        else:
            for index in range(0, len(raw), step):
                writer.write(raw[index : index + step])
                await writer.drain()
                await asyncio.sleep(0)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert b"Connection: close\r\n" in answer
        assert [record.code in (Reason.BAD_REQUEST, Reason.HEADERS_TOO_LARGE)
                for record in sidecar.records] == [True]  # fmt: skip


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Three requests in one segment: three answers, in order, a refused one in the middle."""

    async def script(connection: OriginConnection) -> None:
        while head := await connection.read_head():
            path = head.split()[1]
            if path == b"/slow":
                await asyncio.sleep(0.02)
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + path)

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        host = f"127.0.0.1:{origin.port}"
        writer.write(
            f"GET http://{host}/slow HTTP/1.1\r\nHost: {host}\r\n\r\n"
            "GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n"
            f"GET http://{host}/fast HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        )
        assert (await read_answer(reader)).endswith(b"/slow")
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 403 ")
        assert (await read_answer(reader)).endswith(b"/fast")
        assert len(origin.connections) == 1
        writer.close()


async def test_an_http10_client_gets_one_answer_and_a_close() -> None:
    """No connection is kept with an HTTP/1.0 client, and it gets no chunks (RFC 9112 9.3)."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with Origin(answering(chunked)) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(f"GET {origin.url}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"chunked" not in answer
        assert answer.endswith(b"\r\n\r\nabc")
        writer.close()


@pytest.mark.parametrize(
    ("sent", "content"),
    [
        pytest.param(b"Content-Length: 5\r\n\r\nhello", b"hello", id="by length"),
        pytest.param(
            b"Transfer-Encoding: Chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: 1\r\n\r\n",
            b"hello", id="chunked, extension and trailer dropped",
        ),
        pytest.param(b"Content-Length: 0\r\n\r\n", b"", id="announced as empty"),
    ],
)  # fmt: skip
async def test_request_content_arrives_whole(sent: bytes, content: bytes) -> None:
    """The content arrives as it was sent, however it was framed."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        head = f"POST {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n".encode()
        assert (await sidecar.exchange(head + sent)).endswith(b"ok")
        upstream_head, _, body = origin.received.partition(b"\r\n\r\n")
        if b"Content-Length" in upstream_head:
            assert body == content
            assert b"Content-Length: %d" % len(content) in upstream_head
        else:
            assert b"Transfer-Encoding: chunked" in upstream_head
            assert b"x=y" not in body
            assert b"T: 1" not in body
            assert sidecar.records[0].request_bytes == len(content)


async def test_a_large_upload_is_streamed() -> None:
    """Content larger than what is kept flows through as it comes and is counted."""
    size = 3_000_000
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(
            f"POST {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n"
            f"Content-Length: {size}\r\n\r\n".encode()
        )
        for _ in range(size // 100_000):
            writer.write(b"x" * 100_000)
            await writer.drain()
        assert (await read_answer(reader)).endswith(b"ok")
        assert len(origin.received.partition(b"\r\n\r\n")[2]) == size
        assert sidecar.records[0].request_bytes == size
        writer.close()


async def test_upload_cut_short_never_completes_upstream() -> None:
    """A client that stops in the middle of its content makes no complete request upstream."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        raw = (
            f"POST {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n"
            "Content-Length: 100000\r\n\r\nhello"
        ).encode()
        reader, writer = await sidecar.open()
        writer.write(raw)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 5)
        assert b" 200 " not in answer
        assert len(sidecar.records) == 1
        assert sidecar.records[0].code in (Reason.BAD_REQUEST, Reason.CLIENT_GONE)
        writer.close()


async def test_continue_comes_only_after_the_policy_said_yes() -> None:
    """`Expect: 100-continue` to a refused destination gets its refusal and no 100."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        answer = await sidecar.exchange(
            b"POST http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n"
            b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"Connection: close\r\n" in answer
        assert origin.heads == []


async def test_continue_is_the_origins_to_say() -> None:
    """The origin sees the head before any content, and its 100 is passed on."""

    async def script(connection: OriginConnection) -> None:
        head = await connection.read_head()
        assert b"expect: 100-continue" in head.lower()
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.read(10)
        await connection.send(OK)

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(
            f"POST {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n"
            "Content-Length: 10\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 100 Continue")
        writer.write(b"0123456789")
        assert (await read_answer(reader)).endswith(b"ok")
        writer.close()


@pytest.mark.parametrize(
    ("method", "status", "headers", "expected"),
    [
        pytest.param("HEAD", 200, b"Content-Length: 500\r\n", b"Content-Length: 500", id="HEAD"),
        pytest.param("GET", 304, b"ETag: x\r\n", b"ETag: x", id="304"),
        pytest.param("GET", 204, b"X-A: b\r\n", b"X-A: b", id="204"),
    ],
)
async def test_answers_without_content(
    method: str, status: int, headers: bytes, expected: bytes
) -> None:
    """An answer that has no content keeps its fields, and the next request works."""
    answer = b"HTTP/1.1 %d X\r\n%b\r\n" % (status, headers)
    async with Origin(answering(answer)) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        for _ in range(2):
            writer.write(
                f"{method} {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n\r\n".encode()
            )
            got = await read_answer(reader, is_head=True)
            assert got.startswith(b"HTTP/1.1 %d " % status)
            assert expected in got
        assert len(origin.connections) == 1
        writer.close()


async def test_interim_answers_are_passed_on() -> None:
    """103 Early Hints reaches the client before the final answer (RFC 9110 15.2)."""
    both = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK
    async with Origin(answering(both)) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n\r\n".encode())
        assert b"Link: </x>" in await read_answer(reader)
        assert (await read_answer(reader)).endswith(b"ok")
        writer.close()


async def test_events_are_forwarded_as_they_come() -> None:
    """Each server-sent event reaches the client before the next one is sent."""
    gate = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for number in range(3):
            await connection.send(b"data: %d\n\n" % number)
            await gate.wait()
            gate.clear()

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            await reader.readuntil(b"\r\n\r\n")
            for number in range(3):
                assert b"data: %d\n\n" % number in await reader.readuntil(b"\n\n")
                gate.set()
            await reader.readuntil(b"0\r\n\r\n")
        writer.close()


BROKEN = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
                 id="two lengths"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                 b"0\r\n\r\n", id="length and chunked"),
    pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", id="bare LF"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n", id="obs-fold"),
    pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw", id="unasked 101"),
    pytest.param(b"HTTP/1.1 103 Hints\r\n\r\n" * 1000, id="a flood of interim answers"),
    pytest.param(b"SSH-2.0-OpenSSH\r\n\r\n", id="no HTTP at all"),
    pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="a bad chunk"),
    pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", id="a giant header"),
]  # fmt: skip


@pytest.mark.parametrize("answer", BROKEN)
async def test_invalid_answers_are_never_relayed(answer: bytes) -> None:
    """What is not HTTP becomes a 502 with a code, once, and nothing of it reaches the client."""
    async with Origin(answering(answer)) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        got = await sidecar.get(f"{origin.url}/")
        while got.startswith(b"HTTP/1.1 103"):
            got = got.partition(b"\r\n\r\n")[2] or b"HTTP/1.1 502 "
        assert got.startswith(b"HTTP/1.1 502 "), got
        assert [record.code for record in sidecar.records] == [Reason.UPSTREAM_INVALID]
        assert len(origin.connections) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", id="by length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", id="chunked"
        ),
    ],
)
async def test_a_truncated_answer_is_visibly_truncated(answer: bytes) -> None:
    """An upstream that breaks off is not completed by us, not retried, and recorded as reset."""

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(answer)

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        got = await sidecar.get(f"{origin.url}/")
        assert b"hello" in got
        assert not got.endswith(b"0\r\n\r\n")
        assert len(origin.connections) == 1
        assert [record.code for record in sidecar.records] == [Reason.UPSTREAM_RESET]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_client_that_reads_to_the_close_is_reset_in_a_truncated_answer(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """An orderly close would be the end of the answer to it."""
    relayed = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        )
        await relayed.wait()

    async def scenario() -> None:
        async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
            reader, writer = await sidecar.open()
            writer.write(f"GET {origin.url}/ HTTP/1.0\r\n\r\n".encode())
            async with asyncio.timeout(20):
                assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")
                relayed.set()
                with pytest.raises(ConnectionResetError):
                    await reader.read()
            writer.close()
            assert [record.code for record in sidecar.records] == [Reason.UPSTREAM_RESET]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(scenario())


async def test_surplus_bytes_poison_nothing() -> None:
    """Bytes after an answer are dropped with their connection; the next answer is clean."""
    poisoned = OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
    async with (
        Origin(answering(poisoned, OK)) as origin,
        Sidecar(policy_text(origin.port)) as sidecar,
    ):
        assert (await sidecar.get(f"{origin.url}/")).endswith(b"ok")
        assert (await sidecar.get(f"{origin.url}/")).endswith(b"ok")
        assert len(origin.connections) == 2


async def test_upstreams_cannot_speak_for_us() -> None:
    """Fields that only we may set, and an origin's proxy authentication, are taken out."""
    answer = (
        b"HTTP/1.1 200 OK\r\nToolbooth-Budget: steps=999\r\nToolbooth-Code: ok\r\n"
        b"Proxy-Status: toolbooth; error=x\r\nProxy-Authenticate: Basic\r\n"
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
    )
    async with Origin(answering(answer)) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        got = await sidecar.get(f"{origin.url}/")
        assert b"999" not in got
        assert b"Toolbooth-Code" not in got
        assert b"Proxy-Status" not in got
        assert b"Proxy-Authenticate" not in got
        assert b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" in got


async def test_a_slow_reader_pauses_the_upstream() -> None:
    """Memory stays flat: the upstream cannot send much more than the client reads."""
    sent = 0

    async def script(connection: OriginConnection) -> None:
        nonlocal sent
        await connection.read_head()
        connection.writer.transport.set_write_buffer_limits(high=65536)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while True:
            await connection.send(b"x" * 65536)
            sent += 65536

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port, limit=1024)
        writer.write(f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n\r\n".encode())
        await reader.read(100)
        last = -1
        while last != sent:
            last = sent
            await asyncio.sleep(0.2)
        assert sent < 30_000_000  # socket buffers of two hops, not the gigabyte
        writer.transport.abort()


async def test_a_client_that_goes_away_stops_the_upstream() -> None:
    """A reset from the client ends the call, frees its slot and is recorded as client_gone."""
    gone = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        assert await connection.read_some() == b""
        gone.set()

    async with Origin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        _, writer = await sidecar.open()
        writer.write(f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n\r\n".encode())
        while not origin.heads:
            await asyncio.sleep(0.01)
        writer.transport.abort()
        await asyncio.wait_for(gone.wait(), 5)
        while not sidecar.records:
            await asyncio.sleep(0.01)
        assert sidecar.records[0].code is Reason.CLIENT_GONE
        assert sidecar.booth.slots.in_flight("echo") == 0


async def test_a_client_that_only_half_closes_still_gets_its_answer() -> None:
    """A FIN after the request is answered if the answer comes at once."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n\r\n".encode())
        writer.write_eof()
        assert (await asyncio.wait_for(reader.read(), 5)).endswith(b"ok")
        writer.close()


async def test_a_dripping_head_meets_its_deadline() -> None:
    """A head that does not come whole in time gets 408, counted from its first byte."""
    limits = FrontLimits(head_s=0.2)
    async with Sidecar(policy_text(1), limits) as sidecar:
        task = sidecar.tasks.spawn(sidecar.front.watch())
        reader, writer = await sidecar.open()
        writer.write(b"GET http://h/ HTTP/1.1\r\nX: ")
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 408 ")
        task.cancel()
        writer.close()


async def test_connections_beyond_the_cap_are_turned_away() -> None:
    """One connection too many gets a 503 without being read, and the others go on."""
    async with (
        Origin() as origin,
        Sidecar(policy_text(origin.port), FrontLimits(max_connections=1)) as sidecar,
    ):
        _, first = await sidecar.open()
        await asyncio.sleep(0.05)
        reader, second = await sidecar.open()
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 503 ")
        assert sidecar.front.turned_away == 1
        first.close()
        second.close()


async def test_max_forwards_is_counted_down() -> None:
    """OPTIONS loses one hop, and is answered here when it has none left (RFC 9110 7.6.2)."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        host = origin.url[7:]
        raw = f"OPTIONS {origin.url} HTTP/1.1\r\nHost: {host}\r\nMax-Forwards: "
        await sidecar.exchange(f"{raw}3\r\n\r\n".encode())
        assert origin.heads[0].startswith(b"OPTIONS * HTTP/1.1\r\n")
        assert b"Max-Forwards: 2\r\n" in origin.heads[0]
        assert (await sidecar.exchange(f"{raw}0\r\n\r\n".encode())).startswith(b"HTTP/1.1 200 ")
        assert len(origin.heads) == 1


async def test_a_request_that_was_here_before_is_a_loop() -> None:
    """Our own token in Via means two proxies point at each other."""
    async with Sidecar(policy_text(1)) as sidecar:
        answer = await sidecar.get("http://127.0.0.1:1/", "Via: 1.1 other, 1.1 toolbooth-test")
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_the_sidecar_never_dials_itself() -> None:
    """Even an explicitly allowed loopback range does not open our own ports."""
    async with Sidecar(policy_text(1)) as probe:
        pass
    async with Sidecar(
        policy_text(probe.port).replace(f"ports: [{probe.port}]", 'ports: ["*"]')
    ) as sidecar:
        answer = await sidecar.get(f"http://127.0.0.1:{sidecar.port}/")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert sidecar.records[0].code is Reason.ADDRESS_DENIED


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        pytest.param([b"\r\n"], b"200", id="one empty line"),
        pytest.param([b"\r\n\r\n"], b"200", id="two at once"),
        pytest.param([b"\r\n", b"\r", b"\n"], b"200", id="two in pieces"),
        pytest.param([b"\r\n" * 9], b"400", id="too many at once"),
        pytest.param([b"\r\n"] * 9, b"400", id="too many in pieces"),
        pytest.param([b"\n"], b"400", id="a bare LF"),
    ],
)
async def test_empty_lines_before_a_request(pieces: list[bytes], status: bytes) -> None:
    """They are ignored, a few of them, however they are split (RFC 9112 2.2)."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.005)
        writer.write(f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n\r\n".encode())
        assert (await read_answer(reader)).split()[1] == status
        writer.close()


async def test_dripped_empty_lines_renew_no_deadline() -> None:
    """The time of a head runs from the first of them; no real time has to pass to see it."""
    limits = FrontLimits(head_s=5.0)
    async with Sidecar(policy_text(1), limits) as sidecar, asyncio.timeout(5):
        reader, writer = await sidecar.open()
        while not len(sidecar.front):
            await asyncio.sleep(0)
        (connection,) = sidecar.front._connections
        begun_s = 0.0
        for count in range(1, 9):
            writer.write(b"\r\n")
            while len(connection._buffer) < 2 * count:
                await asyncio.sleep(0)
            begun_s = begun_s or connection.quiet_since_s
        connection.check(begun_s + limits.head_s, limits)
        assert not connection._eof
        connection.check(begun_s + limits.head_s + 1e-6, limits)
        assert b" 408 " in await reader.read()
        writer.close()


async def test_a_failing_check_does_not_end_the_watch() -> None:
    """A bug in one pass is reported, and slow clients are still let go in the next."""
    async with Sidecar(policy_text(1), FrontLimits(head_s=0.2)) as sidecar:
        sweep = sidecar.booth.pool.sweep

        def fail_once() -> None:
            sidecar.booth.pool.sweep = sweep  # type: ignore[method-assign]
            raise ZeroDivisionError

        sidecar.booth.pool.sweep = fail_once  # type: ignore[method-assign]
        watch = sidecar.tasks.spawn(sidecar.front.watch())
        while not sidecar.bugs:
            await asyncio.sleep(0.05)
        reader, writer = await sidecar.open()
        writer.write(b"GET ")
        assert b" 408 " in await asyncio.wait_for(reader.read(), 5)
        assert isinstance(sidecar.bugs.pop(), ZeroDivisionError)
        watch.cancel()
        writer.close()
