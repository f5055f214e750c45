"""Traces seen whole: a client, the real process, upstreams, and a real OTLP receiver."""

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests.scenarios.asking import metric
from tests.scenarios.otlp_receiver import CLIENT, ERROR, SERVER, UNSET, OtlpReceiver, Span
from tests.scenarios.processes import (
    ROOT,
    HttpOrigin,
    SidecarProcess,
    bare_environment,
    local_tool,
    policy,
    running,
)
from tests.sidecar_command import TOOLBOOTH

pytestmark = pytest.mark.scenario
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "sk-ant-api03-" + "Zx9" * 20


@contextmanager
def booth(folder: Path, receiver_url: str, text: str, **settings: str) -> Iterator[SidecarProcess]:
    ready = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver_url, "OTEL_BSP_SCHEDULE_DELAY": "50", **settings,
    }  # fmt: skip
    with running(folder, text, **ready) as sidecar:
        yield sidecar


def ask(
    sidecar: SidecarProcess, url: str, method: str = "GET", body: bytes | None = None,
    **headers: str,
) -> tuple[int, bytes]:  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.ports["proxy"], timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, url, body, {"X-Agent-Run-Id": "run-1", **named})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def calls(sidecar: SidecarProcess) -> list[dict[str, object]]:
    lines = sidecar.log.read_text().splitlines() if sidecar.log.exists() else []
    return [json.loads(line) for line in lines]


def has_sdk(sidecar: SidecarProcess) -> bool:
    """Is protobuf mapped, which nothing but the SDK brings?"""
    return "google/_upb" in Path(f"/proc/{sidecar.process.pid}/maps").read_text()


def by_kind(spans: list[Span], kind: int) -> list[Span]:
    return sorted((s for s in spans if s.kind == kind), key=lambda span: span.start_ns)


def test_a_trace_is_seen_whole_from_client_through_retries_to_upstream(tmp_path: Path) -> None:
    answers = iter([503, 503, 200])
    with (
        OtlpReceiver() as receiver,
        HttpOrigin(lambda _: (next(answers), {}, b"found")) as origin,
        booth(tmp_path, receiver.url, policy(local_tool("search", "127.0.0.1", origin.port)))
        as sidecar,
    ):  # fmt: skip
        url = f"http://127.0.0.1:{origin.port}/v1/search?q=hushhush&api_key={SECRET}"
        headers: dict[str, Any] = {"Authorization": f"Bearer {SECRET}"}
        tracer = TracerProvider(shutdown_on_exit=False).get_tracer("an agent")
        with tracer.start_as_current_span("think") as span:
            TraceContextTextMapPropagator().inject(headers)
            status, content = ask(sidecar, url, **headers, tracestate="congo=t61rcWkgMzE")
        assert (status, content) == (200, b"found")
        spans = receiver.wait_for(4)
    context = span.get_span_context()
    assert {one.trace_id for one in spans} == {f"{context.trace_id:032x}"}
    (server,) = by_kind(spans, SERVER)
    attempts = by_kind(spans, CLIENT)
    assert server.parent_id == f"{context.span_id:016x}"
    assert [one.parent_id for one in attempts] == [server.span_id] * 3
    assert [one.attributes.get("http.request.resend_count") for one in attempts] == [None, 1, 2]
    assert [one.attributes["http.response.status_code"] for one in attempts] == [503, 503, 200]
    assert [one.attributes.get("error.type") for one in attempts] == ["503", "503", None]
    assert [one.status for one in attempts] == [ERROR, ERROR, UNSET]
    # Every attempt was the parent of what the upstream did for it.
    seen = [head["traceparent"] for head in origin.heads]
    assert seen == [f"00-{one.trace_id}-{one.span_id}-03" for one in attempts]
    assert [head["tracestate"] for head in origin.heads] == ["congo=t61rcWkgMzE"] * 3
    assert server.start_ns <= attempts[0].start_ns
    for one, following in zip(attempts, [*attempts[1:], None], strict=True):
        assert one.start_ns <= one.end_ns <= (following.start_ns if following else server.end_ns)
    _check_what_the_server_span_says(server, sidecar, origin.port)
    assert receiver.paths[0] == "/v1/traces"
    assert receiver.resources[0]["service.name"] == "toolbooth"
    _check_nothing_leaks(receiver)


