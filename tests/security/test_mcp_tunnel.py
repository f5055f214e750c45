"""No way around the judgement of an MCP server's tools leads through a tunnel."""

import asyncio
import json

import pytest

from tests.fakes.mcp import call, json_answer, mcp_policy, result, serving
from tests.fakes.origin import Origin
from tests.fakes.sidecar import Sidecar, read_answer
from tests.wire.hellos import client_hello


async def opened(sidecar: Sidecar, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await sidecar.open()
    authority = f"127.0.0.1:{port}"
    writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    return reader, writer


@pytest.mark.parametrize("opening", [client_hello(None), b"\x00\x01\x02", b"SSH-2.0-x\r\n"])
async def test_what_cannot_be_read_is_closed(opening: bytes) -> None:
    async with Origin() as origin, Sidecar(mcp_policy(origin.port)) as sidecar:
        reader, writer = await opened(sidecar, origin.port)
        writer.write(opening)
        async with asyncio.timeout(5):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        writer.close()
    assert origin.received == b""
    assert [record.code for record in sidecar.records] == ["tool_not_allowed"]


@pytest.mark.parametrize(("name", "code"), [("search", "ok"), ("drop", "tool_not_allowed")])
async def test_plain_http_inside_is_judged_tool_by_tool(name: str, code: str) -> None:
    async with (
        Origin(serving(json_answer(result()))) as origin,
        Sidecar(mcp_policy(origin.port)) as sidecar,
    ):
        reader, writer = await opened(sidecar, origin.port)
        content = json.dumps(call(name))
        writer.write(
            f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
            f"{content}".encode()
        )
        assert (b"isError" in await read_answer(reader)) is (code != "ok")
        writer.close()
        inner = [record for record in sidecar.records if record.mode == "tunnel_http"]
        assert [(record.tool, record.code) for record in inner] == [(f"docs.{name}", code)]
