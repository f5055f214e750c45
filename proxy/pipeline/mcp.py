"""Requests to an MCP server on their walk: read whole, judged message by message, refused in the
protocol, their answers followed.

The messages are read before anything is decided, since a refusal has to carry the id of what it
answers. Reading is bounded in bytes, in time, and in how many requests are read at once.
"""

from proxy.mcp.headers import check_content, check_headers, protocol_version
from proxy.mcp.judge import (
    called,
    effect_of_messages,
    full_name,
    judge_message,
    rule_of,
)
from proxy.mcp.lens import UNREADABLE, EventLens, JsonLens, is_encoded, media_type
from proxy.mcp.message import MAX_BODY_BYTES, BadJsonRpc, read_messages
from proxy.mcp.request import McpRequest
from proxy.model.call import Effect
from proxy.model.errors import BadMessage, Refusal, Stopped
from proxy.model.reason import Reason
from proxy.model.record import CallRecord
from proxy.pipeline.admit import TIMEOUT
from proxy.pipeline.content import ContentFilter
from proxy.pipeline.early import read_early
from proxy.pipeline.tracing import continue_message
from proxy.pipeline.upload import Upload
from proxy.pipeline.visit import Visit
from proxy.policy.authorize import authorize_mcp_tool
from proxy.wire.body import Ends
from proxy.wire.head import ResponseHead
from proxy.wire.problem import problem_lines, status_line

STREAM_IDLE_S = 300.0  # of silence on a stream for server messages; the read timeout of the SDKs
# What the calls of one batch have in common in their records.
_SHARED = (
    "caller", "client_address", "code", "detail", "host", "method", "path", "policy_version",
    "port", "rule", "scheme", "status", "total_ms", "trace_id", "upstream_ms",
)  # fmt: skip
_STREAMING = frozenset(("GET", "POST"))  # the answers to others end with their call
_METHODS = frozenset(("GET", "DELETE", "HEAD", "OPTIONS"))


async def judge_request(visit: Visit, upload: Upload) -> None:
    """Read what the request says and judge it; raises `Stopped` or `BadMessage`."""
    request, booth, live = visit.mcp, visit.booth, visit.live
    assert request is not None  # noqa: S101 - the walk comes here with one only
    server = visit.rule
    if visit.call.method == "POST":
        await _read(visit, request, upload)
    else:
        _check_without_content(visit)
    if booth.tracing is not None:
        continue_message(booth.tracing, visit, request)
    live.messages = request.messages
    live.mcp_tools = called(live.rules[0], request.messages)  # reloaded meanwhile, perhaps
    live.effect = effect_of_messages(live.rules[0], request.messages)
    if request.calls:
        visit.select(request.strictest_rule)
        visit.record.tool = request.names[0]
    refusal = request.server_refusal or booth.switches.refuse(
        visit.policy, live.rules, Effect.READ, visit.call.caller
    )
    if refusal is not None:
        raise Stopped(refusal)
    _judge_messages(visit, request)
    visit.filter_for = lambda head: _filter_for(visit, request, head)
    if request.is_open_ended and visit.call.method in _STREAMING:
        visit.stream_idle_s = max(STREAM_IDLE_S, server.timeouts.idle_s)


def _check_without_content(visit: Visit) -> None:
    """GET opens a stream, DELETE ends a session; content would be a message nobody judged."""
    method, framing = visit.call.method, visit.exchange.body.framing
    if method not in _METHODS:
        raise BadMessage("An MCP server is spoken to with POST, GET and DELETE.")
    if framing.ends is Ends.BY_CHUNK or framing.length:
        raise BadMessage("Messages of MCP are sent with POST.")
    protocol_version(visit.exchange.head)


async def _read(visit: Visit, request: McpRequest, upload: Upload) -> None:
    head, booth = visit.exchange.head, visit.booth
    try:
        check_content(head)
        request.version = protocol_version(head)
        now_s = booth.clock.monotonic()
        deadline_s = visit.call.started_s + visit.rule.timeouts.call_s
        visit.live.set_deadline(deadline_s, now_s, TIMEOUT)
        await _read_whole(visit, request, upload)
        request.messages, request.is_batch = read_messages(upload.kept)
        check_headers(head, request.version, request.messages, is_batch=request.is_batch)
    except BadJsonRpc as problem:
        request.fault = problem
        raise


