"""An MCP server of the SDK that runs this file, 1.x or 2.x: `python mcp_server.py [json] [tls=PEM]
[key=KEY]`: answers in JSON, over TLS, and only to whoever has the key.

Prints its port. Its tools: `search` and `delete` answer, `steps` reports progress and waits for
`release`, `hang` never ends. `calls` counts what reached it.
"""

import asyncio
import importlib
import socket
import sys
from collections import Counter
from typing import Any

calls: Counter[str] = Counter()
released = asyncio.Event()


def _server(json_response: bool) -> tuple[Any, Any, Any]:
    """A server, its ASGI application once it has its tools, and the type of a tool's context."""
    try:
        sdk: Any = importlib.import_module("mcp.server.mcpserver")
    except ModuleNotFoundError:
        sdk = importlib.import_module("mcp.server.fastmcp")
        server = sdk.FastMCP("docs", json_response=json_response)
        return server, server.streamable_http_app, sdk.Context
    server = sdk.MCPServer("docs")
    return server, lambda: server.streamable_http_app(json_response=json_response), sdk.Context


def build(json_response: bool) -> Any:
    server, app, context = _server(json_response)

    async def search(q: str) -> str:
        """Search the documents."""
        calls["search"] += 1
        return f"found {q}, {calls['search']} so far"

    async def delete(q: str) -> str:
        """Delete a document."""
        calls["delete"] += 1
        return f"deleted {q}"

    async def steps(ctx: Any) -> str:
        """Say how far it is, then wait to be released."""
        await ctx.report_progress(1, 2, "half way")
        await released.wait()
        released.clear()
        await ctx.report_progress(2, 2, "done")
        return "all steps taken"

    async def release() -> str:
        """Let `steps` go on."""
        released.set()
        return "released"

    async def hang(ctx: Any) -> str:
        """Never end, after a sign of life."""
        await ctx.report_progress(1, 100, "still here")
        await asyncio.Event().wait()
        return "never"

    steps.__annotations__["ctx"] = hang.__annotations__["ctx"] = context
    for tool in (search, delete, steps, release, hang):
        server.tool()(tool)

    @server.resource("docs://one")  # type: ignore[untyped-decorator]
    def one() -> str:
        """A document."""
        return "the first document"

    return app()


def locked(app: Any, key: str) -> Any:
    """The application, for requests that carry the key and no other."""

    async def judge(scope: Any, receive: Any, send: Any) -> None:
        given = [value for name, value in scope.get("headers", ()) if name == b"authorization"]
        if scope["type"] != "http" or given == [f"Bearer {key}".encode()]:
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return judge


async def main(*words: str) -> None:
    import uvicorn

    given = dict(word.split("=", 1) for word in words if "=" in word)
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    app = build("json" in words)
    if "key" in given:
        app = locked(app, given["key"])
    config = uvicorn.Config(app, log_level="warning", ssl_certfile=given.get("tls"))
    await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