def _check_what_the_server_span_says(
    server: Span, sidecar: SidecarProcess, port: int
) -> None:  # fmt: skip
    record = calls(sidecar)[0]
    assert server.name == "execute_tool search"
    assert server.trace_id == record["trace_id"]
    assert server.state == "congo=t61rcWkgMzE"
    assert server.status == UNSET
    assert server.attributes["toolbooth.call.id"] == record["call_id"]
    wanted = {
        "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search",
        "http.request.method": "GET", "http.response.status_code": 200, "url.scheme": "http",
        "server.address": "127.0.0.1", "server.port": port, "toolbooth.run.id": "run-1",
        "toolbooth.attempts": 3, "toolbooth.code": "ok", "toolbooth.mode": "absolute",
    }  # fmt: skip
    assert {name: server.attributes[name] for name in wanted} == wanted


def _check_nothing_leaks(receiver: OtlpReceiver) -> None:
    raw = b"".join(receiver.raw)
    assert b"search" in raw
    for secret in (SECRET.encode(), b"hushhush", b"api_key", b"/v1/search", b"Bearer"):
        assert secret not in raw


def test_a_call_without_a_trace_begins_one_and_so_does_a_refused_call(tmp_path: Path) -> None:
    with (
        OtlpReceiver() as receiver,
        HttpOrigin() as origin,
        booth(tmp_path, receiver.url, policy(local_tool("search", "127.0.0.1", origin.port)))
        as sidecar,
    ):  # fmt: skip
        assert has_sdk(sidecar)
        ask(sidecar, f"http://127.0.0.1:{origin.port}/", traceparent="00-not-a-trace-01")
        ask(sidecar, "http://unknown.example/x")
        ask(sidecar, "/no-tool-and-no-url")
        spans = receiver.wait_for(4)
        records = calls(sidecar)
    allowed, unknown, bad = by_kind(spans, SERVER)
    assert [s.parent_id for s in (allowed, unknown, bad)] == [""] * 3
    assert len({s.trace_id for s in spans}) == 3
    assert origin.heads[0]["traceparent"].split("-")[1] == allowed.trace_id
    assert [r["trace_id"] for r in records] == [allowed.trace_id, unknown.trace_id, bad.trace_id]
    assert (unknown.name, unknown.attributes["error.type"]) == ("GET", "tool_unknown")
    assert (bad.name, bad.attributes["error.type"]) == ("GET", "bad_request")
    assert unknown.status == UNSET  # HTTP: a 4xx is the client's error


def test_a_tunnel_is_a_short_span_while_it_is_still_open(tmp_path: Path) -> None:
    with (
        OtlpReceiver() as receiver,
        HttpOrigin() as origin,
        booth(tmp_path, receiver.url,
              policy(local_tool("raw", "127.0.0.1", origin.port, "tunnel: {raw: true}")))
        as sidecar,
        socket.create_connection(("127.0.0.1", sidecar.ports["proxy"]), timeout=5) as client,
    ):  # fmt: skip
        place = f"127.0.0.1:{origin.port}"
        client.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        spans = receiver.wait_for(2)
        assert calls(sidecar) == []  # the tunnel is open, its record yet to come
    (server,), (attempt,) = by_kind(spans, SERVER), by_kind(spans, CLIENT)
    assert server.name == "CONNECT raw"
    assert attempt.parent_id == server.span_id
    assert server.end_ns - server.start_ns < 2_000_000_000


