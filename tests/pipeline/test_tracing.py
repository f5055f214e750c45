"""What the walk leaves for a trace, and what the upstream is told of it."""

import asyncio
import json
import socket
from collections.abc import Sequence

import pytest

from proxy.telemetry.span_queue import SpanQueue
from proxy.telemetry.spans import SpanKind, SpanView
from proxy.telemetry.tracing import Tracing
from tests.fakes.origin import OK, Origin, OriginConnection, Script, answering
from tests.fakes.sidecar import Sidecar, policy_text, read_answer

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"traceparent: 00-{TRACE}-{SPAN}-01"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Collected:
    """Tracing whose spans stay here: `views` after `end`."""

    def __init__(self, *, sampled: bool = True) -> None:
        self.views: list[SpanView] = []
        self.queue = SpanQueue(self._keep, delay_s=60)
        self.tracing = Tracing(lambda parent, trace_id: sampled, self.queue)

    def _keep(self, views: Sequence[SpanView]) -> int:
        self.views += views
        return 0

    def end(self) -> list[SpanView]:
        self.queue.start()
        self.queue.stop(5)
        return self.views


def lines_of(head: bytes, *names: str) -> list[str]:
    found = [line for line in head.decode().split("\r\n") if line.lower().startswith(names)]
    return [line.lower() for line in found]


def traceparent(view: SpanView) -> str:
    trace_id, span_id, flags, _ = view.context
    return f"traceparent: 00-{trace_id:032x}-{span_id:016x}-{flags:02x}"


async def ask(sidecar: Sidecar, origin: Origin, *lines: str) -> bytes:
    return await sidecar.get(f"{origin.url}/x?secret=1", *lines)


async def test_every_attempt_tells_the_upstream_its_own_span() -> None:
    collected = Collected()
    async with (
        Origin(answering(UNAVAILABLE, UNAVAILABLE, OK)) as origin,
        Sidecar(policy_text(origin.port), tracing=collected.tracing) as sidecar,
    ):
        await ask(sidecar, origin, GIVEN, "tracestate: a=b", "traceState: c=d")
    server, *clients = collected.end()
    assert [lines_of(head, "traceparent") for head in origin.heads] == [
        [traceparent(view)] for view in clients
    ]
    assert [lines_of(head, "tracestate") for head in origin.heads] == [["tracestate: a=b,c=d"]] * 3
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == SPAN
    assert [view.kind for view in clients] == [SpanKind.CLIENT] * 3
    assert sidecar.records[0].trace_id == TRACE
    assert sidecar.records[0].trace is None  # the recorder keeps records, not traces


HEADS = [
    pytest.param((GIVEN, "tracestate: a=b"), (GIVEN, "tracestate: a=b"),
                 id="a trace somebody else keeps goes on as it came"),
    pytest.param(("traceparent: rubbish", "tracestate: a=b"), None,
                 id="what is no context is replaced by one that is not recorded"),
    pytest.param((), None, id="and so is none at all"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), HEADS)
async def test_what_the_upstream_is_told_of_a_call_that_is_not_sampled(
    given: tuple[str, ...], expected: tuple[str, ...] | None
) -> None:
    collected = Collected(sampled=False)
    async with (
        Origin(answering(OK)) as origin,
        Sidecar(policy_text(origin.port), tracing=collected.tracing) as sidecar,
    ):
        await ask(sidecar, origin, *given)
    found = lines_of(origin.heads[0], "traceparent", "tracestate")
    if expected is not None:
        assert found == list(expected)
    else:
        (line,) = found
        assert line.startswith(f"traceparent: 00-{sidecar.records[0].trace_id}-")
        assert line.endswith("-00")
    assert collected.end() == []


async def test_where_tracing_is_off_both_headers_pass_untouched() -> None:
    given = ("traceparent: rubbish", "tracestate: a=b,a=b")
    async with Origin(answering(OK)) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        await ask(sidecar, origin, *given)
    assert lines_of(origin.heads[0], "traceparent", "tracestate") == list(given)
    assert (sidecar.records[0].trace, sidecar.records[0].trace_id) == (None, "")


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_attempts_that_reach_nobody_say_why() -> None:
    collected = Collected()
    port = closed_port()
    async with Sidecar(policy_text(port), tracing=collected.tracing) as sidecar:
        await sidecar.get(f"http://127.0.0.1:{port}/")
    server, *clients = collected.end()
    assert [view.attributes["error.type"] for view in clients] == ["upstream_connect"] * 3
    assert (server.attributes["error.type"], server.is_error) == ("upstream_connect", True)


