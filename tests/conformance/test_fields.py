"""R22 to R49: fields on their way up and down, and the methods and statuses that mean something
to an intermediary."""

import asyncio
import gzip
import re

import pytest

from tests.conformance.world import (
    END,
    GET,
    POLICY,
    POST,
    VIA,
    Run,
    Scenarios,
    a_world,
    after_head,
    upstream,
)
from tests.fakes.origin import OK, OriginConnection
from tests.fakes.sidecar import read_answer

scenarios = Scenarios()
refuses, passes, answers = scenarios.refuses, scenarios.passes, scenarios.answers
START = b"GET / HTTP/1.1"
HOST = b"Host: a.test\r\n"
OK_LINE = b"HTTP/1.1 200 OK\r\n"
NO_MORE = b"Content-Length: 0\r\n\r\n"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def answer(*lines: bytes) -> bytes:
    return OK_LINE + b"".join(line + b"\r\n" for line in lines) + NO_MORE


def goes_up(title: str, *lines: bytes, kept: tuple[bytes, ...] | None = None) -> None:
    """A GET with these lines arrives with `kept` of them; all, unless given."""
    raw = GET + b"".join(line + b"\r\n" for line in lines) + END
    passes(title, raw, upstream(START, *(lines if kept is None else kept)))


def comes_down(title: str, *lines: bytes, kept: tuple[bytes, ...] | None = None) -> None:
    """An answer with these lines comes back with `kept` of them; all, unless given."""
    answers(title, answer(*lines), answer(*(lines if kept is None else kept)))


goes_up("R22: a field nobody knows goes up", b"X-Unknown: 1", b"!#$%&'*+-.^_`|~: odd name")
comes_down("R22: a field nobody knows comes down", b"X-Unknown: 1", b"Server: x")
goes_up("R23: lines of one name keep their order upwards", b"X: 1", b"Y: 2", b"x: 3", b"X: 0")
comes_down("R23: lines of one name keep their order downwards", b"X: 1", b"Y: 2", b"x: 3")
comes_down("R24: two Set-Cookie lines stay two", b"Set-Cookie: a=1", b"Set-Cookie: b=2; Path=/")

refuses("R25: CR in a request's value", GET + b"X: a\rb\r\n\r\n", 400)
refuses("R25: LF in a request's value", GET + b"X: a\nb: c\r\n\r\n", 400)
refuses("R25: NUL in a request's value", GET + b"X: a\x00b\r\n\r\n", 400)
refuses("R25: DEL in a request's value", GET + b"X: a\x7fb\r\n\r\n", 400)
for _name, _octet in (("CR", b"\r"), ("NUL", b"\x00"), ("LF", b"\n")):

    @scenarios(f"R25: {_name} in an answer's value")
    async def _bad_answer(octet: bytes = _octet) -> None:
        async with a_world(after_head(answer(b"X: a" + octet + b"b: c"))) as world:
            got = await world.to_the_end(GET + END)
            assert got.startswith(b"HTTP/1.1 502 ")
            assert b"X: a" not in got


OPAQUE = b"X: \x80\xfe\xff caf\xe9 \xc3\xa9"
goes_up("R26: octets beyond ASCII in a value go up", OPAQUE)
comes_down("R26: octets beyond ASCII in a value come down", OPAQUE)
goes_up("R26: blanks around a value stay", b"X:\t a \t b ")

refuses("R27: a blank before the colon of a request", GET + b"X : a\r\n\r\n", 400)
refuses("R27: a tab before the colon of a request", GET + b"X\t: a\r\n\r\n", 400)


@scenarios("R27: a blank before the colon of an answer")
async def _blank_in_answer() -> None:
    """We refuse the whole answer, where the RFC has the blank removed; see the checklist."""
    async with a_world(after_head(OK_LINE + b"Content-Length : 2\r\n\r\nok")) as world:
        got = await world.to_the_end(GET + END)
        assert got.startswith(b"HTTP/1.1 502 ")
        assert b"Content-Length :" not in got


refuses("R28: a folded line in a request", GET + b"X: a\r\n b\r\n\r\n", 400)
refuses(
    "R28: a folded line before the first field",
    b"GET http://a.test/ HTTP/1.1\r\n\tX: a\r\n\r\n",
    400,
)


