"""The load through opaque tunnels: one JSON object about one window.

Modes: `open` makes new tunnels, one after the other in each worker, with one round trip in each;
`echo` makes round trips of 64 bytes through tunnels that stay; `bulk` takes what an upstream sends
as fast as it can. A tunnel begins with a real ClientHello, so that its judge has what to read.
"""

import argparse
import asyncio
import json
import ssl
import sys
import time

import uvloop
from cpu import read_cpu

_CONNECT = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Authorization: Basic cnVuOng=\r\n\r\n"
_PING = bytes(64)
MODES = {"open": 16, "echo": 32, "bulk": 4}  # and how many tunnels at once


def client_hello() -> bytes:
    """What a TLS client says first to an address: no server name."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake without a server")


class Tunnel(asyncio.Protocol):
    """Bytes are counted; `expect` waits until so many have come since it was asked."""

    def __init__(self) -> None:
        self.received = 0
        self.head = b""
        self._wanted = 0
        self._came: asyncio.Future[None] | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if len(self.head) < 16:
            self.head += data[:16]
        self.received += len(data)
        if self._came is not None and self.received >= self._wanted and not self._came.done():
            self._came.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if self._came is not None and not self._came.done():
            self._came.set_exception(ConnectionError(f"tunnel lost: {error}, {self.head!r}"))

    async def ask(self, data: bytes, bytes_back: int) -> None:
        self._wanted = self.received + bytes_back
        self._came = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        await self._came


class Window:
    """What was done while it counts."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.is_over = False
        self.counting = False
        self.done = 0
        self.latencies_ns: list[int] = []
        self.hello = client_hello()

    async def open(self, bytes_back: int) -> Tunnel:
        loop = asyncio.get_running_loop()
        _, tunnel = await loop.create_connection(Tunnel, "127.0.0.1", self.options.port)
        if self.options.pid is not None:
            host = self.options.authority.encode()
            await tunnel.ask(_CONNECT % (host, host), 19)
            if b" 200" not in tunnel.head:
                raise ConnectionError(f"CONNECT was answered {tunnel.head!r}")
        await tunnel.ask(self.hello, bytes_back)
        return tunnel

    def count(self, started_ns: int) -> None:
        if self.counting:
            self.done += 1
            self.latencies_ns.append(time.perf_counter_ns() - started_ns)

    async def work(self) -> None:
        if self.options.mode == "open":
            while not self.is_over:
                started_ns = time.perf_counter_ns()
                tunnel = await self.open(len(self.hello))
                tunnel.transport.close()
                self.count(started_ns)
            return
        tunnel = await self.open(len(self.hello))
        while not self.is_over:
            started_ns = time.perf_counter_ns()
            if self.options.mode == "echo":
                await tunnel.ask(_PING, len(_PING))
                self.count(started_ns)
            else:
                before = tunnel.received
                await asyncio.sleep(0.005)
                self.done += (tunnel.received - before) if self.counting else 0
        tunnel.transport.abort()


async def _drive(options: argparse.Namespace) -> dict[str, object]:
    window = Window(options)
    workers = [asyncio.create_task(window.work()) for _ in range(MODES[options.mode])]
    await asyncio.sleep(options.warm_up_s)
    before, started_ns = read_cpu(options.pid, options.core), time.perf_counter_ns()
    window.counting = True
    await asyncio.sleep(options.seconds)
    window.counting = False
    wall_us = (time.perf_counter_ns() - started_ns) / 1000
    after = read_cpu(options.pid, options.core)
    window.is_over = True
    async with asyncio.timeout(10):
        await asyncio.gather(*workers)
    ordered = sorted(window.latencies_ns) or [0]
    return {
        "done": window.done,
        "wall_us": wall_us,
        "proxy_cpu_us": after.tree_us - before.tree_us,
        "core_cpu_us": after.core_us - before.core_us,
        "p50_us": ordered[len(ordered) // 2] / 1000,
        "p99_us": ordered[len(ordered) * 99 // 100] / 1000,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--mode", choices=MODES, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--authority", required=True)
    parser.add_argument("--pid", type=int, help="of the proxy; without it straight to the upstream")
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--warm-up-s", type=float, default=0.3)
    parser.add_argument("--seconds", type=float, default=2.0)
    return parser.parse_args()


if __name__ == "__main__":
    json.dump(uvloop.run(_drive(_options())), sys.stdout)
