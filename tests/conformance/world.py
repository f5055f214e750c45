"""One sidecar and one scripted origin behind the name `a.test`, and scenarios that use them.

Bytes go in by a raw socket and come out as the origin got them: nothing here reads HTTP for the
sidecar, and nothing mends what either side says.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.fakes.network import PUBLIC, Network
from tests.fakes.origin import OK, Origin, OriginConnection, Script
from tests.fakes.sidecar import Sidecar, read_answer
from tests.numbered import NumberedTests

POLICY = """\
tools:
  allowlist: [a]
  retries: {max: 0}
  timeouts_ms: {default: 20000, connect: 10000}
  catalog:
    a: {match: [{host: a.test}], tunnel: {raw: true}}
"""
VIA = b"Via: 1.1 toolbooth-test\r\n"
GET = b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"
POST = b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\n"
CONNECT = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"
END = b"\r\n"

_STATUS_LINE = re.compile(rb"HTTP/1\.1 [0-9]{3} ")
Run = Callable[[], Coroutine[None, None, None]]


class Scenarios(NumberedTests):
    """Those of one module, and the shapes that many of them have."""

    def refuses(self, title: str, raw: bytes, *statuses: int, closes: bool = True) -> None:
        """`raw` gets one of `statuses` and a close, and the origin not a byte; `closes` False:
        where it ends is clear, so the connection goes on."""

        async def run() -> None:
            async with a_world() as world:
                got = await world.to_the_end(raw)
                assert int(got.split()[1]) in statuses, got
                assert (b"\r\nConnection: close\r\n" in got) is closes
                assert len(_STATUS_LINE.findall(got)) == 1
                assert world.seen == b""
                assert world.network.asked == []

        self(title)(run)

    def passes(self, title: str, raw: bytes, seen: bytes) -> None:
        """`raw` reaches the origin as exactly `seen`, and its 200 comes back."""

        async def run() -> None:
            async with a_world() as world:
                got = await world.ask(raw)
                assert got.startswith(b"HTTP/1.1 200 OK\r\n"), got
                assert world.seen == seen

        self(title)(run)

    def answers(self, title: str, answer: bytes, expected: bytes, raw: bytes = GET + END) -> None:
        """The origin's `answer` to `raw` reaches the client as exactly `expected`, what we add to
        every answer left out (`plain`)."""

        async def run() -> None:
            async with a_world(after_head(answer)) as world:
                assert plain(await world.to_the_end(raw)) == expected
                lines = world.seen.split(b"\r\n")
                assert not any(b"\n" in line or b"\r" in line for line in lines)

        self(title)(run)


@dataclass
class World:
    """`network.asked` and `.dialled` say what was looked up and dialled."""

    sidecar: Sidecar
    origin: Origin
    network: Network

    @property
    def seen(self) -> bytes:
        """Every byte the origin got."""
        return self.origin.received

    async def ask(self, raw: bytes) -> bytes:
        """One answer on a connection of its own."""
        return await self.sidecar.exchange(raw)

    async def to_the_end(self, raw: bytes) -> bytes:
        """Everything that comes until the sidecar closes; a connection that it keeps is closed
        for it, by a half-close, once the first answer is there."""
        reader, writer = await self.sidecar.open()
        writer.write(raw)
        async with asyncio.timeout(20):
            first = await read_answer(reader)
            if b"\r\nConnection: close\r\n" not in first and writer.can_write_eof():
                writer.write_eof()
            got = first + await reader.read()
        writer.close()
        return got


@asynccontextmanager
async def a_world(script: Script | None = None, *, policy: str = POLICY) -> AsyncIterator[World]:
    """Ports 80 and 443 of every name lead to the one origin."""
    async with Origin(script or by_framing) as origin, Sidecar(policy) as sidecar:
        network = Network({80: origin.port, 443: origin.port}, **{"a.test": [[PUBLIC]]})
        with network.around(sidecar):
            yield World(sidecar, origin, network)


async def by_framing(connection: OriginConnection) -> None:
    """200 `ok` to every request, its content read by Content-Length or to the last chunk."""
    while head := await connection.read_head():
        lower = head.lower()
        if b"\r\ncontent-length:" in lower:
            await connection.read(int(lower.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0]))
        elif b"\r\ntransfer-encoding: chunked" in lower:
            while not connection.received.endswith(b"0\r\n\r\n"):
                if not await connection.read_some():
                    return
        await connection.send(OK)


def after_head(answer: bytes, *, closes: bool = True) -> Script:
    """`answer` after a request's head, and then the end of the connection."""

    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            await connection.send(answer)
            if closes:
                return

    return script


def upstream(start: bytes, *lines: bytes, content: bytes = b"") -> bytes:
    """A request as it arrives: `lines` are the client's own, the last ones framing."""
    framing = [line for line in lines if line.startswith((b"Content-Length", b"Transfer-Enc"))]
    others = [line for line in lines if line not in framing]
    parts = [start, b"Host: a.test", *others, VIA[:-2], *framing]
    return b"\r\n".join(parts) + b"\r\n\r\n" + content


def plain(got: bytes) -> bytes:
    """An answer without the lines that we add to each: `Toolbooth-*`, our Via and our Date."""
    head, end, content = got.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    ours = (b"Toolbooth-", b"Via: 1.1 toolbooth-", b"Via: 1.0 toolbooth-", b"Date: ")
    kept = [line for line in lines if not line.startswith(ours)]
    return b"\r\n".join(kept) + end + content