@scenarios("R28: a folded line in an answer")
async def _fold_in_answer() -> None:
    async with a_world(after_head(OK_LINE + b"X: a\r\n b\r\n" + NO_MORE)) as world:
        got = await world.to_the_end(GET + END)
        assert got.startswith(b"HTTP/1.1 502 ")
        assert b"\r\n b" not in got


refuses("R29: a field of 70 KB", GET + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431)
refuses("R29: 300 fields", GET + b"X: a\r\n" * 300 + END, 431)
refuses("R29: a name of 70 KB", GET + b"X" * 70_000 + b": a\r\n\r\n", 431)
goes_up("R29: a field of 32 KB fits", b"X: " + b"a" * 32_000)


@scenarios("R30: an answer without Date gets one, with Date keeps it")
async def _date() -> None:
    async with a_world(after_head(OK)) as world:
        got = await world.to_the_end(GET + END)
        assert re.search(rb"\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", got)
    told = b"Date: Mon, 01 Jan 2001 00:00:00 GMT"
    async with a_world(after_head(answer(told))) as world:
        got = await world.to_the_end(GET + END)
        assert got.count(b"Date: ") == 1
        assert told in got


goes_up(
    "R31: what Connection names stops here",
    b"Connection: X-A",
    b"X-A: 1",
    b"X-B: 2",
    kept=(b"X-B: 2",),
)
goes_up(
    "R31: in any case, and in several lines",
    b"Connection: keep-alive, x-A",
    b"CONNECTION: ,X-b ,",
    b"X-a: 1",
    b"X-B: 2",
    b"X-C: 3",
    kept=(b"X-C: 3",),
)
goes_up("R31: a name spelt with _ for -", b"Connection: X-A", b"X_A: 1", kept=())
comes_down(
    "R31: what an answer's Connection names stops here",
    b"Connection: X-A",
    b"X-A: 1",
    b"X-B: 2",
    kept=(b"X-B: 2",),
)
comes_down(
    "R31: in any case, in an answer",
    b"connection: x-A",
    b"Connection: X-b",
    b"x-a: 1",
    b"X-B: 2",
    kept=(),
)

goes_up(
    "R32: hop-by-hop fields that nobody named",
    b"Proxy-Connection: keep-alive",
    b"Keep-Alive: timeout=5",
    b"TE: trailers",
    b"Trailer: X",
    b"Upgrade: h2c",
    b"HTTP2-Settings: AAMAAABkAAQAAP__",
    kept=(),
)
comes_down(
    "R32: hop-by-hop fields of an answer",
    b"Proxy-Connection: keep-alive",
    b"Keep-Alive: timeout=5",
    b"Trailer: X",
    b"Upgrade: h2c",
    b"Proxy-Authentication-Info: x",
    kept=(),
)

TRACE = b"%b http://a.test%b HTTP/1.1\r\n" + HOST + b"Max-Forwards: %b\r\n\r\n"
passes(
    "R33: Max-Forwards of OPTIONS is counted down",
    TRACE % (b"OPTIONS", b"", b"3"),
    upstream(b"OPTIONS * HTTP/1.1", b"Max-Forwards: 2"),
)
passes(
    "R33: Max-Forwards of TRACE is counted down",
    TRACE % (b"TRACE", b"/", b"1"),
    upstream(b"TRACE / HTTP/1.1", b"Max-Forwards: 0"),
)
goes_up("R33: Max-Forwards of GET means nothing", b"Max-Forwards: 3")
passes(
    "R33: Max-Forwards is never added",
    b"OPTIONS http://a.test/ HTTP/1.1\r\n" + HOST + END,
    upstream(b"OPTIONS / HTTP/1.1"),
)
refuses("R33: Max-Forwards that is no number", TRACE % (b"TRACE", b"/", b"-1"), 400, closes=False)


@scenarios("R33: Max-Forwards 0 is answered here")
async def _no_hops() -> None:
    async with a_world() as world:
        for method in (b"TRACE", b"OPTIONS"):
            assert (await world.ask(TRACE % (method, b"/", b"0"))).startswith(OK_LINE)
        assert world.seen == b""


goes_up("R34: Via comes after those that are there", b"Via: 1.0 fred, 1.1 p.test")


