"""What the walk leaves for the trace of a sampled call.

Called only where the call has a trace, so that tracing costs nothing where it is off and little
where a call is not sampled. Nothing here decides anything about the call.
"""

from proxy.mcp.request import McpRequest
from proxy.model.call import Kind
from proxy.model.errors import UpstreamFailed
from proxy.model.reason import MEANINGS, Reason
from proxy.model.record import CallRecord
from proxy.model.trace import CallFacts, Trace
from proxy.pipeline.visit import Visit
from proxy.telemetry.span_names import operation_of
from proxy.telemetry.tracing import Tracing, begin_attempt, unsampled
from proxy.upstream.connection import UpstreamConnection
from proxy.wire.trace_context import context_of, parent_line, read_context, state_line

_MAX_TEXT_CHARS = 256  # kept of a text that comes from outside


def continue_trace(tracing: Tracing, visit: Visit) -> None:
    """Continue the trace the request says it belongs to, or begin one."""
    tracing.begin(visit.record, context_of(visit.exchange.head), visit.call.started_s)


def continue_message(tracing: Tracing, visit: Visit, request: McpRequest) -> None:
    """A message to an MCP server may say what it belongs to in `_meta`. That is nearer to the call
    than the header, which may speak of a session; the header's span is linked then."""
    told = next((message.trace for message in request.messages if message.trace), None)
    parent = read_context(*told) if told is not None else None
    if parent is None:
        return
    outer = context_of(visit.exchange.head)
    link = outer if outer is not None and outer.span_id != parent.span_id else None
    tracing.begin(visit.record, parent, visit.call.started_s, link)


def replace_context(visit: Visit, replace: dict[bytes, bytes]) -> None:
    """Who is the parent upstream: the attempt's span, whose line is written anew each time. A call
    that is not sampled passes on what it came with; what is no context does not go on."""
    record = visit.record
    if record.trace is not None:
        replace[b"traceparent"] = b""
        replace[b"tracestate"] = state_line(record.trace.context)
    elif not visit.exchange.trace_id:
        replace[b"traceparent"] = parent_line(unsampled(record.trace_id))
        replace[b"tracestate"] = b""


def start_attempt(visit: Visit, trace: Trace) -> bytes:
    """An attempt starts; returns its traceparent line."""
    return parent_line(begin_attempt(trace, visit.booth.clock.monotonic()))


def end_attempt(
    visit: Visit,
    trace: Trace,
    failure: UpstreamFailed | None,
    answer: tuple[int, UpstreamConnection] | None,
) -> None:
    """It has ended, in `failure` or in an answer's status on a connection."""
    attempt = trace.attempts[-1]
    attempt.end_s = visit.booth.clock.monotonic()
    if answer is not None:
        attempt.status, connection = answer
        attempt.peer = connection.address
    elif failure is not None:
        attempt.code = failure.reason


def end_trace(visit: Visit, code: Reason) -> None:
    """The call is over, or stands as a tunnel that may last for hours."""
    tracing = visit.booth.tracing
    if tracing is None:
        return
    facts = _facts(visit.record, code)
    rule = visit.live.rules[0] if visit.live.rules else None
    if rule is not None:
        facts = facts._replace(kind=rule.kind)
        if rule.kind is Kind.MODEL:
            facts = _with_model(visit, facts)
    if visit.mcp is not None:
        facts = _with_message(visit.mcp, facts)
    tracing.finish(visit.record, facts, visit.booth.clock.monotonic())


def end_refused(tracing: Tracing, record: CallRecord, ended_s: float) -> None:
    """What never became a call is over."""
    tracing.finish(record, _facts(record, record.code), ended_s)


def _facts(record: CallRecord, code: Reason) -> CallFacts:
    caller = record.caller
    return CallFacts(
        call_id=record.call_id,
        mode=record.mode,
        tool=record.tool,
        kind="",
        method=record.method,
        scheme=record.scheme,
        host=record.host,
        port=record.port,
        code=code,
        code_status=MEANINGS[code].status,
        status=record.status,
        run_id=caller.run_id if caller is not None else "",
        agent_id=caller.agent_id if caller is not None else "",
        policy_version=record.policy_version,
        cost_micros=record.cost_micros,
        tokens=record.tokens,
        request_bytes=record.request_bytes,
        response_bytes=record.response_bytes,
        queue_ms=record.queue_ms,
    )


def _with_model(visit: Visit, facts: CallFacts) -> CallFacts:
    operation = operation_of(visit.call.target.path)
    usage = visit.meter.usage if visit.meter is not None else None
    if usage is None:
        return facts._replace(operation=operation)
    return facts._replace(
        operation=operation, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens
    )


def _with_message(request: McpRequest, facts: CallFacts) -> CallFacts:
    """Of a batch, the first message; and how many there are."""
    facts = facts._replace(
        mcp_version=request.version[:_MAX_TEXT_CHARS], mcp_messages=len(request.messages)
    )
    if not request.messages:
        return facts
    first = request.messages[0]
    given = "" if first.id is None else str(first.id)[:_MAX_TEXT_CHARS]
    return facts._replace(mcp_method=first.method, mcp_id=given)
