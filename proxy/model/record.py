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

    def add(self, content: bytes | memoryview) -> None:
        """Copy as much of `content` as still fits."""
        room = self.limit_bytes - len(self.body)
        if len(content) > room:
            self.truncated = True
            content = content[:room]
        self.body += content


class CallRecord:
    """Mutable while its call walks, then handed to the recorder and never touched again. What most
    calls do not have to say stands with the class: one is made for each call."""

    caller: Caller | None = None  # None: the request was too malformed to tell
    client_address = ""
    tool = ""
    method = ""
    scheme = ""
    host = ""
    port = 0
    path = ""  # raw, with query: shown only redacted
    code = Reason.INTERNAL_ERROR  # until somebody says better
    detail = ""
    rule = ""
    status = 0  # what the client got; 0: nothing
    attempts = 0
    queue_ms = 0.0
    upstream_ms = 0.0
    total_ms = 0.0
    request_bytes = 0
    response_bytes = 0
    cost_micros = 0
    tokens = 0
    is_usage_unread = False  # a model's answer did not say what it used
    policy_version = ""
    sampled = False
    trace_id = ""
    trace: Trace | None = None  # where its spans are collected, if they are
    request: Capture | None = None
    result: Capture | None = None

    def __init__(self, call_id: str, mode: Mode, ts: float) -> None:
        self.call_id = call_id
        self.mode = mode
        self.ts = ts  # wall clock, seconds

    def copy(self) -> "CallRecord":
        """Another record that says the same; the captures are shared."""
        copy = CallRecord(self.call_id, self.mode, self.ts)
        for name in _COPIED:
            setattr(copy, name, getattr(self, name))
        return copy


# All but what a record is made with. By name, since a compiled class has no `__dict__` to copy.
_COPIED = (
    "caller", "client_address", "tool", "method", "scheme", "host", "port", "path", "code",
    "detail", "rule", "status", "attempts", "queue_ms", "upstream_ms", "total_ms", "request_bytes",
    "response_bytes", "cost_micros", "tokens", "is_usage_unread", "policy_version", "sampled",
    "trace_id", "trace", "request", "result",
)  # fmt: skip
