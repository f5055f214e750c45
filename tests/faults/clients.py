"""Clients that ask in every way there is, and leave in every way there is."""

import asyncio
import contextlib
import itertools
import re
from typing import NamedTuple

from tests.fakes.sidecar import Sidecar
from tests.fakes.sockets import reset_when_closed
from tests.faults.moody import TUNNEL

WAYS = ("get", "post", "pieces", "tunnel", "websocket", "model")
LEAVES = ("stays", "stays", "half-closes", "closes before", "closes while", "resets", "stalls")
LAST_WAYS = ("tunnel", "websocket")  # nothing can follow on their connection
PATIENCE_S = 0.02

_numbers = itertools.count()
_ANSWER = re.compile(rb"HTTP/1\.1 (\d{3}) .*?\r\nToolbooth-Call-Id: (\S+)\r\n", re.DOTALL)
_LENGTH = re.compile(rb"\r\nContent-Length: (\d+)\r\n")


class Ask(NamedTuple):
    """One call: how it is made, and what becomes of it at the origin."""

    way: str
    mood: str


class Client(NamedTuple):
    """One connection. `is_pipelined`: all requests go out at once."""

    run: str
    asks: list[Ask]
    leaves: str
    is_pipelined: bool


class Heard(NamedTuple):
    """What an answer said of its call."""

    call_id: str
    status: int


def raw_request(ask: Ask, run: str) -> bytes:
    """The request in full; its path is its own, so that it is known again."""
    host = "m.test" if ask.way == "model" else "a.test"
    port = 81 if ask.mood == "refused" else 80
    if ask.way == "tunnel":
        port = 81 if ask.mood == "refused" else 443
        head = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        return f"{head}X-Agent-Run-Id: {run}\r\n\r\n".encode()
    verb = "GET" if ask.way in ("get", "websocket") else "POST"
    path = f"/{ask.mood.replace(' ', '_')}/{next(_numbers)}"
    framing, content = "", ""
    if ask.way == "websocket":
        framing = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    elif ask.way == "pieces":
        framing, content = "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"
    elif verb == "POST":
        content = '{"max_tokens": 5}'
        framing = f"Content-Length: {len(content)}\r\n"
    head = f"{verb} http://{host}:{port}{path} HTTP/1.1\r\nHost: {host}:{port}\r\n{framing}"
    return f"{head}X-Agent-Run-Id: {run}\r\n\r\n{content}".encode()


async def visit(sidecar: Sidecar, client: Client) -> list[Heard]:
    """Ask, listen as long as this client does, and be gone. Gives the answers that came."""
    reader, writer = await sidecar.open()
    heard: list[Heard] = []
    asks = _until_the_last_way(client.asks)
    raws = [raw_request(ask, client.run) for ask in asks]
    size = len(asks) if client.is_pipelined else 1
    groups = [(raws[at : at + size], asks[at : at + size]) for at in range(0, len(asks), size)]
    try:
        with contextlib.suppress(OSError):  # the sidecar may have closed first
            for number, (group, group_asks) in enumerate(groups, 1):
                leaves = client.leaves if number == len(groups) else "stays"
                if not await _send(writer, group, group_asks, leaves):
                    break
                for ask in group_asks:
                    heard += await _listen(reader, writer, ask, leaves)
    finally:
        writer.close()
    return heard


def _until_the_last_way(asks: list[Ask]) -> list[Ask]:
    end = next((at for at, ask in enumerate(asks, 1) if ask.way in LAST_WAYS), len(asks))
    return asks[:end]


async def _send(
    writer: asyncio.StreamWriter, raws: list[bytes], asks: list[Ask], leaves: str
) -> bool:
    """All of it, or as much as this client gets to; False: it does not listen any more."""
    *before, last = raws
    half = len(last) - 3 if asks[-1].way in ("pieces", "post", "model") else len(last) // 2
    writer.write(b"".join(before) + last[:half])
    if leaves == "closes before":
        return False
    if asks[-1].way == "pieces" or leaves == "stalls":
        await asyncio.sleep(PATIENCE_S)
    if leaves == "stalls":
        await asyncio.sleep(5 * PATIENCE_S)
        return False
    if writer.transport.is_closing():
        return False  # it was answered before it had asked
    writer.write(last[half:])
    if leaves == "half-closes":
        writer.write_eof()
    elif leaves != "stays":
        await asyncio.sleep(PATIENCE_S)
        if leaves == "resets" and not writer.transport.is_closing():
            reset_when_closed(writer.get_extra_info("socket"))
            writer.transport.abort()
        return False
    return True


async def _listen(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ask: Ask, leaves: str
) -> list[Heard]:
    """One answer, and where it is a tunnel's, what comes through that."""
    async with asyncio.timeout(5):
        head = await _read_until(reader, b"\r\n\r\n")
        said = _ANSWER.match(head)
        if head.startswith(b"HTTP/1.1 200 " if ask.way == "tunnel" else b"HTTP/1.1 101 "):
            if ask.way == "tunnel" and leaves == "stays" and not writer.transport.is_closing():
                writer.write(TUNNEL + ask.mood.encode() + b"\n")
            await reader.read()
        elif b"\r\nTransfer-Encoding: chunked\r\n" in head:
            await _read_until(reader, b"0\r\n\r\n")
        elif length := _LENGTH.search(head):
            with contextlib.suppress(asyncio.IncompleteReadError):
                await reader.readexactly(int(length[1]))
    return [Heard(said[2].decode(), int(said[1]))] if said else []


async def _read_until(reader: asyncio.StreamReader, end: bytes) -> bytes:
    """Not a byte more: another answer may follow. Less where the connection ends before."""
    try:
        return await reader.readuntil(end)
    except asyncio.IncompleteReadError as cut:
        return cut.partial