def test_a_call_of_an_mcp_tool_belongs_to_the_span_its_message_names(tmp_path: Path) -> None:
    answer = {"jsonrpc": "2.0", "id": 7, "result": {"content": []}}
    inner = "1" * 16
    message = {
        "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": {
            "name": "weather", "arguments": {"place": "hushhush"},
            "_meta": {"traceparent": f"00-{TRACE}-{inner}-01", "tracestate": "a=b"},
        },
    }  # fmt: skip
    kind = "kind: mcp, tools: {weather: {effect: read}}"
    with (
        OtlpReceiver() as receiver,
        HttpOrigin(
            lambda _: (200, {"Content-Type": "application/json"}, json.dumps(answer).encode())
        ) as origin,
        booth(
            tmp_path, receiver.url,
            policy(local_tool("srv", "127.0.0.1", origin.port, kind)).replace(
                "allowlist: [srv]", "allowlist: [srv, srv.weather]"
            ),
        ) as sidecar,
    ):  # fmt: skip
        status, _ = ask(
            sidecar, f"http://127.0.0.1:{origin.port}/mcp", "POST", json.dumps(message).encode(),
            Content_Type="application/json", Accept="application/json, text/event-stream",
            traceparent=f"00-{TRACE}-{PARENT}-01", Mcp_Session_Id="sesame-open",
            MCP_Protocol_Version="2025-11-25",
        )  # fmt: skip
        assert status == 200
        spans = receiver.wait_for(2)
    (server,), (attempt,) = by_kind(spans, SERVER), by_kind(spans, CLIENT)
    assert server.name == "tools/call srv.weather"
    assert (server.trace_id, server.parent_id, server.links) == (TRACE, inner, [PARENT])
    assert server.attributes["mcp.method.name"] == "tools/call"
    assert server.attributes["gen_ai.tool.name"] == "srv.weather"
    assert server.attributes["jsonrpc.request.id"] == "7"
    assert server.attributes["mcp.protocol.version"] == "2025-11-25"
    assert origin.heads[0]["traceparent"] == f"00-{TRACE}-{attempt.span_id}-01"
    assert b"sesame" not in b"".join(receiver.raw)
    assert b"hushhush" not in b"".join(receiver.raw)


def test_what_is_not_sampled_passes_on_untouched_and_is_not_exported(tmp_path: Path) -> None:
    with (
        OtlpReceiver() as receiver,
        HttpOrigin() as origin,
        booth(tmp_path, receiver.url, policy(local_tool("search", "127.0.0.1", origin.port)))
        as sidecar,
    ):  # fmt: skip
        url = f"http://127.0.0.1:{origin.port}/"
        ask(sidecar, url, traceparent=f"00-{TRACE}-{PARENT}-00", tracestate="a=b")
        ask(sidecar, url, traceparent=f"00-{'2' * 32}-{PARENT}-01")
        receiver.wait_for(2)
        records = calls(sidecar)
    assert {span.trace_id for span in receiver.spans} == {"2" * 32}
    assert origin.heads[0]["traceparent"] == f"00-{TRACE}-{PARENT}-00"
    assert origin.heads[0]["tracestate"] == "a=b"
    assert records[0]["trace_id"] == TRACE


def test_the_sampler_the_headers_and_the_resource_are_those_of_the_environment(
    tmp_path: Path,
) -> None:
    with (
        OtlpReceiver() as receiver,
        HttpOrigin() as origin,
        booth(
            tmp_path, receiver.url, policy(local_tool("search", "127.0.0.1", origin.port)),
            OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.5",
            OTEL_SERVICE_NAME="booth-7", OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test",
            OTEL_EXPORTER_OTLP_HEADERS="x-key=open%20sesame", OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        ) as sidecar,
    ):  # fmt: skip
        url = f"http://127.0.0.1:{origin.port}/"
        low, high = "0" * 15 + "1" + "0" * 15 + "1", "f" * 32
        ask(sidecar, url, traceparent=f"00-{high}-{PARENT}-01")
        ask(sidecar, url, traceparent=f"00-{low}-{PARENT}-00")
        receiver.wait_for(2)
    assert {span.trace_id for span in receiver.spans} == {low}
    assert receiver.heads[0]["x-key"] == "open sesame"
    assert receiver.heads[0]["Content-Encoding"] == "gzip"
    assert receiver.resources[0]["service.name"] == "booth-7"
    assert receiver.resources[0]["deployment.environment"] == "test"


