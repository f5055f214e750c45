"""Refusals in the words of MCP."""

import pytest

from proxy.mcp.answer import answer_to, as_events, as_json, error_to, rpc_code
from proxy.mcp.message import Message
from proxy.model.errors import Refusal
from proxy.model.reason import Reason

LIMITED = Refusal(Reason.RATE_LIMITED, "Wait a second.", "tools.rate_limits", 1000)
CALL = Message("tools/call", 7, "search")


def test_a_refused_call_is_a_result_the_model_reads() -> None:
    assert answer_to(CALL, LIMITED, "2025-11-25", "c-1") == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {
            "content": [{"type": "text", "text": "Wait a second."}],
            "isError": True,
            "_meta": {
                "toolbooth/code": "rate_limited",
                "toolbooth/call_id": "c-1",
                "toolbooth/retryable": True,
                "toolbooth/retry_after_ms": 1000,
            },
        },
    }


def test_the_modern_protocol_has_a_type_of_result() -> None:
    answer = answer_to(CALL, LIMITED, "2026-07-28", "c-1")
    assert answer["result"]["resultType"] == "complete"  # type: ignore[index]


def test_any_other_request_gets_an_error() -> None:
    spent = Refusal(Reason.MAX_TOOL_CALLS, "Stop.")
    assert answer_to(Message("tools/list", "a"), spent, "", "c-2") == {
        "jsonrpc": "2.0",
        "id": "a",
        "error": {
            "code": -33003,
            "message": "Stop.",
            "data": {
                "code": "max_tool_calls",
                "call_id": "c-2",
                "retryable": False,
                "stop_reason": "max_tool_calls",
            },
        },
    }


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OK])
def test_every_reason_has_a_code_that_nobody_reserved(reason: Reason) -> None:
    code = rpc_code(reason)
    assert code in (-33001, -33002, -33003, -33004, -33005, -32600, -32603)


def test_forms() -> None:
    error = error_to(None, -32700, LIMITED, "c")
    assert as_json([error], is_batch=False).startswith(b'{"jsonrpc":"2.0","id":null,"error":{')
    assert as_json([error], is_batch=True).startswith(b"[{")
    event = as_events([error])
    assert event.startswith(b'event: message\ndata: {"jsonrpc"')
    assert event.endswith(b"}\n\n")
