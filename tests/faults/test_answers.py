"""F17 to F27: answers that break off, stall, lie about their size, or are no HTTP."""

import asyncio
from functools import partial
from unittest.mock import patch

import pytest

from proxy.model.reason import Reason
from tests.conformance.world import END, GET, POLICY, POST, World, plain
from tests.fakes.origin import OK, OriginConnection, Script
from tests.fakes.waiting import until
from tests.faults.fault import LOOPS, Fault, NewLoop, Run, run_on
from tests.faults.world import a_world, is_told
from tests.numbered import NumberedTests

FAULTS = (
    Fault(
        17,
        "reset before the first byte of an answer",
        "What may be repeated is tried again: at most `retries.max` times a call, with full "
        "jitter, and no more than the tool's retry budget in all. Else, and then, 502.",
        ("ok", "upstream_reset"),
    ),
    Fault(
        18,
        "reset or closed within the head of an answer",
        "As before its first byte; nothing of the head is relayed.",
        ("upstream_reset",),
    ),
    Fault(
        19,
        "reset or closed within content that has a length",
        "The client gets what came, under the length that was promised, and a close; recorded as "
        "`upstream_reset` with the answer's own status. Not tried again.",
        ("upstream_reset",),
    ),
    Fault(
        20,
        "closed within chunked content",
        "The client gets what came and no last chunk; an HTTP/1.0 client gets a reset.",
        ("upstream_reset",),
    ),
    Fault(
        21,
        "an answer that stalls: before its first byte, in the status line, in a header, before "
        "its content, in it, before the last chunk",
        "The end of the call's time and `timeouts_ms.idle` each end it: 504 before the answer has "
        "begun, a visible cut afterwards.",
        ("timeout",),
    ),
    Fault(
        22,
        "an answer that drips byte by byte",
        "A head has to be whole within `timeouts_ms.idle` and the call's time; content may drip "
        "until the latter ends, and is passed on, not collected.",
        ("timeout",),
        "there is no least rate: the call's time is the bound.",
    ),
    Fault(
        23,
        "a Content-Length that is too large or too small",
        "Too large: broken off, visibly. Too small: the surplus is dropped, and the connection is "
        "not used again.",
        ("ok", "upstream_reset"),
    ),
    Fault(
        24,
        "an HTTP/1.0 upstream whose answer ends by close",
        "Relayed whole, framed anew; the connection is not used again.",
        ("ok",),
    ),
    Fault(
        25,
        "a flood of interim answers; a 100 that no final answer follows",
        "At most 32 are passed on, then 502; without a final answer 504.",
        ("upstream_invalid", "timeout"),
    ),
    Fault(
        26,
        "a giant header, 100,000 headers, a giant reason phrase, a head without end",
        "502; no more than 64 KiB and 256 lines of a head are read. Not tried again.",
        ("upstream_invalid",),
    ),
    Fault(
        27,
        "a malformed status line, version, header, framing or chunk",
        "502, and nothing of it is relayed; where content has been relayed before, a visible cut. "
        "Not tried again.",
        ("upstream_invalid",),
        "a minor version above 1 is refused too: no server speaks one.",
    ),
)
faults = NumberedTests()

RETRIED = POLICY.replace("{max: 0}", "{max: 2, backoff_ms: [1, 2]}")
BRIEF = RETRIED.replace("default: 20000", "default: 200")
QUIET = RETRIED.replace("default: 20000", "default: 20000, idle: 200")
OK_LINE = b"HTTP/1.1 200 OK\r\n"
SIZED = OK_LINE + b"Content-Length: 5\r\n\r\n"
CHUNKED = OK_LINE + b"Transfer-Encoding: chunked\r\n\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\n\r\n"
OLD_GET = b"GET http://a.test/ HTTP/1.0\r\nHost: a.test\r\n\r\n"


