"""The load generator: a closed loop over keep-alive connections, one request in flight on each.

A program of its own, so that it can be pinned to a core. It takes the CPU readings of the proxy
itself, at the very moments at which its counting starts and ends, and prints one JSON object.
"""

import argparse
import asyncio
import gc
import json
import ssl
import sys
import time
from array import array
from collections.abc import Iterator
from itertools import cycle

import uvloop
from cpu import read_cpu
from workload import WORKLOADS, Workload

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_CONNECT_S = 10
_DRAIN_S = 10


class Tally:
    """What all connections have seen. Only calls answered within the window are counted, but a
    failure counts whenever it happens."""

    __slots__ = ("completed", "counting", "failures", "first_failure", "latencies_ns", "sending")

    def __init__(self) -> None:
        self.sending = True
        self.counting = False
        self.completed = 0
        self.failures = 0
        self.first_failure = ""
        self.latencies_ns = array("q")

    def fail(self, what: str) -> None:
        """Remembers the first, counts all."""
        self.first_failure = self.first_failure or what
        self.failures += 1


class Connection(asyncio.Protocol):
    """Sends a prepared request, waits for the whole answer, sends the next. Any answer but a
    200 with the body expected, and any connection lost with a request under way, is a failure."""

    __slots__ = (
        "_answer_bytes",
        "_body_bytes",
        "_once",
        "_pending",
        "_requests",
        "_sent_ns",
        "_tally",
        "_transport",
        "idle",
    )

    def __init__(
        self, requests: Iterator[bytes], body_bytes: int, tally: Tally, *, once: bool = False
    ) -> None:
        self._requests = requests
        self._once = once
        self._body_bytes = body_bytes
        self._tally = tally
        self._pending = bytearray()
        self._answer_bytes = 0
        self._sent_ns = 0
        self._transport: asyncio.Transport
        self.idle = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.begin(transport)  # type: ignore[arg-type]

    def begin(self, transport: asyncio.Transport, since_ns: int = 0) -> None:
        """The connection stands: send. `since_ns`: the first answer's time is counted from then."""
        self._transport = transport
        self._send()
        self._sent_ns = since_ns or self._sent_ns

    def _send(self) -> None:
        self._sent_ns = time.perf_counter_ns()
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        pending = self._pending
        pending += data
        if not self._answer_bytes:
            self._answer_bytes = self._checked_head()
        if not self._answer_bytes or len(pending) < self._answer_bytes:
            return
        if len(pending) > self._answer_bytes:
            self._tally.fail("more bytes than the answer has")
        pending.clear()
        self._answer_bytes = 0
        tally = self._tally
        if tally.counting:
            tally.completed += 1
            tally.latencies_ns.append(time.perf_counter_ns() - self._sent_ns)
        if tally.sending and not self._once:
            self._send()
        else:
            self.idle.set()

    def _checked_head(self) -> int:
        """Bytes of the whole answer, 0 while its head is not there. An unexpected head ends the
        connection: its body could not be told from the next answer."""
        head_end = self._pending.find(_HEAD_END)
        if head_end < 0:
            return 0
        head = bytes(self._pending[:head_end]).lower()
        at = head.find(_LENGTH)
        length = head[at + len(_LENGTH) :].split(b"\r\n", 1)[0].strip() if at >= 0 else b"none"
        if head.startswith(b"http/1.1 200 ") and length == b"%d" % self._body_bytes:
            return head_end + len(_HEAD_END) + self._body_bytes
        self._give_up(f"answered {head[:40]!r}, content-length {length!r}")
        return 0

    def _give_up(self, what: str) -> None:
        self._tally.fail(what)
        self.idle.set()
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.idle.is_set():
            self._tally.fail(f"connection lost with a request under way ({error})")
            self.idle.set()


async def _drive(options: argparse.Namespace, workload: Workload) -> dict[str, object]:
    """Connects, warms up, counts for `options.seconds`, lets the last answers come."""
    tally = Tally()
    tunnels = Tunnels(options, workload, tally) if workload.is_tls else None
    if tunnels is None:
        connections = await _connect(options, workload, tally)
    else:
        connections = await tunnels.connect()
    await asyncio.sleep(options.warm_up_s)
    gc.collect()
    gc.disable()

    before = read_cpu(options.pid, options.core)
    started_ns = time.perf_counter_ns()
    tally.counting = True
    await asyncio.sleep(options.seconds)
    tally.counting = False
    wall_us = (time.perf_counter_ns() - started_ns) / 1000
    after = read_cpu(options.pid, options.core)

    tally.sending = False
    try:
        async with asyncio.timeout(_DRAIN_S):
            for connection in connections:
                await connection.idle.wait()
            if tunnels is not None:
                await tunnels.finish()
    except TimeoutError:
        tally.fail(f"an answer did not come within {_DRAIN_S} s")
    latencies_ns = sorted(tally.latencies_ns)
    return {
        "completed": tally.completed,
        "failures": tally.failures,
        "first_failure": tally.first_failure,
        "wall_us": wall_us,
        "proxy_cpu_us": after.tree_us - before.tree_us,
        "core_cpu_us": after.core_us - before.core_us,
        "p50_us": _percentile_us(latencies_ns, 0.50),
        "p99_us": _percentile_us(latencies_ns, 0.99),
    }


