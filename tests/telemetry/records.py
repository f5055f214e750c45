"""Call records for tests."""

from proxy.model.call import Caller, Mode
from proxy.model.reason import Reason
from proxy.model.record import CallRecord, Capture


def make_record(number: int = 1, **values: object) -> CallRecord:
    """A relayed call of `search.read`, with any slot set by name."""
    record = CallRecord(f"call-{number}", Mode.ABSOLUTE, 1_800_000_000.1234)
    record.caller = Caller("run-1", "agent-1", True)
    record.tool, record.method, record.scheme = "search.read", "GET", "https"
    record.host, record.port, record.path = "api.search.example", 443, "/v1/search?q=cats"
    record.code, record.status, record.attempts = Reason.OK, 200, 1
    record.total_ms, record.upstream_ms, record.queue_ms = 12.34567, 11.0, 0.0
    record.cost_micros, record.policy_version = 1000, "abc123"
    for name, value in values.items():
        setattr(record, name, value)
    return record


def make_capture(body: bytes, content_type: bytes = b"application/json") -> Capture:
    """A captured message."""
    capture = Capture([(b"Content-Type", content_type)])
    capture.body += body
    return capture


def make_sampled(number: int = 1, size_bytes: int = 8192) -> CallRecord:
    """A sampled record with two bodies of `size_bytes`."""
    record = make_record(number, sampled=True)
    record.request = make_capture(b"q" * size_bytes, b"text/plain")
    record.result = make_capture(b"a" * size_bytes, b"text/plain")
    return record