class Broken:
    """A script: `first` after each request's head, `then` and the end once `relayed` is set. `end`
    is a reset, a close or silence."""

    def __init__(self, first: bytes, then: bytes = b"", end: str = "close") -> None:
        self.first, self.then, self.end = first, then, end
        self.relayed = asyncio.Event()

    async def __call__(self, connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(self.first)
        await self.relayed.wait()
        await connection.send(self.then)
        if self.end == "reset":
            connection.reset()
        elif self.end == "silence":
            await connection.reader.read()  # until the sidecar hangs up

    async def ask(self, world: World, shown: bytes, raw: bytes = GET + END) -> bytes:
        """Everything the client gets; the upstream goes on when `shown` has come."""
        reader, writer = await world.sidecar.open()
        writer.write(raw)
        async with asyncio.timeout(20):
            got = await reader.readuntil(shown)
            self.relayed.set()
            try:
                return got + await reader.read()
            finally:
                writer.close()


def is_left(world: World) -> bool:
    """The sidecar has hung up on all of the origin's connections."""
    return not world.origin._writers


def saying(*parts: bytes, end: str = "close") -> Script:
    """These bytes after a request's head, then the end."""
    script = Broken(b"".join(parts), end=end)
    script.relayed.set()
    return script


# --- answers that break off -----------------------------------------------------------------


@faults("F17: a reset before the answer is tried again as often as the tool says, with jitter")
async def _reset() -> None:
    async with a_world(saying(end="reset"), policy=RETRIED, calls=["upstream_reset"]) as world:
        with patch("random.random", return_value=0.5) as drawn:
            assert is_told(await world.ask(GET + END), Reason.UPSTREAM_RESET)
        assert drawn.call_count == 2
        assert len(world.origin.heads) == world.sidecar.records[0].attempts == 3


@faults("F17: a POST that may have happened is not sent again")
async def _reset_post() -> None:
    async with a_world(saying(end="reset"), policy=RETRIED, calls=["upstream_reset"]) as world:
        got = await world.ask(POST + b"Content-Length: 2\r\n\r\nhi")
        assert is_told(got, Reason.UPSTREAM_RESET)
        assert len(world.origin.heads) == 1


@faults("F17: a reset in the middle of an upload ends the upload with a 502")
async def _reset_upload() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.read(100_000)
        connection.reset()

    size = 4_000_000
    async with a_world(script, policy=RETRIED, calls=["upstream_reset"]) as world:
        raw = POST + b"Content-Length: %d\r\n\r\n" % size + b"a" * size
        got = await world.to_the_end(raw)
        assert is_told(got, Reason.UPSTREAM_RESET)
        assert b"\r\nConnection: close\r\n" in got
        assert len(world.origin.heads) == 1


@faults("F17: the attempt that succeeds is relayed")
async def _reset_twice() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        if len(connection.origin.heads) < 3:
            connection.reset()
        else:
            await connection.send(OK)

    async with a_world(script, policy=RETRIED, calls=["ok"]) as world:
        got = await world.ask(GET + END)
        assert plain(got) == OK
        assert b"\r\nToolbooth-Attempts: 3\r\n" in got


@faults("F17: the retries of all calls together stay within the tool's budget")
async def _retry_budget() -> None:
    calls = ["upstream_reset"] * 5
    async with a_world(saying(end="reset"), policy=RETRIED, calls=calls) as world:
        for _ in calls:
            await world.ask(GET + END)
        assert [record.attempts for record in world.sidecar.records] == [3, 2, 1, 1, 1]


PARTS = (b"HTTP", OK_LINE, OK_LINE + b"Content-Le", SIZED[:-2], SIZED[:-1])
for _end in ("reset", "close"):

    @faults(f"F18: a {_end} within the head is a 502, and nothing of it is relayed")
    async def _in_head(end: str = _end) -> None:
        for part in PARTS:
            script = saying(part, end=end)
            async with a_world(script, policy=RETRIED, calls=["upstream_reset"]) as world:
                assert is_told(await world.ask(GET + END), Reason.UPSTREAM_RESET)
                assert len(world.origin.heads) == 3

    @faults(f"F19: a {_end} within content of a known length is visible, and not tried again")
    async def _in_content(end: str = _end) -> None:
        script = Broken(SIZED + b"hel", end=end)
        async with a_world(script, policy=RETRIED, calls=["upstream_reset"]) as world:
            assert plain(await script.ask(world, b"hel")) == SIZED + b"hel"
            assert len(world.origin.heads) == 1
            record = world.sidecar.records[0]
            assert (record.status, record.response_bytes) == (200, 3)


CHUNK = b"3\r\nhel\r\n"
ENDS = (
    ("after a chunk", b"", b""),
    ("in a chunk's size", b"5", b""),
    ("in a chunk", b"5\r\nlo", b"2\r\nlo\r\n"),
    ("before the end of a chunk", b"2\r\nlo", b"2\r\nlo\r\n"),
    ("in the last chunk", b"0\r\n", b""),
    ("in the trailers", b"0\r\nX: y\r\n", b""),
)
for _where, _then, _shown in ENDS:

    @faults(f"F20: a close {_where} leaves the client without a last chunk")
    async def _in_chunks(then: bytes = _then, shown: bytes = _shown) -> None:
        script = Broken(CHUNKED + CHUNK, then)
        async with a_world(script, policy=RETRIED, calls=["upstream_reset"]) as world:
            assert plain(await script.ask(world, b"hel\r\n")) == CHUNKED + CHUNK + shown
            assert len(world.origin.heads) == 1


@faults("F20: a client that reads to the close is reset")
async def _old_client() -> None:
    script = Broken(CHUNKED + CHUNK)
    async with a_world(script, calls=["upstream_reset"]) as world:
        with pytest.raises(ConnectionResetError):
            await script.ask(world, b"hel", OLD_GET)


# --- answers that stall ---------------------------------------------------------------------

STALLS = (
    ("before the first byte", b""),
    ("in the status line", b"HTTP/1.1 2"),
    ("in a header", OK_LINE + b"Content-Le"),
    ("before the content", SIZED),
    ("in the content", SIZED + b"hel"),
    ("before the last chunk", CHUNKED + CHUNK),
)
for _where, _part in STALLS:

    @faults(f"F21: a stall {_where} ends with the call's time, and with the patience for silence")
    async def _stall(part: bytes = _part) -> None:
        for policy in (BRIEF, QUIET):
            script = saying(part, end="silence")
            async with a_world(script, policy=policy, calls=["timeout"]) as world:
                got = await world.to_the_end(GET + END)
                if b"\r\n\r\n" in part:
                    assert plain(got) == part
                    assert world.sidecar.records[0].status == 200
                else:
                    assert is_told(got, Reason.TIMEOUT)
                assert len(world.origin.heads) == 1
                await until(partial(is_left, world))


DRIPS = (
    ("head", OK_LINE + b"X: "),
    ("content of a known length", OK_LINE + b"Content-Length: 100000\r\n\r\n"),
    ("content without one", OK_LINE + END),
)
for _what, _first in DRIPS:

    @faults(f"F22: a {_what} that drips ends with the call's time")
    async def _drip(first: bytes = _first) -> None:
        async def script(connection: OriginConnection) -> None:
            await connection.read_head()
            await connection.send(first)
            while not connection.writer.is_closing():
                await connection.send(b"a")
                await asyncio.sleep(0.002)

        async with a_world(script, policy=BRIEF, calls=["timeout"]) as world:
            got = await world.to_the_end(GET + END)
            record = world.sidecar.records[0]
            if END + END in first:
                head, _, content = got.partition(END + END)
                assert head.startswith(OK_LINE)
                assert content.count(b"a") == record.response_bytes > 1
                assert not content.endswith(b"0\r\n\r\n")
            else:
                assert is_told(got, Reason.TIMEOUT)
            await until(partial(is_left, world))


@faults("F22: a drip is no silence, within a head it is")
async def _drip_and_silence() -> None:
    async def script(connection: OriginConnection) -> None:
        head = await connection.read_head()
        await connection.send(OK_LINE + b"X: " if b"/head" in head else OK_LINE + END)
        for _ in range(40):
            if connection.writer.is_closing():
                return
            await connection.send(b"a")
            await asyncio.sleep(0.01)

    async with a_world(script, policy=QUIET, calls=["ok", "timeout"]) as world:
        got = await world.to_the_end(GET + END)
        assert without_chunks(got.partition(END + END)[2]) == b"a" * 40
        got = await world.to_the_end(GET.replace(b"a.test/", b"a.test/head") + END)
        assert is_told(got, Reason.TIMEOUT)
        assert b"fell silent" in got
        await until(partial(is_left, world))


# --- answers that lie -----------------------------------------------------------------------


@faults("F23: a Content-Length that is too large is an answer broken off")
async def _too_large() -> None:
    script = saying(OK_LINE + b"Content-Length: 500\r\n\r\n", b"hello")
    async with a_world(script, calls=["upstream_reset"]) as world:
        got = plain(await world.to_the_end(GET + END))
        assert got == OK_LINE + b"Content-Length: 500\r\n\r\nhello"


@faults("F23: what follows a Content-Length that is too small is dropped with its connection")
async def _too_small() -> None:
    poison = b" world" + OK_LINE + b"Content-Length: 6\r\n\r\npoison"
    for first, then in ((SIZED + b"hello" + poison, b""), (SIZED + b"hel", b"lo" + poison)):
        script = Broken(first, then, "silence")
        async with a_world(script, calls=["ok", "ok"]) as world:
            reader, writer = await world.sidecar.open()
            for _ in range(2):
                writer.write(GET + END)
                async with asyncio.timeout(20):
                    got = await reader.readuntil(b"hel")
                    script.relayed.set()
                    got += await reader.readexactly(2)
                assert plain(got) == SIZED + b"hello"
            writer.close()
            assert len(world.origin.connections) == 2
            assert world.sidecar.booth.pool.idle_count == 0


@faults("F24: an HTTP/1.0 answer that ends by close is relayed whole")
async def _old_upstream() -> None:
    content = bytes(range(256)) * 1200
    for raw in (GET + END, OLD_GET):
        script = saying(b"HTTP/1.0 200 OK\r\n\r\n", content)
        async with a_world(script, calls=["ok"]) as world:
            head, _, got = (await world.to_the_end(raw)).partition(END + END)
            assert head.startswith(OK_LINE)
            assert (without_chunks(got) if raw != OLD_GET else got) == content
            assert world.sidecar.records[0].response_bytes == len(content)
            assert world.sidecar.booth.pool.idle_count == 0


def without_chunks(got: bytes) -> bytes:
    """The content of whole chunked coding, without extensions and trailers."""
    content = b""
    while True:
        line, _, got = got.partition(END)
        size = int(line, 16)
        if not size:
            assert got == END
            return content
        content, got = content + got[:size], got[size + 2 :]


@faults("F25: of a flood of interim answers 32 are passed on, and it is a 502")
async def _interim_flood() -> None:
    for interim in (HINT, b"HTTP/1.1 100 Continue\r\n\r\n"):
        script = saying(interim * 1000, OK)
        async with a_world(script, policy=RETRIED, calls=["upstream_invalid"]) as world:
            got = await world.to_the_end(GET + END)
            assert got.count(interim.split()[1]) == 32
            assert is_told(got[got.index(b"HTTP/1.1 502") :], Reason.UPSTREAM_INVALID)
            assert len(world.origin.heads) == 1


@faults("F25: a 100 that nothing follows is a 504")
async def _only_interim() -> None:
    script = saying(b"HTTP/1.1 100 Continue\r\n\r\n", end="silence")
    for policy in (BRIEF, QUIET):
        async with a_world(script, policy=policy, calls=["timeout"]) as world:
            got = await world.to_the_end(GET + END)
            assert got.startswith(b"HTTP/1.1 100 Continue\r\n")
            assert is_told(got[got.index(b"HTTP/1.1 504") :], Reason.TIMEOUT)


GIANTS = (
    ("a header of 70 KB", OK_LINE + b"X: " + b"a" * 70_000 + b"\r\n"),
    ("100,000 headers", OK_LINE + b"X: a\r\n" * 100_000),
    ("257 headers", OK_LINE + b"X: a\r\n" * 256),
    ("a reason of 70 KB", b"HTTP/1.1 200 " + b"a" * 70_000 + b"\r\n"),
)
for _what, _head in GIANTS:

    @faults(f"F26: {_what}: 502")
    async def _giant(head: bytes = _head) -> None:
        script = saying(head, b"Content-Length: 2\r\n\r\nok", end="silence")
        async with a_world(script, policy=RETRIED, calls=["upstream_invalid"]) as world:
            assert is_told(await world.ask(GET + END), Reason.UPSTREAM_INVALID)
            assert len(world.origin.heads) == 1


@faults("F26: a head without end is read no further than its bound")
async def _endless() -> None:
    sent = 0

    async def script(connection: OriginConnection) -> None:
        nonlocal sent
        await connection.read_head()
        while not connection.writer.is_closing():
            await connection.send(b"HTTP/1.1 200 " if not sent else b"a" * 4096)
            sent += 4096

    async with a_world(script, policy=RETRIED, calls=["upstream_invalid"]) as world:
        assert is_told(await world.ask(GET + END), Reason.UPSTREAM_INVALID)
        await until(lambda: not world.origin._writers)
        assert sent < 16 * 1024 * 1024  # what the sockets of both sides may hold
        assert len(world.origin.heads) == 1


MALFORMED = (
    ("a status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
    ("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
    ("a status below 100", b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
    ("no status", b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n"),
    ("a version in lower case", b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("HTTP/2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("HTTP/1.2", b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("another protocol", b"SSH-2.0-OpenSSH_9.9\r\n\r\n"),
    ("an empty line before", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("a bare LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    ("a bare CR", OK_LINE + b"X: a\rb\r\nContent-Length: 0\r\n\r\n"),
    ("a NUL", OK_LINE + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n"),
    ("a folded line", OK_LINE + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    ("a space before a colon", OK_LINE + b"Content-Length : 0\r\n\r\n"),
    ("a line without a colon", OK_LINE + b"X\r\nContent-Length: 0\r\n\r\n"),
    ("two lengths", OK_LINE + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\nhello"),
    ("a length that is no number", OK_LINE + b"Content-Length: 0x5\r\n\r\nhello"),
    ("a length below 0", OK_LINE + b"Content-Length: -5\r\n\r\nhello"),
    ("length and chunks", CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n0\r\n\r\n"),
    ("another coding", OK_LINE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("chunks in HTTP/1.0", CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n"),
    ("a chunk that is no chunk", CHUNKED + b"zz\r\n"),
)
for _what, _answer in MALFORMED:

    @faults(f"F27: {_what} is a 502")
    async def _malformed(answer: bytes = _answer) -> None:
        script = saying(answer, end="silence")
        async with a_world(script, policy=RETRIED, calls=["upstream_invalid"]) as world:
            assert is_told(await world.ask(GET + END), Reason.UPSTREAM_INVALID)
            assert len(world.origin.heads) == 1
            assert world.sidecar.booth.pool.idle_count == 0


BAD_CHUNKS = (
    ("no size", b"\r\nlo\r\n0\r\n\r\n"),
    ("a size that is no number", b"zz\r\nlo\r\n0\r\n\r\n"),
    ("a size with a sign", b"+2\r\nlo\r\n0\r\n\r\n"),
    ("a size beyond 64 bits", b"10000000000000002\r\nlo\r\n0\r\n\r\n"),
    ("a size ended by LF", b"2\nlo\r\n0\r\n\r\n"),
    ("a chunk longer than its size", b"2\r\nlong\r\n0\r\n\r\n"),
    ("extensions of 64 KB", b"2;" + b"a" * 65536 + b"\r\nlo\r\n0\r\n\r\n"),
    ("a trailer that is none", b"0\r\nHTTP/1.1 200 OK\r\n\r\n"),
    ("trailers without end", b"0\r\n" + b"X: y\r\n" * 10_000),
)
for _what, _rest in BAD_CHUNKS:

    @faults(f"F27: {_what} behind content that was relayed is a visible cut")
    async def _bad_chunk(rest: bytes = _rest) -> None:
        script = Broken(CHUNKED + CHUNK, rest, "silence")
        async with a_world(script, policy=RETRIED, calls=["upstream_invalid"]) as world:
            got = plain(await script.ask(world, b"hel\r\n"))
            assert got in (CHUNKED + CHUNK, CHUNKED + CHUNK + b"2\r\nlo\r\n")
            assert len(world.origin.heads) == 1


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("run", faults.params)
def test_fault(run: Run, new_loop: NewLoop) -> None:
    run_on(new_loop, run)
