"""What the spans of one call say (pure): one of the server, and one of the client an attempt.

Built in the exporter's thread, from what the walk left behind. Texts that come from outside go
through the redactor like those of a log line, and are cut: a span is shown to more people than the
call was meant for. What is never in one: paths, queries, headers, bodies.
"""

from enum import StrEnum
from typing import NamedTuple

from proxy.model.reason import Reason
from proxy.model.trace import Attempt, CallFacts, Trace, TraceContext
from proxy.telemetry import span_names as name
from proxy.telemetry.redact import Redactor

_MAX_TEXT_CHARS = 256
_MICROS_PER_USD = 1_000_000
_NANOS_PER_S = 1_000_000_000
_BROKEN = (499, 502, 504)  # what a code is as a status, where the answer did not come whole

Attributes = dict[str, str | int | float | bool]


class SpanKind(StrEnum):
    """The two kinds a proxy has: towards the agent, and towards the upstream."""

    SERVER = "server"
    CLIENT = "client"


class SpanView(NamedTuple):
    """One span, in nobody's classes. Times are nanoseconds since 1970-01-01 UTC. `is_error` False
    leaves the status unset: that all went well is for the application to say."""

    name: str
    kind: SpanKind
    context: TraceContext
    parent: TraceContext | None
    link: TraceContext | None
    start_ns: int
    end_ns: int
    attributes: Attributes
    is_error: bool


def span_views(trace: Trace, redactor: Redactor) -> list[SpanView]:
    """The spans of one call, the server's first. Raises ValueError for one that is not over."""
    facts = trace.facts
    if facts is None:
        raise ValueError("the call is not over")
    state = trace.context.state
    if state and redactor.line(state) != state:  # half of a tracestate would be none
        trace.context = trace.context._replace(state="")
    started_ns = round(trace.started_wall_s * _NANOS_PER_S)

    def at(moment_s: float) -> int:
        return started_ns + round((moment_s - trace.started_s) * _NANOS_PER_S)

    common = _common(facts, redactor)
    server = SpanView(
        _server_name(facts, redactor), SpanKind.SERVER, trace.context, trace.parent, trace.link,
        started_ns, at(trace.ended_s), _server_attributes(facts, redactor, common, trace),
        _is_server_error(facts),
    )  # fmt: skip
    views = [server]
    target = _cut(redactor.line(facts.tool))
    client_name = " ".join(filter(None, (_method(facts.method), target)))
    for number, attempt in enumerate(trace.attempts):
        attributes = _client_attributes(facts, attempt, number, common)
        view = SpanView(
            client_name, SpanKind.CLIENT, trace.context._replace(span_id=attempt.span_id),
            trace.context, None, at(attempt.start_s), at(attempt.end_s or trace.ended_s),
            attributes, name.ERROR_TYPE in attributes,
        )  # fmt: skip
        views.append(view)
    return views


# Encoding an attribute costs more than anything else about a span: an attempt says what differs
# between attempts and what the conventions require, the rest is its parent's.
def _common(facts: CallFacts, redactor: Redactor) -> Attributes:
    method = _method(facts.method)
    attributes: Attributes = {name.HTTP_METHOD: method}
    if method == name.OTHER:
        attributes[name.HTTP_METHOD_ORIGINAL] = _cut(redactor.line(facts.method))
    if facts.host:
        attributes[name.SERVER_ADDRESS] = _cut(redactor.line(facts.host))
        attributes[name.SERVER_PORT] = facts.port
    return attributes


def _server_attributes(
    facts: CallFacts, redactor: Redactor, common: Attributes, trace: Trace
) -> Attributes:
    attributes: Attributes = {
        **common,
        name.CALL_ID: facts.call_id,
        name.MODE: facts.mode,
        name.CODE: facts.code,
        name.ATTEMPTS: len(trace.attempts),
        name.POLICY_VERSION: facts.policy_version,
        name.REQUEST_BYTES: facts.request_bytes,
        name.RESPONSE_BYTES: facts.response_bytes,
        name.COST_USD: facts.cost_micros / _MICROS_PER_USD,
    }
    if facts.scheme:
        attributes[name.URL_SCHEME] = facts.scheme
    if facts.tool:
        attributes[name.TOOL] = _cut(redactor.line(facts.tool))
    if facts.status:
        attributes[name.HTTP_STATUS] = facts.status
    if facts.run_id:
        attributes[name.RUN_ID] = _cut(redactor.line(facts.run_id))
        attributes[name.AGENT_ID] = _cut(redactor.line(facts.agent_id))
    if facts.queue_ms:
        attributes[name.QUEUE_MS] = round(facts.queue_ms, 3)
    if facts.code != Reason.OK:
        attributes[name.ERROR_TYPE] = facts.code
    elif facts.status >= 500:
        attributes[name.ERROR_TYPE] = str(facts.status)
    if facts.kind:
        attributes[name.KIND] = facts.kind
        _ADD_KIND[facts.kind](attributes, facts, redactor)
    return attributes