async def _read_whole(visit: Visit, request: McpRequest, upload: Upload) -> None:
    if request.server_refusal is not None and visit.booth.early.is_crowded:
        raise Stopped(request.server_refusal)
    if not await read_early(visit, upload, MAX_BODY_BYTES):
        raise BadMessage(
            f"A message of MCP has at most {MAX_BODY_BYTES} bytes.", Reason.REQUEST_TOO_LARGE
        )


def _judge_messages(visit: Visit, request: McpRequest) -> None:
    """Every message by itself; one that is refused ends all of them. By the policy in force: it may
    have been replaced while the content came."""
    booth, server = visit.booth, visit.live.rules[0]

    def switched_off(names: tuple[str, ...], effect: Effect) -> Refusal | None:
        return booth.switches.refuse(booth.policy, (), effect, visit.call.caller, mcp_tools=names)

    for place, message in enumerate(request.messages):
        refusal = judge_message(booth.policy, server, message, switched_off)
        if refusal is not None:
            request.refusals[place] = refusal
    if request.refusals:
        raise Stopped(next(iter(request.refusals.values())))


def _filter_for(visit: Visit, request: McpRequest, head: ResponseHead) -> ContentFilter | None:
    """What follows the answer with this head: lists of tools are cut down, streams can be ended."""
    media, encoded = media_type(head), is_encoded(head)
    lists = request.lists_tools or not request.messages

    def may_list(tool: str) -> bool:
        return _may_list(visit, tool)

    def give_up() -> None:
        visit.outcome, visit.record.detail = UNREADABLE.reason, UNREADABLE.detail
        if media == "events":
            visit.live.stop(UNREADABLE)

    if media == "events":
        if visit.stream_idle_s and head.status == 200:
            visit.live.clear_deadline()
        if lists or not encoded:
            visit.lens = EventLens(
                request, may_list if lists else None, give_up, is_encoded=encoded
            )
    elif request.lists_tools and (media == "json" or head.status < 300):
        visit.lens = JsonLens(request, may_list, give_up)
    return visit.lens


def _may_list(visit: Visit, tool: str) -> bool:
    """Would a call of it be let through now? By the policy in force, not the call's own: a stream
    outlives policies."""
    booth, server = visit.booth, visit.live.rules[0]
    name = full_name(server, tool)
    if authorize_mcp_tool(booth.policy, server, tool) is not None:
        return False
    effect = rule_of(server, tool).effect or Effect.WRITE
    caller = visit.call.caller
    return booth.switches.refuse(booth.policy, (), effect, caller, mcp_tools=(name,)) is None


def refuse_request(visit: Visit, request: McpRequest, refusal: Refusal) -> int | None:
    """Say `refusal` in the protocol; returns the status the client gets, 0 if it has one already.
    None: the protocol has no form for it, so it is a refusal like any other."""
    exchange, record = visit.exchange, visit.record
    if refusal.reason is Reason.CLIENT_GONE or exchange.is_gone:
        return None
    if exchange.has_started:
        tail = visit.lens.closing(refusal) if visit.lens is not None else None
        if tail is None:
            return None
        if tail:
            exchange.write(tail)
        exchange.finish()
        return 0
    content = request.refusal_as_json(refusal)
    if content is None:
        return None
    status = 200 if content else 202
    if request.fault is not None:
        status = refusal.status or 400
    lines = problem_lines(
        refusal, call_id=record.call_id, tool=record.tool, media=b"application/json"
    )
    if not content:
        del lines[0]
    lines.append(exchange.date_line())
    exchange.respond(b"\r\n".join((status_line(status), *lines)), content)
    return status


def report_others(visit: Visit, request: McpRequest) -> None:
    """A batch has a record for each call of a tool. The first one has the bytes, the attempts and
    the captured content of all."""
    if not request.is_batch or len(request.calls) < 2:
        return
    is_charged = visit.record.cost_micros > 0  # the first one's own may be nothing
    first, calls = visit.record, [at for at, one in enumerate(request.messages) if one.is_call]
    for number, (place, name, rule) in enumerate(
        zip(calls, request.names, request.rules, strict=True)
    ):
        record = first if number == 0 else _another(first, number)
        record.tool = name
        record.cost_micros = rule.cost_micros if is_charged else 0
        refusal = request.refusals.get(place)
        if refusal is not None:
            record.code, record.detail, record.rule = refusal.reason, refusal.detail, refusal.rule
        if number:
            visit.booth.report(record, 0)


def _another(first: CallRecord, number: int) -> CallRecord:
    """A record of another call of the same request."""
    record = CallRecord(f"{first.call_id}-{number + 1}", first.mode, first.ts)
    for name in _SHARED:
        setattr(record, name, getattr(first, name))
    return record
