"""The call record: what is known about one call when it is over.

Exactly one exists per call, whatever happened, and every sink (log line, metrics, recent calls)
reads from it. It holds raw values; nothing may show it before `telemetry` has redacted it.
"""

from proxy.model.call import Caller, Mode
from proxy.model.reason import Reason
from proxy.model.trace import Trace

Fields = list[tuple[bytes, bytes]]


class Capture:
    """A bounded copy of one message for a sampled record: header fields and the first bytes of
    the body, no more than `limit_bytes`. `truncated` says that there was more."""

    __slots__ = ("body", "fields", "limit_bytes", "truncated")

    def __init__(self, fields: Fields, limit_bytes: int = 8192) -> None:
        self.fields = fields
        self.limit_bytes = limit_bytes
        self.body = bytearray()
        self.truncated = False

    def add(self, content: bytes) -> None:
        """Copy as much of `content` as still fits."""
        room = self.limit_bytes - len(self.body)
        if len(content) > room:
            self.truncated = True
            content = content[:room]
        self.body += content


class CallRecord:
    """Mutable while its call walks, then handed to the recorder and never touched again."""

    __slots__ = (
        "attempts", "call_id", "caller", "client_address", "code", "cost_micros", "detail", "host",
        "is_usage_unread", "method", "mode", "path", "policy_version", "port", "queue_ms",
        "request", "request_bytes", "response_bytes", "result", "rule", "sampled", "scheme",
        "status", "tokens", "tool", "total_ms", "trace", "trace_id", "ts", "upstream_ms",
    )  # fmt: skip

    def __init__(self, call_id: str, mode: Mode, ts: float) -> None:
        self.call_id = call_id
        self.mode = mode
        self.ts = ts  # wall clock, seconds
        self.caller: Caller | None = None  # None: the request was too malformed to tell
        self.client_address = ""
        self.tool = ""
        self.method = ""
        self.scheme = ""
        self.host = ""
        self.port = 0
        self.path = ""  # raw, with query: shown only redacted
        self.code = Reason.INTERNAL_ERROR  # until somebody says better
        self.detail = ""
        self.rule = ""
        self.status = 0  # what the client got; 0: nothing
        self.attempts = 0
        self.queue_ms = 0.0
        self.upstream_ms = 0.0
        self.total_ms = 0.0
        self.request_bytes = 0
        self.response_bytes = 0
        self.cost_micros = 0
        self.tokens = 0
        self.is_usage_unread = False  # a model's answer did not say what it used
        self.policy_version = ""
        self.sampled = False
        self.trace_id = ""
        self.trace: Trace | None = None  # where its spans are collected, if they are
        self.request: Capture | None = None
        self.result: Capture | None = None
