"""The upstream of a soak: it behaves, well or badly, by the first word of the path.

`python bench/soak_origin.py` listens on two free loopback ports, prints them on one line and serves
until it is killed. The first speaks HTTP, the second sends back whatever it gets.
"""

import asyncio
import json
import socket
import struct

import uvloop
from upstream import request_end

_JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_LARGE = b'{"text":"%b"}' % (b"x" * 65_525)
_EVENT = b'data: {"delta":"word"}\n\n'
_EVENTS, _EVENT_EVERY_S = 8, 0.02
_SLOW_S = 5.0
_NO_LINGER = struct.pack("ii", 1, 0)  # closing sends a reset

SIMPLE = {
    b"ok": _JSON % (11, b'{"ok":true}'),
    b"large": _JSON % (len(_LARGE), _LARGE),
    b"busy": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
}


class Echo(asyncio.Protocol):
    """What a tunnel leads to."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


class Origin(asyncio.Protocol):
    """One connection; requests come one at a time."""

    def __init__(self) -> None:
        self._pending = b""
        self._echoes = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._echoes:
            self._transport.write(data)
            return
        self._pending += data
        while (end := request_end(self._pending)) is not None:
            request, self._pending = self._pending[:end], self._pending[end:]
            path = request.split(b" ", 2)[1]
            word = path.split(b"/")[1].partition(b"-")[0]
            self._behave(word, request)

    def _behave(self, word: bytes, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        if word in SIMPLE:
            self._transport.write(SIMPLE[word])
        elif word == b"post":
            told = b'{"bytes":%d}' % len(request.partition(b"\r\n\r\n")[2])
            self._transport.write(_JSON % (len(told), told))
        elif word == b"events":
            self._begin_events()
        elif word == b"slow":
            loop.call_later(_SLOW_S, self._transport.abort)  # nobody waits for it
        elif word == b"reset":
            self._reset()
        elif word == b"cut":
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")
            self._transport.close()
        elif word == b"socket":
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\n\r\n"
            )
            self._echoes = True
        elif word == b"mcp":
            self._answer_mcp(request)
        # `stall`, and whatever else: silence

    def _reset(self) -> None:
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

    def _begin_events(self) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        self._send_event(_EVENTS)

    def _send_event(self, left: int) -> None:
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(_EVENT), _EVENT))
        loop = asyncio.get_running_loop()
        loop.call_later(_EVENT_EVERY_S, self._send_event, left - 1)

    def _answer_mcp(self, request: bytes) -> None:
        message = json.loads(request.partition(b"\r\n\r\n")[2])
        result = {"content": [{"type": "text", "text": "found"}], "isError": False}
        told = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode()
        self._transport.write(_JSON % (len(told), told))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    web = await loop.create_server(Origin, "127.0.0.1", 0, backlog=1024)
    echo = await loop.create_server(Echo, "127.0.0.1", 0, backlog=1024)
    print(*(server.sockets[0].getsockname()[1] for server in (web, echo)), flush=True)
    await asyncio.gather(web.serve_forever(), echo.serve_forever())


if __name__ == "__main__":
    uvloop.run(_serve())
