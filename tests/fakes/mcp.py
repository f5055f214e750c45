"""A scripted MCP server, and the bytes a client sends to it."""

import json
from collections.abc import Callable
from typing import Any

from tests.fakes.origin import OriginConnection, Script
from tests.fakes.sidecar import Sidecar

Raw = bytes | Callable[[OriginConnection], Any]


def json_answer(value: object, *lines: str) -> bytes:
    """A 200 of `application/json`."""
    content = json.dumps(value).encode()
    head = "".join(f"{line}\r\n" for line in lines)
    return (
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        f"{head}Content-Length: {len(content)}\r\n\r\n"
    ).encode() + content


def result(given: object = 1, **fields: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": given, "result": fields or {"content": []}}


STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(value: object) -> bytes:
    return b"event: message\ndata: " + json.dumps(value).encode() + b"\n\n"


def serving(answer: bytes, bodies: list[bytes] | None = None) -> Script:
    """Answer every request with `answer`, keeping the bodies."""

    async def script(connection: OriginConnection) -> None:
        while head := await connection.read_head():
            lower = head.lower()
            if b"content-length:" in lower:
                length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
                body = await connection.read(length)
                if bodies is not None:
                    bodies.append(body)
            await connection.send(answer)

    return script


def mcp_policy(
    port: int, *, allowlist: str = "docs.search, docs.delete", sections: str = "",
    tools: str = "{search: {effect: read}}", top: str = "",
) -> str:  # fmt: skip
    return (
        f"tools:\n  allowlist: [{allowlist}]\n{sections}  catalog:\n    docs:\n"
        f'      match: [{{host: "127.0.0.1", ports: [{port}]}}]\n'
        f"      upstream: http://127.0.0.1:{port}\n"
        '      kind: mcp\n      allow_addresses: ["127.0.0.0/8"]\n'
        f"      tools: {tools}\n{top}"
    )


def call(name: str, given: object = 1, **arguments: object) -> dict[str, object]:
    """A call of a tool; `given` None: as a notification."""
    message: dict[str, object] = {"jsonrpc": "2.0", "method": "tools/call"}
    if given is not None:
        message["id"] = given
    return {**message, "params": {"name": name, "arguments": arguments}}


def request(method: str, given: object = 1, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": given, "method": method, "params": params}


def post(port: int, content: object, *lines: str, media: str = "application/json") -> bytes:
    """The bytes of a POST through the proxy, of JSON or of what is bytes already."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    head = "".join(f"{line}\r\n" for line in (f"Content-Type: {media}", *lines) if media or line)
    return (
        f"POST http://127.0.0.1:{port}/mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"{head}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Said:
    """An answer taken apart."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        self.status = int(raw.split(b" ")[1])
        lines = head.decode().split("\r\n")[1:]
        self.headers = {
            name.lower(): value for name, _, value in (x.partition(": ") for x in lines)
        }

    @property
    def code(self) -> str:
        return self.headers.get("toolbooth-code", "")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def say(sidecar: Sidecar, raw: bytes) -> Said:
    return Said(await sidecar.exchange(raw))
