"""The real data path on a loopback port, in the test's own loop, without control and health."""

import asyncio
from dataclasses import dataclass, field

from proxy.app.assemble import build_booth
from proxy.app.tasks import Tasks
from proxy.listeners.front import Front, FrontLimits
from proxy.model.record import CallRecord
from proxy.pipeline.booth import Booth
from proxy.policy.compile import load_policy
from proxy.telemetry.recorder import Recorder
from proxy.telemetry.reporting import Telemetry
from proxy.telemetry.tracing import Tracing


class ListSink:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.data = b""
        self.generation = 0

    def write(self, data: memoryview, wait_s: float) -> int:
        self.data += bytes(data)
        return len(data)

    def close(self) -> None:
        pass


def policy_text(port: int, *, extra: str = "", tool: str = "", host: str = "127.0.0.1") -> str:
    """A policy with one tool `echo` at 127.0.0.1:port; `tool` adds lines to its catalog entry,
    `extra` adds top-level documents."""
    tool_lines = "".join(f"      {line}\n" for line in tool.splitlines())
    return (
        "tools:\n"
        "  allowlist: [echo]\n"
        "  retries: {max: 2, backoff_ms: [1, 2]}\n"
        "  catalog:\n"
        "    echo:\n"
        f'      match: [{{host: "{host}", ports: [{port}]}}]\n'
        '      allow_addresses: ["127.0.0.0/8", "::1/128"]\n'
        f"{tool_lines}{extra}"
    )


@dataclass
class Sidecar:
    """`async with Sidecar(policy)`: `port` is its proxy port, `records` what it reported."""

    policy: str
    limits: FrontLimits = field(default_factory=FrontLimits)
    records: list[CallRecord] = field(default_factory=list)
    bugs: list[BaseException] = field(default_factory=list)
    port: int = 0
    tracing: Tracing | None = None
    sink: ListSink = field(default_factory=ListSink)

    async def __aenter__(self) -> "Sidecar":
        self.recorder = Recorder(self.sink)
        policy = load_policy(self.policy)
        self.telemetry = Telemetry(policy, self.recorder, self.tracing)
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self.tasks = Tasks(self._group, self.bugs.append)
        self.booth: Booth = build_booth(
            policy, self.tasks, self.telemetry, "test", self.bugs.append
        )
        report = self.booth.report

        def keep(record: CallRecord, captured_bytes: int) -> None:
            self.records.append(record)
            report(record, captured_bytes)

        self.booth.report = keep
        self.front = Front(self.booth, "test", self.limits)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self.front.connect, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.booth.pool.own_ports = frozenset({self.port})
        self.recorder.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.front.abort_all()
        self.booth.pool.close()
        self.tasks.cancel_all()
        await self._group.__aexit__(None, None, None)
        self.recorder.stop(1.0)
        assert not self.bugs, self.bugs

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def exchange(self, raw: bytes) -> bytes:
        """Send raw bytes on a connection of their own; everything that comes back until close,
        or until one answer is whole."""
        reader, writer = await self.open()
        try:
            writer.write(raw)
            return await read_answer(reader)
        finally:
            writer.close()

    async def get(self, url: str, *lines: str) -> bytes:
        host = url.split("/")[2]
        head = "".join(f"{line}\r\n" for line in (f"Host: {host}", *lines))
        return await self.exchange(f"GET {url} HTTP/1.1\r\n{head}\r\n".encode())


async def read_answer(reader: asyncio.StreamReader, *, is_head: bool = False) -> bytes:
    """One answer, read by its own framing; 5 s at most."""
    async with asyncio.timeout(5):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as end:
            return end.partial
        lower = head.lower()
        if is_head or lower.split()[1] in (b"204", b"304") or lower.split()[1].startswith(b"1"):
            return head
        if b"content-length:" in lower:
            length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
            try:
                return head + await reader.readexactly(length)
            except asyncio.IncompleteReadError as end:
                return head + end.partial
        if b"transfer-encoding: chunked" in lower:
            body = b""
            while not body.endswith(b"0\r\n\r\n"):
                part = await reader.read(65536)
                if not part:
                    break
                body += part
            return head + body
        return head + await reader.read()
