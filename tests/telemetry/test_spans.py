"""What the spans of a call say, case by case."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.trace import Trace, TraceContext
from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor
from proxy.telemetry.spans import SpanKind, SpanView, span_views
from tests.telemetry.traces import FACTS, make_trace

REDACTOR = Redactor(RedactRule())
KEY = "sk-ant-api03-" + "Zx9" * 20


def server_of(**values: Any) -> SpanView:
    return span_views(make_trace(**values), REDACTOR)[0]


def test_a_call_is_a_server_span_around_a_client_span_an_attempt() -> None:
    server, *clients = span_views(make_trace(attempts=3), REDACTOR)
    assert (server.kind, server.name) == (SpanKind.SERVER, "execute_tool search.read")
    assert [(c.kind, c.name, c.parent) for c in clients] == [
        (SpanKind.CLIENT, "GET search.read", server.context)
    ] * 3
    assert [c.context.span_id for c in clients] == [10, 11, 12]
    assert [c.attributes.get("http.request.resend_count") for c in clients] == [None, 1, 2]
    assert [c.attributes.get("error.type") for c in clients] == ["503", "503", None]
    assert [c.is_error for c in clients] == [True, True, False]


def test_times_are_the_wall_clocks_and_children_stay_inside() -> None:
    server, first, last = span_views(make_trace(attempts=2), REDACTOR)
    begun = 1_800_000_000_000_000_000
    assert (server.start_ns, server.end_ns) == (begun, begun + 2_000_000_000)
    assert (first.start_ns, first.end_ns) == (begun + 500_000_000, begun + 750_000_000)
    assert (last.start_ns, last.end_ns) == (begun + 1_000_000_000, server.end_ns)


def test_a_trace_that_is_not_over_has_no_spans() -> None:
    with pytest.raises(ValueError, match="not over"):
        span_views(Trace(TraceContext(1, 2), None, 0.0, 0.0), REDACTOR)


MCP = {"kind": "mcp", "tool": "srv.weather", "method": "POST", "mcp_method": "tools/call"}
NAMES: list[Any] = [
    pytest.param({}, "execute_tool search.read", id="a tool"),
    pytest.param({"kind": "", "tool": "", "code": "tool_unknown"}, "GET", id="no tool was found"),
    pytest.param({"kind": "", "tool": "", "method": "BREW"}, "_OTHER", id="a method of their own"),
    pytest.param({"method": "CONNECT"}, "CONNECT search.read", id="a tunnel"),
    pytest.param({"kind": "model", "tool": "claude", "operation": "chat"}, "chat claude",
                 id="a model"),
    pytest.param({"kind": "model", "tool": "claude"}, "GET claude", id="a model, asked who knows"),
    pytest.param(MCP, "tools/call srv.weather", id="a tool of an MCP server"),
    pytest.param({**MCP, "mcp_method": "my/own"}, "_OTHER srv.weather", id="an unknown message"),
    pytest.param({**MCP, "code": "tool_not_allowed", "code_status": 403}, "tools/call",
                 id="a tool that may be anything"),
    pytest.param({**MCP, "mcp_method": "", "method": "DELETE"}, "DELETE srv.weather",
                 id="the end of a session"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "expected"), NAMES)
def test_the_name_is_of_a_bounded_number(values: dict[str, object], expected: str) -> None:
    assert server_of(**values).name == expected


ERRORS: list[Any] = [
    pytest.param({}, None, False, id="all went well"),
    pytest.param({"status": 404}, None, False, id="the upstream knows no such thing"),
    pytest.param({"status": 503}, "503", True, id="the upstream is unwell"),
    pytest.param({"code": "max_tool_calls", "code_status": 403, "status": 403}, "max_tool_calls",
                 False, id="refused"),
    pytest.param({"code": "timeout", "code_status": 504, "status": 504}, "timeout", True,
                 id="too late"),
    pytest.param({"code": "client_gone", "code_status": 499, "status": 0}, "client_gone", False,
                 id="the client left"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "problem", "is_error"), ERRORS)
def test_an_error_has_our_code_and_a_refusal_is_the_clients(
    values: dict[str, object], problem: str | None, is_error: bool
) -> None:
    span = server_of(**values)
    assert span.attributes.get("error.type") == problem
    assert span.is_error is is_error


CUT: list[Any] = [
    pytest.param("timeout", 504, 0, "timeout", id="no answer in time"),
    pytest.param("upstream_reset", 502, 200, "upstream_reset", id="the answer broke off"),
    pytest.param("client_gone", 499, 200, "client_gone", id="the client left in the middle"),
    pytest.param("max_bytes", 403, 200, None, id="cut by us"),
]


@pytest.mark.parametrize(("code", "code_status", "status", "problem"), CUT)
def test_an_attempt_that_the_call_ended_in_has_the_calls_code(
    code: str, code_status: int, status: int, problem: str | None
) -> None:
    trace = make_trace(code=code, code_status=code_status)
    trace.attempts[0].status = status
    client = span_views(trace, REDACTOR)[1]
    assert client.attributes.get("error.type") == problem


def test_a_failed_attempt_says_why_and_an_answer_says_from_where() -> None:
    trace = make_trace(attempts=2)
    trace.attempts[0].status, trace.attempts[0].code = 0, "upstream_connect"
    trace.attempts[1].peer = ip_address("203.0.113.7")
    _, first, last = span_views(trace, REDACTOR)
    assert first.attributes["error.type"] == "upstream_connect"
    assert "http.response.status_code" not in first.attributes
    assert last.attributes["network.peer.address"] == "203.0.113.7"


def test_a_model_says_what_it_used_where_that_is_known() -> None:
    known = server_of(
        kind="model", host="api.anthropic.com", operation="chat", tokens=30, input_tokens=10,
        output_tokens=20,
    )  # fmt: skip
    assert known.attributes["gen_ai.operation.name"] == "chat"
    assert known.attributes["gen_ai.provider.name"] == "anthropic"
    assert known.attributes["gen_ai.usage.input_tokens"] == 10
    assert known.attributes["gen_ai.usage.output_tokens"] == 20
    guessed = server_of(kind="model", tokens=30)
    assert guessed.attributes["toolbooth.tokens"] == 30
    assert "gen_ai.usage.input_tokens" not in guessed.attributes


def test_an_mcp_call_says_its_message() -> None:
    span = server_of(**MCP, mcp_id="7", mcp_version="2025-11-25", mcp_messages=3)
    wanted = {
        "mcp.method.name": "tools/call", "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "srv.weather", "jsonrpc.request.id": "7",
        "mcp.protocol.version": "2025-11-25", "toolbooth.mcp.messages": 3,
    }  # fmt: skip
    assert {name: span.attributes[name] for name in wanted} == wanted


def test_the_cost_is_in_dollars_and_the_queue_in_milliseconds() -> None:
    span = server_of(queue_ms=1.23456)
    assert span.attributes["toolbooth.cost_usd"] == 0.0015
    assert span.attributes["toolbooth.queue_ms"] == 1.235


@pytest.mark.parametrize(
    "field", ["host", "run_id", "agent_id", "tool", "method", "mcp_id", "mcp_version"]
)
def test_a_secret_in_any_text_from_outside_is_not_shown(field: str) -> None:
    values: dict[str, Any] = {"kind": "mcp", "mcp_method": "tools/call", field: KEY}
    trace = make_trace(**values)
    assert KEY not in repr(span_views(trace, REDACTOR))


def test_a_secret_in_the_tracestate_takes_all_of_it_along() -> None:
    trace = make_trace()
    trace.context = trace.context._replace(state=f"congo={KEY}")
    assert [view.context.state for view in span_views(trace, REDACTOR)] == ["", ""]
    trace.context = trace.context._replace(state="congo=t61rcWkgMzE")
    assert {view.context.state for view in span_views(trace, REDACTOR)} == {"congo=t61rcWkgMzE"}


_TEXT_FIELDS = [
    name for name, value in FACTS._asdict().items()
    if isinstance(value, str) and name not in ("kind", "code", "call_id", "mode", "scheme")
]  # fmt: skip


@given(field=st.sampled_from(_TEXT_FIELDS), text=st.text(max_size=600))
def test_whatever_a_text_is_the_span_has_bounded_attributes(field: str, text: str) -> None:
    kind = "mcp" if field.startswith("mcp") else "tool"
    values: dict[str, Any] = {"kind": kind, field: text}
    for view in span_views(make_trace(**values), REDACTOR):
        assert len(view.name) < 600
        assert len(view.attributes) < 40
        for name, value in view.attributes.items():
            if isinstance(value, str) and name != "toolbooth.policy.version":
                assert len(value) <= 256
