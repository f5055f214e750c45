"""Refusals as an MCP client can read them: JSON-RPC results and errors (pure).

A refused call of a tool is a result that says `isError`, since that is what reaches the model and
leaves the session alive; an HTTP error kills the session of some SDKs. Codes of errors lie outside
of what JSON-RPC and MCP reserve (-32768 to -32000).
"""

from collections.abc import Iterable

import orjson

from proxy.mcp.headers import is_modern
from proxy.mcp.message import INVALID_REQUEST, Message
from proxy.model.errors import Refusal
from proxy.model.reason import MEANINGS, Reason

DENIED, RATE_LIMITED, BUDGET, KILLED, UNAVAILABLE = -33001, -33002, -33003, -33004, -33005
_INTERNAL = -32603  # JSON-RPC 2.0 section 5.1

RPC_CODES: dict[Reason, int] = {
    **dict.fromkeys(
        (Reason.TOOL_UNKNOWN, Reason.TOOL_NOT_ALLOWED, Reason.ADDRESS_DENIED), DENIED
    ),
    **dict.fromkeys((Reason.RATE_LIMITED, Reason.BUSY), RATE_LIMITED),
    **dict.fromkeys(
        (
            Reason.MAX_STEPS, Reason.MAX_TOOL_CALLS, Reason.MAX_SECONDS, Reason.MAX_SPEND_USD,
            Reason.MAX_TOKENS, Reason.MAX_BYTES, Reason.LOOP_DETECTED, Reason.MAX_CALLS_PER_HOUR,
            Reason.MAX_SPEND_USD_PER_DAY,
        ),
        BUDGET,
    ),
    **dict.fromkeys(
        (
            Reason.TOOL_DISABLED, Reason.WRITES_DISABLED, Reason.ALL_DISABLED, Reason.RUN_STOPPED,
            Reason.AGENT_DISABLED,
        ),
        KILLED,
    ),
    **dict.fromkeys(
        (Reason.BAD_REQUEST, Reason.REQUEST_TOO_LARGE, Reason.HEADERS_TOO_LARGE), INVALID_REQUEST
    ),
    Reason.INTERNAL_ERROR: _INTERNAL,
}  # fmt: skip


def rpc_code(reason: Reason) -> int:
    """The JSON-RPC error code of a refusal; -33005 for all that is not listed: the upstream, or
    the sidecar, cannot serve it now."""
    return RPC_CODES.get(reason, UNAVAILABLE)


def answer_to(message: Message, refusal: Refusal, version: str, call_id: str) -> dict[str, object]:
    """The answer to a request that is refused. `version` is the protocol's."""
    if not message.is_call:
        return error_to(message.id, rpc_code(refusal.reason), refusal, call_id)
    result: dict[str, object] = {
        "content": [{"type": "text", "text": refusal.detail}],
        "isError": True,
        "_meta": {f"toolbooth/{key}": value for key, value in _data(refusal, call_id).items()},
    }
    if is_modern(version):
        result["resultType"] = "complete"
    return {"jsonrpc": "2.0", "id": message.id, "result": result}


def error_to(
    message_id: str | int | None, code: int, refusal: Refusal, call_id: str
) -> dict[str, object]:
    """A JSON-RPC error; `message_id` None where no id could be read."""
    error = {"code": code, "message": refusal.detail, "data": _data(refusal, call_id)}
    return {"jsonrpc": "2.0", "id": message_id, "error": error}


def as_json(answers: list[dict[str, object]], *, is_batch: bool) -> bytes:
    """The content of an `application/json` answer."""
    return orjson.dumps(answers if is_batch else answers[0])


def as_events(answers: Iterable[dict[str, object]]) -> bytes:
    """The same as server-sent events, for a stream that has begun."""
    return b"".join(b"event: message\ndata: %b\n\n" % orjson.dumps(answer) for answer in answers)


def _data(refusal: Refusal, call_id: str) -> dict[str, object]:
    meaning = MEANINGS[refusal.reason]
    data: dict[str, object] = {
        "code": refusal.reason.value,
        "call_id": call_id,
        "retryable": meaning.retryable,
    }
    if refusal.retry_after_ms is not None:
        data["retry_after_ms"] = refusal.retry_after_ms
    if meaning.stops_run:
        data["stop_reason"] = refusal.reason.value
    return data
