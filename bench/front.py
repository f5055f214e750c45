"""What does reading a request and writing an answer cost, before any policy?

The question behind docs/decisions/0002-own-http-front.md: aiohttp's low-level `web.Server`, or
our own `ClientConnection`. Both parse the same proxy request and answer the same 100 bytes at
once, in turns, each pinned to core 1 with the load on core 0; CPU from the operating system.
"""

import asyncio
import os
import subprocess
import sys
import time
from statistics import median

import uvloop
from cpu import read_cpu

_ANSWER = b"x" * 100
_REQUEST = (
    b"GET http://tool.example/v1/search?q=1 HTTP/1.1\r\nHost: tool.example\r\n"
    b"User-Agent: python-requests/2.34\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\n"
    b"Connection: keep-alive\r\nProxy-Authorization: Basic cnVuOng=\r\n\r\n"
)
_CONNECTIONS, _REQUESTS, _ROUNDS = 32, 40_000, 5


async def _serve_aiohttp() -> asyncio.Server:
    from aiohttp import web

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=_ANSWER)

    server = web.Server(answer, access_log=None)
    return await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)


async def _serve_own() -> asyncio.Server:
    from proxy.listeners import client
    from proxy.listeners.front import Front
    from tests.fakes.sidecar import Sidecar

    async def answer(booth: object, exchange: client.ClientExchange, *_: object) -> None:
        start = b"HTTP/1.1 200 OK"
        exchange.respond(start, [b"Content-Type: text/plain", exchange.date_line()], _ANSWER)

    client.handle = answer  # type: ignore[assignment]
    sidecar = await Sidecar("").__aenter__()
    front: Front = sidecar.front
    return await asyncio.get_running_loop().create_server(front.connect, "127.0.0.1", 0)


class _Client(asyncio.Protocol):
    def __init__(self, left: list[int], done: asyncio.Future[None]) -> None:
        self._left, self._done = left, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        self._left[0] -= 1
        if self._left[0] > 0:
            self._transport.write(_REQUEST)
        elif not self._done.done():
            self._done.set_result(None)


async def _load(port: int) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = [_REQUESTS]
    for _ in range(_CONNECTIONS):
        await loop.create_connection(lambda: _Client(left, done), "127.0.0.1", port)
    await done


async def _serve(name: str) -> None:
    server = await (_serve_own() if name == "own" else _serve_aiohttp())
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(600)


def _measure(name: str) -> float:
    process = subprocess.Popen([sys.executable, __file__, name], stdout=subprocess.PIPE, text=True)
    try:
        os.sched_setaffinity(process.pid, {1})
        assert process.stdout is not None
        port = int(process.stdout.readline())
        time.sleep(0.3)
        before = read_cpu(process.pid, 1).tree_us
        uvloop.run(_load(port))
        return (read_cpu(process.pid, 1).tree_us - before) / _REQUESTS
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Interleaved rounds; medians."""
    if len(sys.argv) > 1:
        uvloop.run(_serve(sys.argv[1]))
        return
    os.sched_setaffinity(0, {0})
    found: dict[str, list[float]] = {"aiohttp": [], "own": []}
    for _ in range(_ROUNDS):
        for name, costs in found.items():
            costs.append(_measure(name))
    for name, costs in found.items():
        print(f"{name:<8} {median(costs):6.1f} us a request ({min(costs):.1f} to {max(costs):.1f})")
    print(f"ratio    {median(found['own']) / median(found['aiohttp']):6.2f}")


if __name__ == "__main__":
    main()