async def silence(connection: OriginConnection) -> None:
    await connection.read_head()
    await connection.read_some()


async def test_an_attempt_cut_by_the_deadline_has_the_calls_code() -> None:
    collected = Collected()
    async with Origin(silence) as origin:
        text = policy_text(origin.port).replace(
            "  retries:", "  timeouts_ms: {default: 50}\n  retries:"
        )
        async with Sidecar(text, tracing=collected.tracing) as sidecar:
            await ask(sidecar, origin)
    server, client = collected.end()
    assert client.attributes["error.type"] == server.attributes["error.type"] == "timeout"
    assert client.end_ns == server.end_ns


async def test_a_refused_call_has_one_span_and_so_have_bytes_that_are_no_call() -> None:
    collected = Collected()
    async with Sidecar(policy_text(1), tracing=collected.tracing) as sidecar:
        await sidecar.get("http://unknown.example/")
        await sidecar.exchange(b"GET nonsense HTTP/1.1\r\nHost: a\r\n\r\n")
        await sidecar.exchange(b"\x16\x03\x01 not http at all")
    codes = [view.attributes["toolbooth.code"] for view in collected.end()]
    assert codes == ["tool_unknown", "bad_request", "bad_request"]
    assert [record.trace_id != "" for record in sidecar.records] == [True] * 3


async def greet(connection: OriginConnection) -> None:
    await connection.send(b"hello")
    await connection.read_some()


async def test_a_tunnel_has_its_spans_once_and_while_it_is_open() -> None:
    collected = Collected()
    async with Origin(greet) as origin:
        text = policy_text(origin.port, tool="tunnel: {raw: true}")
        async with Sidecar(text, tracing=collected.tracing) as sidecar:
            reader, writer = await sidecar.open()
            place = f"127.0.0.1:{origin.port}"
            writer.write(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
            await asyncio.wait_for(reader.readuntil(b"hello"), 5)
            assert (collected.queue.depth, sidecar.records) == (2, [])
            writer.close()
            await asyncio.wait_for(reader.read(), 5)
    server, client = collected.end()
    assert (server.name, server.attributes["toolbooth.code"]) == ("CONNECT echo", "ok")
    assert client.attributes["network.peer.address"] == "127.0.0.1"
    assert len(sidecar.records) == 1


async def switch(connection: OriginConnection) -> None:
    await connection.read_head()
    await connection.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi"
    )
    await connection.read_some()


async def test_a_websocket_has_its_spans_when_it_opens() -> None:
    collected = Collected()
    async with (
        Origin(switch) as origin,
        Sidecar(policy_text(origin.port), tracing=collected.tracing) as sidecar,
    ):
        reader, writer = await sidecar.open()
        writer.write(
            f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\n{GIVEN}\r\n\r\n".encode()
        )
        await asyncio.wait_for(reader.readuntil(b"hi"), 5)
        assert collected.queue.depth == 2
        writer.close()
    server, client = collected.end()
    assert server.attributes["http.response.status_code"] == 101
    assert lines_of(origin.heads[0], "traceparent") == [traceparent(client)]


async def test_a_models_tokens_are_in_its_span() -> None:
    usage = json.dumps({"usage": {"prompt_tokens": 7, "completion_tokens": 5}}).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(usage), usage)

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.read(2)
        await connection.send(answer)

    collected = Collected()
    async with Origin(script) as origin:
        text = policy_text(origin.port, tool="kind: model")
        async with Sidecar(text, tracing=collected.tracing) as sidecar:
            await sidecar.exchange(
                f"POST {origin.url}/v1/chat/completions HTTP/1.1\r\nHost: {origin.url[7:]}\r\n"
                "Content-Length: 2\r\n\r\n{}".encode()
            )
    server = collected.end()[0]
    assert server.name == "chat echo"
    assert server.attributes["gen_ai.usage.input_tokens"] == 7
    assert server.attributes["gen_ai.usage.output_tokens"] == 5


def mcp_answer(content: bytes) -> Script:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"

    async def script(connection: OriginConnection) -> None:
        while got := await connection.read_head():
            length = got.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            await connection.read(int(length))
            await connection.send(head % len(content) + content)

    return script