@scenarios("R34: Via on answers, after those that are there")
async def _via_down() -> None:
    theirs = b"Via: 1.1 origin-cache\r\n"
    async with a_world(after_head(OK_LINE + theirs + NO_MORE)) as world:
        got = await world.to_the_end(GET + END)
        assert got.index(theirs) < got.index(VIA)
    async with a_world(after_head(b"HTTP/1.0 200 OK\r\n" + NO_MORE)) as world:
        got = await world.to_the_end(GET + END)
        assert VIA.replace(b"1.1 ", b"1.0 ") in got


@scenarios("R34: Via on interim answers and on a switch of protocols")
async def _via_on_1xx() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n"
    async with a_world(after_head(interim + END + OK)) as world:
        got = await world.to_the_end(GET + END)
        assert got.startswith(interim + VIA + END)
    switch = b"HTTP/1.1 101 Switching Protocols\r\n" + WEBSOCKET + END
    async with a_world(after_head(switch)) as world:
        assert VIA in await world.to_the_end(GET + WEBSOCKET + END)


@scenarios("R35: Via names a pseudonym")
async def _pseudonym() -> None:
    async with a_world() as world:
        got = await world.ask(GET + END)
        assert re.findall(rb"Via: ([^\r]*)", world.seen + got) == [b"1.1 toolbooth-test"] * 2


refuses(
    "R36: a request that has been here before", GET + b"Via: 1.1 x, 1.1 toolbooth-test\r\n\r\n", 400
)


@scenarios("R36: the sidecar's own port")
async def _own_port() -> None:
    policy = POLICY.replace("host: a.test}]", 'host: "*"}], allow_addresses: ["127.0.0.0/8"]')
    async with a_world(policy=policy) as world:
        own = b"127.0.0.1:%d" % world.sidecar.port
        got = await world.ask(b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (own, own))
        assert got.startswith(b"HTTP/1.1 403 ")
        assert world.network.dialled == []


goes_up("R37: Upgrade that Connection does not name is ignored", b"Upgrade: websocket", kept=())
goes_up(
    "R37: an upgrade that nobody here serves is ignored",
    b"Connection: Upgrade",
    b"Upgrade: foo/2",
    kept=(),
)
passes(
    "R37: Upgrade is ignored in HTTP/1.0",
    b"GET http://a.test/ HTTP/1.0\r\n" + WEBSOCKET + END,
    upstream(START).replace(VIA, VIA.replace(b"1.1 ", b"1.0 ")),
)


@scenarios("R37: a 101 carries Upgrade, and nothing is switched before it")
async def _upgrade() -> None:
    may_answer = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await may_answer.wait()
        await connection.send(b"HTTP/1.1 101 Switching Protocols\r\n" + WEBSOCKET + END)
        await connection.read(5)
        await connection.send(b"early")

    async with a_world(script) as world:
        reader, writer = await world.sidecar.open()
        writer.write(GET + WEBSOCKET + END + b"after")
        while not world.seen:
            await asyncio.sleep(0)
        assert world.seen == upstream(START, b"Connection: Upgrade\r\nUpgrade: websocket").replace(
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n" + VIA,
            VIA + b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        )
        may_answer.set()
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"\r\nUpgrade: websocket\r\n" in head
            assert b"\r\nConnection: Upgrade\r\n" in head
            assert await reader.readexactly(5) == b"early"
        assert world.seen.endswith(b"\r\n\r\nafter")
        writer.close()


@scenarios("R37: what follows a declined upgrade is the next request")
async def _declined() -> None:
    async with a_world() as world:
        reader, writer = await world.sidecar.open()
        writer.write(GET + WEBSOCKET + END + b"GET http://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n")
        assert (await read_answer(reader)).startswith(OK_LINE)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 403 ")
        assert b"b.test" not in world.seen
        writer.close()


EXPECT = b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
refuses(
    "R38: a refused target gets its 403 and no 100",
    POST.replace(b"a.test", b"b.test") + EXPECT,
    403,
)
passes(
    "R38: the expectation of HTTP/1.0 is ignored",
    POST.replace(b"1.1", b"1.0") + EXPECT + b"hello",
    upstream(b"POST / HTTP/1.1", b"Content-Length: 5", content=b"hello").replace(
        VIA, VIA.replace(b"1.1 ", b"1.0 ")
    ),
)


