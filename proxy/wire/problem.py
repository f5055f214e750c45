"""Answers that are ours: RFC 9457 problem details, RFC 9209 Proxy-Status.

The reader is a program or a language model, so `detail` is a sentence it can act on and `code` a
word it can compare. `error` repeats the two in the shape the SDKs of model vendors print.
"""

from typing import Final

import orjson

from proxy.model.call import Caller
from proxy.model.errors import Refusal
from proxy.model.reason import MEANINGS, Reason

# As RFC 9110 section 15 and RFC 6585 name them; some of Python's names change with its versions.
PHRASES: Final[dict[int, str]] = {
    200: "OK", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 407: "Proxy Authentication Required",
    408: "Request Timeout", 409: "Conflict", 412: "Precondition Failed", 413: "Content Too Large",
    414: "URI Too Long", 415: "Unsupported Media Type", 417: "Expectation Failed",
    422: "Unprocessable Content", 428: "Precondition Required", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 499: "Client Closed Request",
    500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway",
    503: "Service Unavailable", 504: "Gateway Timeout", 505: "HTTP Version Not Supported",
    507: "Insufficient Storage",
}  # fmt: skip


def status_of(refusal: Refusal) -> int:
    """The HTTP status a refusal is answered with."""
    return refusal.status or MEANINGS[refusal.reason].status


def problem_body(refusal: Refusal, *, call_id: str, tool: str, caller: Caller | None) -> bytes:
    """The JSON document; its fields are a promise to users."""
    reason = refusal.reason
    meaning = MEANINGS[reason]
    return orjson.dumps(
        {
            "type": f"urn:toolbooth:{reason}",
            "title": meaning.title,
            "status": status_of(refusal),
            "detail": refusal.detail,
            "code": reason,
            "stop_reason": reason if meaning.stops_run else None,
            "tool": tool or None,
            "run_id": caller.run_id if caller else None,
            "call_id": call_id,
            "retryable": meaning.retryable,
            "retry_after_ms": refusal.retry_after_ms,
            "error": {"type": reason, "message": refusal.detail},
        }
    )


def problem_lines(
    refusal: Refusal, *, call_id: str, tool: str, media: bytes = b"application/problem+json"
) -> list[bytes]:
    """Header lines of such an answer, Content-Length and Connection aside. `media`: its type,
    where another protocol than HTTP has its own way to say no."""
    meaning = MEANINGS[refusal.reason]
    code = refusal.reason.encode()
    lines = [
        b"Content-Type: " + media,
        b"Cache-Control: no-store",
        b"Toolbooth-Code: " + code,
        b"Toolbooth-Call-Id: " + call_id.encode(),
        b"Proxy-Status: toolbooth; error=%b; details=%b" % (meaning.proxy_error.encode(), code),
    ]
    if tool:
        lines.append(b"Toolbooth-Tool: " + tool.encode())
    if not meaning.retryable:
        lines.append(b"X-Should-Retry: false")
    elif refusal.retry_after_ms is not None:
        lines.append(b"Retry-After: %d" % max(1, -(-refusal.retry_after_ms // 1000)))
    if refusal.reason is Reason.RUN_ID_REQUIRED:
        lines.append(b'Proxy-Authenticate: Basic realm="toolbooth run id"')
    return lines


def status_line(status: int, phrase: str = "") -> bytes:
    """`HTTP/1.1 403 Forbidden`, or with a phrase of ours, which must be plain ASCII."""
    text = phrase or PHRASES.get(status, "Refused")
    return f"HTTP/1.1 {status} {text}".encode("ascii", "replace")
