"""R50 to R62: where a message ends, and what the other side is told about it."""

import asyncio
import ssl

import pytest
import trustme
import uvloop

from proxy.upstream.trust import TrustStore
from tests.conformance.world import (
    CONNECT,
    END,
    GET,
    POST,
    VIA,
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
START = b"POST / HTTP/1.1"
OK_LINE = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 5\r\n"
NEXT = b"GET http://a.test/next HTTP/1.1\r\nHost: a.test\r\n\r\n"


def invalid(title: str, answer: bytes) -> None:
    """An answer that gets a 502: nothing of it is relayed, and its connection is not used again."""

    @scenarios(title)
    async def run() -> None:
        async with a_world(after_head(answer, closes=False)) as world:
            got = await world.ask(GET + END)
            assert got.startswith(b"HTTP/1.1 502 "), got
            assert b"hello" not in got
            assert world.sidecar.booth.pool.idle_count == 0
            await is_closed_upstream(world)


async def is_closed_upstream(world: World) -> None:
    async with asyncio.timeout(20):
        assert await world.origin.connections[0].reader.read() == b""


refuses("R50: length and chunks together", POST + LENGTH + CHUNKED + b"\r\n0\r\n\r\n", 400)
refuses("R50: chunks and length together", POST + CHUNKED + LENGTH + b"\r\n0\r\n\r\n" + NEXT, 400)
invalid(
    "R50: length and chunks together in an answer", OK_LINE + LENGTH + CHUNKED + b"\r\n0\r\n\r\n"
)

CODING = POST + b"Transfer-Encoding: %b\r\n\r\n0\r\n\r\n" + NEXT
refuses("R51: chunked is not the last coding", CODING % b"chunked, gzip", 400)
refuses("R51: no chunked at all", CODING % b"gzip", 400)
refuses("R51: identity, which no longer exists", CODING % b"identity", 400)
refuses("R51: chunked twice", CODING % b"chunked, chunked", 400)
refuses("R51: chunked in two lines", POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n" + NEXT, 400)
refuses("R51: a name that ends like chunked", CODING % b"xchunked", 400)
refuses("R51: an empty member before it", CODING % b",chunked", 400)
refuses("R51: a vertical tab before it", CODING % b"\x0bchunked", 400)
passes(
    "R51: chunked in any case",
    CODING[: -len(NEXT)] % b"cHUNKED",
    upstream(START, b"Content-Length: 0"),
)

refuses("R52: a coding nobody knows before chunked", CODING % b"gzip, chunked", 501)
refuses(
    "R52: several of them in two lines",
    POST + b"Transfer-Encoding: br\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    501,
)
invalid(
    "R52: a coding nobody knows in an answer",
    OK_LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
)

refuses(
    "R53: chunks in HTTP/1.0",
    (POST + CHUNKED).replace(b"HTTP/1.1", b"HTTP/1.0") + b"\r\n0\r\n\r\n",
    400,
)
invalid(
    "R53: chunks in an answer of HTTP/1.0",
    b"HTTP/1.0 200 OK\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n",
)

for _length in (
    b"",
    b"+5",
    b"-5",
    b"0x5",
    b"5.0",
    b"5 5",
    b"5,5",
    b"five",
    b"1_0",
    b"99999999999999999999",
    b"\xb2",
):
    _shown = _length.decode("latin-1") or "nothing"
    refuses(f"R54: a length of {_shown}", POST + b"Content-Length: %b\r\n\r\nhello" % _length, 400)
    invalid(
        f"R54: a length of {_shown} in an answer",
        OK_LINE + b"Content-Length: %b\r\n\r\nhello" % _length,
    )
refuses("R54: two lengths that differ", POST + LENGTH + b"Content-Length: 6\r\n\r\nhello!", 400)
invalid(
    "R54: two lengths that differ in an answer",
    OK_LINE + LENGTH + b"Content-Length: 6\r\n\r\nhello!",
)

refuses("R55: a list of equal lengths", POST + b"Content-Length: 5, 5\r\n\r\nhello", 400)
refuses("R55: two equal lengths", POST + LENGTH + LENGTH + b"\r\nhello", 400)
invalid("R55: two equal lengths in an answer", OK_LINE + LENGTH + LENGTH + b"\r\nhello")
answers(
    "R55: an odd length of no content is not passed on",
    b"HTTP/1.1 304 N\r\nContent-Length: 5, 5\r\n\r\n",
    b"HTTP/1.1 304 N\r\n\r\n",
)
passes(
    "R55: a true length goes on",
    POST + LENGTH + b"\r\nhello",
    upstream(START, b"Content-Length: 5", content=b"hello"),
)
passes(
    "R55: and is written in its plain form",
    POST + b"content-length:  005\t\r\n\r\nhello",
    upstream(START, b"Content-Length: 5", content=b"hello"),
)

HEAD = b"HEAD" + GET[3:] + END
EMPTY = (
    ("HEAD", HEAD, OK_LINE + LENGTH + END, OK_LINE + LENGTH + END),
    ("HEAD of chunks", HEAD, OK_LINE + CHUNKED + END, OK_LINE + END),
    ("304", GET + END, b"HTTP/1.1 304 N\r\n" + LENGTH + END, b"HTTP/1.1 304 N\r\n" + LENGTH + END),
    ("204", GET + END, b"HTTP/1.1 204 N\r\n" + LENGTH + END, b"HTTP/1.1 204 N\r\n\r\n"),
    ("204 of chunks", GET + END, b"HTTP/1.1 204 N\r\n" + CHUNKED + END, b"HTTP/1.1 204 N\r\n\r\n"),
)
for _name, _raw, _answer, _expected in EMPTY:

    @scenarios(f"R56: {_name} has no content, and the next request works")
    async def _empty(
        raw: bytes = _raw, answer: bytes = _answer, expected: bytes = _expected
    ) -> None:
        async with a_world(after_head(answer, closes=False)) as world:
            reader, writer = await world.sidecar.open()
            for _ in range(2):
                writer.write(raw)
                assert plain(await read_answer(reader, is_head=True)) == expected
            assert len(world.origin.connections) == 1
            writer.close()


@scenarios("R56: an interim answer has no framing")
async def _interim() -> None:
    hint = b"HTTP/1.1 103 E\r\n"
    async with a_world(after_head(hint + LENGTH + END + OK)) as world:
        got = await world.to_the_end(GET + END)
        assert got.startswith(hint + VIA + END + OK_LINE)


@scenarios("R57: a tunnel begins after an empty line, with nothing lost and no framing")
async def _tunnel() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.send(b"early")
        await connection.read(4)

    async with a_world(script) as world:
        reader, writer = await world.sidecar.open()
        writer.write(CONNECT + b"\x00sen")
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert b"content-length" not in head.lower()
            assert b"transfer-encoding" not in head.lower()
            assert await reader.read() == b"early"
        assert world.seen == b"\x00sen"
        writer.close()


refuses("R57: CONNECT with a length", CONNECT[:-2] + LENGTH + b"\r\nhello", 400)
refuses("R57: CONNECT with chunks", CONNECT[:-2] + CHUNKED + b"\r\n0\r\n\r\n", 400)

CHUNKS = POST + CHUNKED + END
refuses("R58: a size beyond 64 bits", CHUNKS + b"FFFFFFFFFFFFFFFF0\r\nx", 400)
refuses(
    "R58: a size that wraps around to 5", CHUNKS + b"10000000000000005\r\nhello\r\n0\r\n\r\n", 400
)
refuses("R58: a size of 0x5", CHUNKS + b"0x5\r\nhello\r\n0\r\n\r\n", 400)
refuses("R58: a size of +5", CHUNKS + b"+5\r\nhello\r\n0\r\n\r\n", 400)
refuses("R58: a size with a blank after it", CHUNKS + b"5 \r\nhello\r\n0\r\n\r\n", 400)
refuses("R58: a chunk longer than its size", CHUNKS + b"5\r\nhello!\r\n0\r\n\r\n", 400)
refuses("R58: a chunk's line ended by LF", CHUNKS + b"5\nhello\r\n0\r\n\r\n", 400)
refuses(
    "R58: extensions of 64 KB in one line",
    CHUNKS + b"5;" + b"a" * 65536 + b"\r\nhello\r\n0\r\n\r\n",
    431,
)
refuses(
    "R58: extensions of 64 KB in many",
    CHUNKS + (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 64 + b"0\r\n\r\n",
    431,
)
passes(
    "R58: extensions nobody knows are ignored and stop here",
    CHUNKS + b'5;a=b;c="d;e"\r\nhello\r\n0;f\r\n\r\n',
    upstream(START, b"Content-Length: 5", content=b"hello"),
)
passes(
    "R58: a size in capitals and with zeros",
    CHUNKS + b"00A\r\n0123456789\r\n0\r\n\r\n",
    upstream(START, b"Content-Length: 10", content=b"0123456789"),
)

passes(
    "R59: trailers of a request stop here",
    CHUNKS + b"5\r\nhello\r\n0\r\nX: y\r\nHost: b.test\r\n\r\n",
    upstream(START, b"Content-Length: 5", content=b"hello"),
)
answers(
    "R59: trailers of an answer stop here",
    OK_LINE + CHUNKED + b"\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    OK_LINE + LENGTH + b"\r\nhello",
)
refuses("R59: a trailer that is no field", CHUNKS + b"0\r\nGET / HTTP/1.1\r\n\r\n", 400)
refuses("R59: trailers without end", CHUNKS + b"0\r\n" + b"X: y\r\n" * 10_000 + END, 431)


def breaks_off(title: str, part: bytes, seen: bytes) -> None:
    """The origin stops in the middle: the client gets `seen`, and an end that shows."""

    @scenarios(title)
    async def run() -> None:
        async def script(connection: OriginConnection) -> None:
            await connection.read_head()
            await connection.send(part)
            await asyncio.sleep(0.02)

        async with a_world(script) as world:
            assert plain(await world.to_the_end(GET + END)) == seen
            assert world.sidecar.records[0].code == "upstream_reset"


breaks_off(
    "R60: a short length stays short", OK_LINE + LENGTH + b"\r\nhel", OK_LINE + LENGTH + b"\r\nhel"
)
breaks_off(
    "R60: chunks that break off have no last one",
    OK_LINE + CHUNKED + b"\r\n5\r\nhel",
    OK_LINE + CHUNKED + b"\r\n3\r\nhel\r\n",
)
breaks_off(
    "R60: nor have those without a last one",
    OK_LINE + CHUNKED + b"\r\n3\r\nhel\r\n",
    OK_LINE + CHUNKED + b"\r\n3\r\nhel\r\n",
)


@scenarios("R61: an answer that ends by close is framed anew")
async def _until_close() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(OK_LINE + b"\r\nhel")
        await asyncio.sleep(0.02)
        await connection.send(b"lo")

    async with a_world(script) as world:
        reader, writer = await world.sidecar.open()
        for raw in (GET + END, GET + END):
            writer.write(raw)
            got = await read_answer(reader)
            assert plain(got) == OK_LINE + CHUNKED + b"\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
        writer.close()
    async with a_world(script) as world:
        got = await world.to_the_end(b"GET http://a.test/ HTTP/1.0\r\n\r\n")
        assert got.endswith(b"\r\nConnection: close\r\n\r\nhello")


@scenarios("R61: TLS that ends without an alert is an answer broken off")
async def _no_alert() -> None:
    for is_clean in (True, False):
        got = await over_tls(is_clean=is_clean)
        assert b"3\r\nhel\r\n" in got
        assert got.endswith(b"0\r\n\r\n") is is_clean


async def over_tls(*, is_clean: bool) -> bytes:
    """What comes of an answer that ends by close over TLS, with its alert and without."""
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("a.test").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK_LINE + b"\r\nhel")
        await asyncio.sleep(0.02)
        if is_clean:
            writer.close()
        else:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls)
    async with a_world() as world:
        world.sidecar.booth.pool._trust = TrustStore(lambda _: client_tls)
        world.network.leads_to[443] = server.sockets[0].getsockname()[1]
        got = await world.to_the_end(b"GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
    server.close()
    return got


passes(
    "R62: TE stops here, and chunked is never in it",
    GET + b"TE: trailers, chunked, deflate\r\nConnection: TE\r\n\r\n",
    upstream(b"GET / HTTP/1.1"),
)


@pytest.mark.parametrize("run", scenarios.params)
async def test_requirement(run: Run) -> None:
    await run()


def test_tls_without_an_alert_on_the_loop_of_production() -> None:
    """R61 again: uvloop has a TLS implementation of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_no_alert())