@scenarios("R38: an allowed target sees the head before any content")
async def _expect() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.read(5)
        await connection.send(OK)

    async with a_world(script) as world:
        reader, writer = await world.sidecar.open()
        writer.write(POST + EXPECT)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 100 Continue\r\n")
        head = upstream(b"POST / HTTP/1.1", b"Expect: 100-continue", b"Content-Length: 5")
        assert world.seen == head
        writer.write(b"hello")
        assert (await read_answer(reader)).startswith(OK_LINE)
        assert world.seen == head + b"hello"
        writer.close()


HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


@scenarios("R39: an interim answer is passed on, but not to HTTP/1.0")
async def _interim() -> None:
    async with a_world(after_head(HINT + HINT + OK)) as world:
        got = await world.to_the_end(GET + END)
        assert got.replace(VIA, b"").startswith(HINT + HINT + OK_LINE)
        got = await world.to_the_end(b"GET http://a.test/ HTTP/1.0\r\n\r\n")
        assert got.startswith(OK_LINE)
        assert b"103" not in got.partition(b"\r\n")[0]


goes_up("R40: Authorization is the origin's", b'Authorization: Digest a="b",c=d')
comes_down(
    "R40: WWW-Authenticate is the client's", b'WWW-Authenticate: Basic realm="x", Digest y="z"'
)

goes_up("R41: Proxy-Authorization stops here", b"Proxy-Authorization: Basic cnVuOng=", kept=())


@scenarios("R41: a 407 says how to authenticate")
async def _authenticate() -> None:
    async with a_world(policy=POLICY + "budgets: {on_missing_run: reject}\n") as world:
        got = await world.ask(GET + END)
        assert got.startswith(b"HTTP/1.1 407 ")
        assert b"\r\nProxy-Authenticate: Basic realm=" in got
        got = await world.ask(GET + b"Proxy-Authorization: Basic cnVuOng=\r\n\r\n")
        assert got.startswith(OK_LINE)
        assert world.seen == upstream(START)


answers(
    "R42: Allow comes back as it was",
    b"HTTP/1.1 405 No\r\nAllow: GET,  PUT\r\n" + NO_MORE,
    b"HTTP/1.1 405 No\r\nAllow: GET,  PUT\r\n" + NO_MORE,
)

goes_up(
    "R43: preconditions are the origin's to evaluate",
    b'If-None-Match: "x", W/"y"',
    b"If-Match: *",
    b"If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT",
    b'If-Range: "x"',
)
answers(
    "R43: a 304 is relayed",
    b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
    b'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
)
answers(
    "R43: a 412 is relayed",
    b"HTTP/1.1 412 Precondition Failed\r\n" + NO_MORE,
    b"HTTP/1.1 412 Precondition Failed\r\n" + NO_MORE,
)

PART = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nok"
goes_up("R44: Range goes up", b"Range: bytes=0-1,-5")
answers("R44: a 206 is relayed", PART, PART)
answers(
    "R44: a 416 is relayed",
    PART.replace(b"206 Partial Content", b"416 No"),
    PART.replace(b"206 Partial Content", b"416 No"),
)

answers(
    "R45: a 304 has no content, and may say its length",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
)


@scenarios("R46: no refusal is a 421")
async def _no_421() -> None:
    async with a_world() as world:
        for host in (b"b.test", b"127.0.0.1", b"a.test:444"):
            got = await world.ask(b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (host, host))
            assert got.split()[1] in (b"403", b"502"), got


SQUEEZED = gzip.compress(b"hello" * 100, mtime=0)
AS_IT_IS = (
    b'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nETag: "x"\r\nCache-Control: no-transform\r\n'
    b"Content-MD5: x\r\nContent-Length: %d\r\n\r\n%b" % (len(SQUEEZED), SQUEEZED)
)
answers("R47: content and what describes it stay as they are", AS_IT_IS, AS_IT_IS)
comes_down("R48: Vary is the origin's", b"Vary: Accept")
comes_down("R48: and no Vary is added")


@scenarios("R49: a POST that is reset is not tried again")
async def _no_retry() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.read(5)
        connection.reset()

    async with a_world(script, policy=POLICY.replace("max: 0", "max: 2")) as world:
        got = await world.ask(POST + b"Content-Length: 5\r\n\r\nhello")
        assert got.startswith(b"HTTP/1.1 502 ")
        assert len(world.origin.heads) == len(world.origin.connections) == 1


@pytest.mark.parametrize("run", scenarios.params)
async def test_requirement(run: Run) -> None:
    await run()