async def _connect(
    options: argparse.Namespace, workload: Workload, tally: Tally
) -> list[Connection]:
    """Each connection starts to send as soon as it is there."""
    loop = asyncio.get_running_loop()
    requests = cycle(workload.requests(options.authority, options.runs))  # shared by all
    body_bytes = len(workload.answer_body)
    connections = []
    async with asyncio.timeout(_CONNECT_S):
        for _ in range(options.connections):
            _, connection = await loop.create_connection(
                lambda: Connection(requests, body_bytes, tally), "127.0.0.1", options.port
            )
            connections.append(connection)
    return connections


class _Opening(asyncio.Protocol):
    """Waits for the answer to a CONNECT. What comes after it is not looked at: TLS clients speak
    first."""

    def __init__(self) -> None:
        self.status_line: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending = b""

    def data_received(self, data: bytes) -> None:
        self._pending += data
        if _HEAD_END in self._pending and not self.status_line.done():
            self.status_line.set_result(self._pending.partition(b"\r\n")[0])

    def connection_lost(self, error: Exception | None) -> None:
        if not self.status_line.done():
            self.status_line.set_exception(ConnectionError(f"closed at CONNECT ({error})"))


class Tunnels:
    """Connections that go through a tunnel whose TLS the proxy opens; without a proxy, over TLS."""

    def __init__(self, options: argparse.Namespace, workload: Workload, tally: Tally) -> None:
        self._options = options
        self._tally = tally
        self._requests = cycle(workload.requests(options.authority, options.runs))
        self._connects = cycle(workload.connects(options.authority, options.runs))
        self._body_bytes = len(workload.answer_body)
        self._is_fresh = workload.way == "tunnels"
        self._workers: list[asyncio.Task[None]] = []
        # The two protocols' cheapest common ground; what is measured is the other side.
        self._tls = ssl.create_default_context(cafile=options.trust)
        self._tls.set_alpn_protocols(["http/1.1"])

    async def connect(self) -> list[Connection]:
        """All at once; for fresh tunnels, start as many workers that open one after the other."""
        if self._is_fresh:
            self._workers = [
                asyncio.create_task(self._open_again()) for _ in range(self._options.connections)
            ]
            return []
        async with asyncio.timeout(_CONNECT_S):
            return [(await self._open(once=False))[0] for _ in range(self._options.connections)]

    async def finish(self) -> None:
        """Wait for the workers' last tunnels."""
        await asyncio.gather(*self._workers)

    async def _open_again(self) -> None:
        while self._tally.sending:
            try:
                connection, transport = await self._open(once=True)
                await connection.idle.wait()
            except (OSError, ssl.SSLError) as error:
                self._tally.fail(f"no tunnel: {error}")
                return
            transport.close()

    async def _open(self, *, once: bool) -> tuple[Connection, asyncio.Transport]:
        loop = asyncio.get_running_loop()
        since_ns = time.perf_counter_ns()
        plain, opening = await loop.create_connection(_Opening, "127.0.0.1", self._options.port)
        if self._options.pid is not None:
            plain.write(next(self._connects))
            line = await opening.status_line
            if b" 200 " not in line:
                raise ConnectionError(f"CONNECT was answered {line!r}")
        connection = Connection(self._requests, self._body_bytes, self._tally, once=once)
        transport = await loop.start_tls(
            plain, connection, self._tls, server_hostname="127.0.0.1", ssl_shutdown_timeout=1.0
        )
        if transport is None:
            raise ConnectionError("closed during the TLS handshake")
        connection.begin(transport, since_ns if once else 0)
        return connection, transport


def _percentile_us(ordered_ns: list[int], share: float) -> float:
    if not ordered_ns:
        return 0.0
    return ordered_ns[min(len(ordered_ns) - 1, int(len(ordered_ns) * share))] / 1000


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", choices=WORKLOADS, default="get")
    parser.add_argument("--port", type=int, required=True, help="of the proxy, on 127.0.0.1")
    parser.add_argument("--authority", required=True, help="host:port of the upstream")
    parser.add_argument("--trust", help="PEM file of the CA whose certificates tunnels must show")
    parser.add_argument("--pid", type=int, help="of the proxy; without it, no CPU of a proxy")
    parser.add_argument("--core", type=int, default=1, help="the proxy's core")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--warm-up-s", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=3.0)
    return parser.parse_args()


if __name__ == "__main__":
    chosen = _options()
    json.dump(uvloop.run(_drive(chosen, WORKLOADS[chosen.workload])), sys.stdout)