def tool_call(number: int, meta: object = None) -> dict[str, object]:
    params: dict[str, object] = {"name": "weather", "arguments": {}}
    if meta is not None:
        params["_meta"] = meta
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


async def ask_mcp(sidecar: Sidecar, origin: Origin, message: object, *lines: str) -> bytes:
    content = json.dumps(message).encode()
    fields = "".join(
        f"{line}\r\n"
        for line in (
            f"Host: {origin.url[7:]}", "Content-Type: application/json",
            "Accept: application/json, text/event-stream", f"Content-Length: {len(content)}",
            *lines,
        )
    )  # fmt: skip
    raw = f"POST {origin.url}/mcp HTTP/1.1\r\n{fields}\r\n".encode()
    return await sidecar.exchange(raw + content)


def mcp_policy(port: int) -> str:
    text = policy_text(port, tool="kind: mcp\ntools: {weather: {effect: read}}")
    return text.replace("allowlist: [echo]", "allowlist: [echo, echo.weather]")


INNER = "1" * 16
METAS = [
    pytest.param({"traceparent": f"00-{TRACE}-{INNER}-01"}, INNER, SPAN, id="a good one"),
    pytest.param({"traceparent": "rubbish"}, SPAN, None, id="one that cannot be read"),
    pytest.param({"traceparent": 7}, SPAN, None, id="one that is no text"),
    pytest.param({"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": 7}, SPAN, None,
                 id="the same as in the header"),
    pytest.param({}, SPAN, None, id="none"),
]  # fmt: skip


@pytest.mark.parametrize(("meta", "parent", "link"), METAS)
async def test_the_parent_of_an_mcp_call_stands_in_its_message_or_in_the_header(
    meta: dict[str, object], parent: str, link: str | None
) -> None:
    collected = Collected()
    async with (
        Origin(mcp_answer(b'{"jsonrpc":"2.0","id":1,"result":{}}')) as origin,
        Sidecar(mcp_policy(origin.port), tracing=collected.tracing) as sidecar,
    ):
        got = await ask_mcp(sidecar, origin, tool_call(1, meta), GIVEN)
        assert got.startswith(b"HTTP/1.1 200"), got
    server, client = collected.end()
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == parent
    assert (f"{server.link.span_id:016x}" if server.link else None) == link
    assert lines_of(origin.heads[0], "traceparent") == [traceparent(client)]
    assert server.attributes["gen_ai.tool.name"] == "echo.weather"


async def test_a_batch_is_one_trace_and_all_its_records_name_it() -> None:
    collected = Collected()
    async with (
        Origin(mcp_answer(b'[{"jsonrpc":"2.0","id":1,"result":{}}]')) as origin,
        Sidecar(mcp_policy(origin.port), tracing=collected.tracing) as sidecar,
    ):
        batch = [tool_call(1), tool_call(2)]
        await ask_mcp(sidecar, origin, batch, GIVEN, "MCP-Protocol-Version: 2025-03-26")
    assert [record.trace_id for record in sidecar.records] == [TRACE] * 2
    server, _ = collected.end()
    assert server.attributes["toolbooth.mcp.messages"] == 2


async def test_a_client_that_leaves_ends_the_span() -> None:
    collected = Collected()
    arrived = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        arrived.set()
        await connection.read_some()

    async with (
        Origin(script) as origin,
        Sidecar(policy_text(origin.port), tracing=collected.tracing) as sidecar,
    ):
        _, writer = await sidecar.open()
        host = origin.url[7:]
        writer.write(f"GET {origin.url}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await asyncio.wait_for(arrived.wait(), 5)
        writer.transport.abort()
        async with asyncio.timeout(5):
            while not sidecar.records:
                await asyncio.sleep(0)
    server, client = collected.end()
    assert server.attributes["error.type"] == client.attributes["error.type"] == "client_gone"


async def test_a_max_forwards_that_ends_here_has_no_client_span() -> None:
    collected = Collected()
    async with Sidecar(policy_text(1), tracing=collected.tracing) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(
            b"OPTIONS http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\nMax-Forwards: 0\r\n\r\n"
        )
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 200")
        writer.close()
    (server,) = collected.end()
    assert server.name == "execute_tool echo"
