"""The rows of `abuse.jsonl` for the control port: bytes at the real API, and what it keeps."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp.test_utils import TestServer

from proxy.control.access import Access
from proxy.control.api import control_app
from tests.control.desk import BoundAt, Desk
from tests.fakes.sidecar import read_answer
from tests.security.abuse import Row, as_bytes, rows

TOKEN, VIEWER = "admin-token", "viewer-token"
ORDER = b'{"reason":"stop"}'
PUT = (
    b"PUT /v1/switches/all HTTP/1.1\r\nHost: 127.0.0.1:9901\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer %b\r\nContent-Length: " + b"%d\r\n\r\n" % len(ORDER) + ORDER
)
ROWS = [pytest.param(row, id=row.id) for row in rows() if row.mode == "control"]


class Control:
    """The API over a desk of its own. `ask` sends bytes and reads one answer."""

    def __init__(self, port: int, desk: Desk) -> None:
        self.port = port
        self.desk = desk

    async def ask(self, raw: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(raw)
        try:
            return await read_answer(reader)
        finally:
            writer.close()


@asynccontextmanager
async def control() -> AsyncIterator[Control]:
    desk = Desk()
    access = Access(TOKEN, VIEWER, BoundAt())
    async with TestServer(control_app(desk.operator, access)) as server:
        assert server.port is not None
        yield Control(server.port, desk)


@pytest.mark.parametrize("row", ROWS)
async def test_a_hostile_request(row: Row) -> None:
    """It is refused with its status, and no switch has moved."""
    raw = as_bytes(row.input.replace("{{token}}", TOKEN).replace("{{viewer}}", VIEWER))
    async with control() as port:
        answer = await port.ask(raw)
        status = int(answer.split(b" ")[1])
        assert status in row.answers[0], answer
        assert port.desk.switches.active() == []
        for text in row.got:
            assert as_bytes(text) in answer
        assert TOKEN.encode() not in answer


async def test_the_right_order_is_taken() -> None:
    """The rows above are refused for what is wrong with them, and not for anything else."""
    async with control() as port:
        answer = await port.ask(PUT % TOKEN.encode())
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        assert [switch.key for switch in port.desk.switches.active()] == ["all"]


async def test_parts_of_the_token() -> None:
    """adm-003: no part of it opens anything."""
    async with control() as port:
        for count in range(len(TOKEN)):
            answer = await port.ask(PUT % TOKEN[:count].encode())
            assert answer.startswith(b"HTTP/1.1 401 "), answer
        assert port.desk.switches.active() == []


async def test_guessing() -> None:
    """adm-022: fifty wrong ones are fifty 401, few lines of the audit, and the right one works."""
    async with control() as port:
        for number in range(50):
            assert b" 401 " in (await port.ask(PUT % b"guess-%d" % number)).partition(b"\r\n")[0]
        assert 0 < len(port.desk.audited) < 50
        assert b"guess" not in repr(port.desk.audited).encode()
        assert (await port.ask(PUT % TOKEN.encode())).startswith(b"HTTP/1.1 200 ")
