"""Where rows of `abuse.jsonl` are played: a sidecar, an origin, a network of names, and a client
that reads answers and nothing into them."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.fakes.network import PUBLIC, Network
from tests.fakes.origin import Origin, OriginConnection, Script
from tests.fakes.sidecar import Sidecar

_TOOLS = """\
tools:
  allowlist: {allowlist}
  retries: {{max: {retries}, backoff_ms: [1, 2], budget_percent: 100}}
  timeouts_ms: {{default: 20000, connect: 10000}}
  catalog:
{catalog}
"""
_NAMES = """\
    allowed: {match: [{host: allowed.test, ports: [80, 443]}], tunnel: {raw: true}}
    wild: {match: [{host: "*.wild.test", ports: [443]}]}
"""
_GATEWAY = """\
    svc:
      match: [{host: allowed.test, paths: ["/base", "/base/**"]}]
      upstream: http://allowed.test/base
"""
_OPEN = '    web: {match: [{host: "*", ports: [80, 443]}]}\n'
_ANYWHERE = (
    '    web: {match: [{host: "*"}], allow_addresses: ["127.0.0.0/8", "::1/128", "0.0.0.0/32"]}\n'
)


def _world(catalog: str, *names: str, retries: int = 0, more: str = "") -> str:
    allowlist = "[" + ", ".join(names) + "]"
    return _TOOLS.format(allowlist=allowlist, catalog=catalog, retries=retries) + more


WORLDS = {
    "names": _world(_NAMES, "allowed", "wild"),
    "retries": _world(_NAMES, "allowed", "wild", retries=2),
    "sampled": _world(_NAMES, "allowed", "wild", more="observability: {result_sample_rate: 1.0}\n"),
    "gateway": _world(_GATEWAY, "svc"),
    "open": _world(_OPEN, "web"),
    "anywhere": _world(_ANYWHERE, "web"),
}
CLEAN = {
    "gateway": b"GET /tools/svc/clean HTTP/1.1\r\nHost: gw.local\r\n\r\n",
    "": b"GET http://allowed.test/clean HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
}
CONTROL_PORT = 9901
_HEAD = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [^\r\n]*\r\n")


@dataclass
class Heard:
    """What the client got: `statuses` of the final answers, `contents`, `raw`, and whether the
    sidecar closed before we did."""

    statuses: list[int] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    raw: bytes = b""
    rest: bytes = b""
    is_closed: bool = False


@dataclass
class Stage:
    """One sidecar. `requests`: every request target the origin got."""

    sidecar: Sidecar
    origin: Origin
    network: Network

    async def play(
        self, pieces: Sequence[bytes], count: int, *, fin: bool = False, is_head: bool = False
    ) -> Heard:
        """Send, read `count` final answers, then half-close and read what else there is."""
        reader, writer = await self.sidecar.open()
        heard = Heard()
        try:
            async with asyncio.timeout(30):
                reading = asyncio.ensure_future(_read(reader, heard, count, is_head=is_head))
                for piece in pieces:
                    writer.write(piece)
                    for _ in range(2 if len(pieces) > 1 else 0):
                        await asyncio.sleep(0)
                if fin:
                    writer.write_eof()
                await reading
                heard.is_closed = reader.at_eof() or await _ends_now(reader)
                if not heard.is_closed:
                    writer.write_eof()
                heard.rest += await reader.read()
        finally:
            writer.close()
        return heard

    async def recorded(self, count: int) -> None:
        """As many records are there."""
        async with asyncio.timeout(30):
            while len(self.sidecar.records) < count:
                await asyncio.sleep(0.002)


async def _ends_now(reader: asyncio.StreamReader) -> bool:
    """Is the end of the connection on its way? Loopback takes a few turns of the loop."""
    for _ in range(8):
        await asyncio.sleep(0)
        if reader.at_eof():
            return True
    return False


async def _read(reader: asyncio.StreamReader, heard: Heard, count: int, *, is_head: bool) -> None:
    buffer = b""
    while len(heard.statuses) < count:
        data = await reader.read(1 << 16)
        heard.raw += data
        buffer += data
        while (taken := _answer(buffer, is_head=is_head, is_over=not data)) is not None:
            is_head = False  # only the first one is
            status, content, buffer = taken
            if status >= 200:
                heard.statuses.append(status)
                heard.contents.append(content)
        if not data:
            heard.is_closed = True
            break
    heard.rest = buffer


def _answer(buffer: bytes, *, is_head: bool, is_over: bool) -> tuple[int, bytes, bytes] | None:
    """(status, content, what follows) of the first answer, or None while it is not whole; at the
    end of the connection what is there of its content counts."""
    head, end, rest = buffer.partition(b"\r\n\r\n")
    found = _HEAD.match(head + b"\r\n")
    if not end or found is None:
        assert not buffer or b"HTTP/1.1 ".startswith(buffer[:9]), buffer[:200]
        return None
    status, lower = int(found[1]), head.lower() + b"\r\n"
    if status < 200 or status in (204, 304) or is_head or b"connection established" in lower:
        return status, b"", rest
    if (length := re.search(rb"\r\ncontent-length: (\d+)\r\n", lower)) is not None:
        size = int(length[1])
        return (status, rest[:size], rest[size:]) if len(rest) >= size or is_over else None
    if b"\r\ntransfer-encoding: chunked\r\n" in lower:
        content, last, after = rest.partition(b"0\r\n\r\n")
        return (status, content, after) if last or is_over else None
    return (status, rest, b"") if is_over else None


@asynccontextmanager
async def a_stage(
    world: str,
    script: Script | None = None,
    *,
    dns: Sequence[Sequence[str]] | None = None,
    policy: str | None = None,
) -> AsyncIterator[Stage]:
    """Every name that tests allow resolves to a public address, which leads to the origin."""
    names = ("allowed.test", "a.wild.test", "a.b.wild.test", "_x.wild.test",
             "xn--bcher-kva.wild.test", "a." * 100 + "wild.test")  # fmt: skip
    answers = {} if dns == () else {name: dns or [[PUBLIC]] for name in names}
    async with (
        Origin(script or by_target) as origin,
        Sidecar(policy or WORLDS[world]) as sidecar,
    ):
        network = Network({80: origin.port, 443: origin.port}, **answers)
        sidecar.booth.pool.own_ports |= {CONTROL_PORT}
        with network.around(sidecar):
            yield Stage(sidecar, origin, network)


async def by_target(connection: OriginConnection) -> None:
    """Answers 200 with the request's own path as content. Its reading of a request is the one
    RFC 9112 has; what is no request ends the connection."""
    while head := await _head(connection):
        lower = head.lower()
        if not re.match(rb"[^ ]+ [^ ]+ HTTP/1\.1\r\n", head):
            return
        if (length := re.search(rb"\r\ncontent-length: (\d+)\r\n", lower)) is not None:
            await connection.read(int(length[1]))
        elif b"\r\ntransfer-encoding: chunked\r\n" in lower:
            while (line := await _line(connection)) != b"0\r\n":
                await connection.read(int(line, 16) + 2)
            await _line(connection)
        target = head.split(b" ")[1].partition(b"?")[0]
        content = b"" if head.startswith(b"HEAD ") else target
        await connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), content)
        )


async def _head(connection: OriginConnection) -> bytes:
    """A TLS ClientHello is no request, and not waited on for the end of one."""
    first = await connection.reader.read(1)
    connection.received += first
    if first in (b"", b"\x16"):
        await connection.read_some()
        return b""
    rest = await connection.read_head()
    if not rest:
        return b""
    connection.origin.heads[-1] = first + rest
    return first + rest


async def _line(connection: OriginConnection) -> bytes:
    line = await connection.reader.readuntil(b"\r\n")
    connection.received += line
    return line
