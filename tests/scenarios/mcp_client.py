"""An MCP client of the SDK that runs this file, 1.x or 2.x: `python mcp_client.py URL MODE [RUN]`.

MODE is `legacy` or `modern`; RUN is named in a header, for the gateway. Reads one JSON order a
line, `{"do": ..}`, and prints one JSON answer a line; ends when its input does. A session stays
open for all of it, as an agent's would.
"""

import asyncio
import importlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def session(url: str, mode: str, headers: dict[str, str]) -> AsyncIterator[Any]:
    """A connected client: `Client` of 2.x, `ClientSession` of 1.x."""
    mcp: Any = importlib.import_module("mcp")
    http: Any = importlib.import_module("mcp.client.streamable_http")
    if hasattr(mcp, "Client"):
        version = "legacy" if mode == "legacy" else "2026-07-28"
        async with http.create_mcp_http_client(headers=headers) as own:
            transport = http.streamable_http_client(url, http_client=own)
            async with mcp.Client(transport if headers else url, mode=version, cache=None) as new:
                yield new
        return
    async with (
        http.streamablehttp_client(url, headers=headers) as (reading, writing, _),
        mcp.ClientSession(reading, writing) as old,
    ):
        await old.initialize()
        yield old


def _plain(result: Any) -> dict[str, Any]:
    dumped: dict[str, Any] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {
        "text": "".join(part.get("text", "") for part in dumped["content"]),
        "is_error": dumped.get("isError", False),
        "meta": dumped.get("_meta", {}),
    }


async def obey(client: Any, order: dict[str, Any]) -> dict[str, Any]:
    if order["do"] == "list":
        listed = await client.list_tools()
        return {"tools": sorted(tool.name for tool in listed.tools)}
    if order["do"] == "read":
        read = await client.read_resource(order["uri"])
        return {"text": read.contents[0].text}
    heard: list[str] = []
    others: list[asyncio.Task[Any]] = []

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")
        if order.pop("announce", None):
            say({"heard": message})
        if order.get("then"):  # in the middle of the call: only heard at once is this reached
            others.append(asyncio.create_task(client.call_tool(order.pop("then"), {})))

    result = await client.call_tool(
        order["name"], order.get("arguments", {}), progress_callback=on_progress
    )
    await asyncio.gather(*others)
    return {**_plain(result), "progress": heard}


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def main(url: str, mode: str, run: str = "") -> None:
    loop = asyncio.get_running_loop()
    async with session(url, mode, {"X-Agent-Run-Id": run} if run else {}) as client:
        say({"connected": True})
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            try:
                said = await obey(client, json.loads(line))
            except Exception as problem:  # noqa: BLE001 - told to whoever gave the order
                error = getattr(problem, "error", None)
                said = {"raised": str(problem), "rpc_code": getattr(error, "code", None)}
            say(said)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