def _add_tool(attributes: Attributes, facts: CallFacts, redactor: Redactor) -> None:
    attributes[name.GEN_AI_OPERATION] = name.EXECUTE_TOOL
    attributes[name.GEN_AI_TOOL] = _cut(redactor.line(facts.tool))


def _add_model(attributes: Attributes, facts: CallFacts, redactor: Redactor) -> None:
    if facts.operation:
        attributes[name.GEN_AI_OPERATION] = facts.operation
    provider = name.PROVIDERS.get(facts.host)
    if provider is not None:
        attributes[name.GEN_AI_PROVIDER] = provider
    if facts.input_tokens >= 0:
        attributes[name.GEN_AI_INPUT_TOKENS] = facts.input_tokens
        attributes[name.GEN_AI_OUTPUT_TOKENS] = facts.output_tokens
    attributes[name.TOKENS] = facts.tokens


def _add_mcp(attributes: Attributes, facts: CallFacts, redactor: Redactor) -> None:
    attributes[name.NETWORK_TRANSPORT] = "tcp"  # MCP has others; of HTTP it goes without saying
    if facts.mcp_method:
        attributes[name.MCP_METHOD] = _mcp_method(facts)
    if facts.mcp_method == "tools/call":
        attributes[name.GEN_AI_OPERATION] = name.EXECUTE_TOOL
        attributes[name.GEN_AI_TOOL] = _cut(redactor.line(facts.tool))
    if facts.mcp_version:
        attributes[name.MCP_VERSION] = _cut(redactor.line(facts.mcp_version))
    if facts.mcp_id:
        attributes[name.JSONRPC_ID] = _cut(redactor.line(facts.mcp_id))
    if facts.mcp_messages > 1:
        attributes[name.MCP_MESSAGES] = facts.mcp_messages


_ADD_KIND = {"tool": _add_tool, "model": _add_model, "mcp": _add_mcp}


def _client_attributes(
    facts: CallFacts, attempt: Attempt, number: int, common: Attributes
) -> Attributes:
    attributes = dict(common)
    if number:
        attributes[name.HTTP_RESEND_COUNT] = number
    if attempt.peer is not None:
        attributes[name.NETWORK_PEER_ADDRESS] = str(attempt.peer)
    if attempt.status:
        attributes[name.HTTP_STATUS] = attempt.status
    problem = attempt.code
    if not problem and not attempt.end_s and facts.code != Reason.OK:
        # The call ended while it was under way, or while its answer flowed.
        problem = facts.code if not attempt.status or facts.code_status in _BROKEN else ""
    if not problem and attempt.status >= 400:
        problem = str(attempt.status)
    if problem:
        attributes[name.ERROR_TYPE] = problem
    return attributes


def _server_name(facts: CallFacts, redactor: Redactor) -> str:
    """`{what is done} {tool}`. Nobody made the tools of the catalog up, so they are few. A tool
    of an MCP server that the policy refuses may be any text, and is left out; under `NAME.*` it
    may be any name that the server is asked for."""
    doing = _method(facts.method)
    if facts.kind == "tool" and facts.method != "CONNECT":
        doing = name.EXECUTE_TOOL
    elif facts.kind == "model" and facts.operation:
        doing = facts.operation
    elif facts.mcp_method:
        doing = _mcp_method(facts)
    tool = facts.tool
    if facts.mcp_method and facts.code in (Reason.TOOL_UNKNOWN, Reason.TOOL_NOT_ALLOWED):
        tool = ""
    return f"{doing} {_cut(redactor.line(tool))}" if tool else doing


def _is_server_error(facts: CallFacts) -> bool:
    """HTTP semantic conventions: a status of 4xx is the client's error, not the server's; the same
    goes for a refusal, whatever form the protocol gives it."""
    if facts.code == Reason.OK:
        return facts.status >= 500
    return not 400 <= facts.code_status < 500


def _method(method: str) -> str:
    return method if method in name.METHODS else name.OTHER


def _mcp_method(facts: CallFacts) -> str:
    return facts.mcp_method if facts.mcp_method in name.MCP_METHODS else name.OTHER


def _cut(text: str) -> str:
    return text[:_MAX_TEXT_CHARS]