def test_the_exporter_uses_no_proxy_of_its_environment(tmp_path: Path) -> None:
    """In a pod HTTP_PROXY may be set for every container, and points at the sidecar itself."""
    with (
        HttpOrigin() as trap,
        OtlpReceiver() as receiver,
        HttpOrigin() as origin,
    ):
        proxies = dict.fromkeys(
            ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"),
            f"http://127.0.0.1:{trap.port}",
        )
        text = policy(local_tool("search", "127.0.0.1", origin.port))
        with booth(tmp_path, receiver.url, text, **proxies) as sidecar:
            ask(sidecar, f"http://127.0.0.1:{origin.port}/")
            receiver.wait_for(2)
            assert len(calls(sidecar)) == 1  # and none of them the export's
    assert not trap.hits


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("trouble", ["down", "hanging", "503", "429"])
def test_calls_do_not_feel_a_receiver_in_trouble(trouble: str, tmp_path: Path) -> None:
    code = int(trouble) if trouble.isdigit() else 200
    with OtlpReceiver(lambda _: code) as receiver, HttpOrigin() as origin:
        if trouble == "hanging":
            receiver.hang = threading.Event()
        url = f"http://127.0.0.1:{free_port()}" if trouble == "down" else receiver.url
        text = policy(local_tool("search", "127.0.0.1", origin.port))
        with booth(
            tmp_path, url, text, OTEL_BSP_MAX_QUEUE_SIZE="20",
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE="10", OTEL_EXPORTER_OTLP_TIMEOUT="3",
        ) as sidecar:  # fmt: skip
            started_s = time.monotonic()
            for _ in range(40):
                assert ask(sidecar, f"http://127.0.0.1:{origin.port}/")[0] == 200
            assert time.monotonic() - started_s < 5
            full = 'toolbooth_spans_dropped_total{reason="queue_full"}'
            assert metric(sidecar, full) >= 50
            assert metric(sidecar, "toolbooth_span_queue_depth") <= 20
            assert metric(sidecar, "toolbooth_spans_exported_total") == 0
            ended_s = time.monotonic()
            assert sidecar.stop() == 0
            assert time.monotonic() - ended_s < 5
        said = "".join(sidecar.said)
    assert "Traceback" not in said
    assert len(calls(sidecar)) == 40


def test_what_is_queued_at_the_end_is_still_exported(tmp_path: Path) -> None:
    with OtlpReceiver() as receiver, HttpOrigin() as origin:
        text = policy(local_tool("search", "127.0.0.1", origin.port))
        with booth(tmp_path, receiver.url, text, OTEL_BSP_SCHEDULE_DELAY="60000") as sidecar:
            ask(sidecar, f"http://127.0.0.1:{origin.port}/")
            assert not receiver.raw
            assert sidecar.stop() == 0
        assert len(receiver.spans) == 2


def test_the_sidecar_does_not_export_to_itself(tmp_path: Path) -> None:
    place = tmp_path / "policy.yaml"
    place.write_text(policy(), encoding="utf-8")
    port = free_port()
    done = subprocess.run(
        [*TOOLBOOTH, "run", "--policy", str(place)],
        env={
            **bare_environment(),
            "TOOLBOOTH_PROXY_LISTEN": f"127.0.0.1:{port}",
            "TOOLBOOTH_CONTROL_LISTEN": "127.0.0.1:0",
            "TOOLBOOTH_HEALTH_LISTEN": "127.0.0.1:0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://localhost:{port}",
        },
        cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "toolbooth: cannot start: OTEL_EXPORTER_OTLP_ENDPOINT is one of this sidecar's own ports."
    ]


def test_where_no_endpoint_is_set_the_sdk_is_not_even_imported(tmp_path: Path) -> None:
    with HttpOrigin() as origin:
        text = policy(local_tool("search", "127.0.0.1", origin.port))
        with running(tmp_path, text) as sidecar:
            line = f"00-{TRACE}-{PARENT}-01"
            ask(sidecar, f"http://127.0.0.1:{origin.port}/", traceparent=line, tracestate="a=b")
            assert not has_sdk(sidecar)
        assert origin.heads[0]["traceparent"] == line
        assert origin.heads[0]["tracestate"] == "a=b"
