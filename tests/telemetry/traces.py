"""Finished traces for tests."""

from proxy.model.trace import Attempt, CallFacts, Trace, TraceContext

FACTS = CallFacts(
    call_id="call-1", mode="absolute", tool="search.read", kind="tool", method="GET",
    scheme="https", host="api.search.example", port=443, code="ok", code_status=200, status=200,
    run_id="run-1", agent_id="agent-1", policy_version="abc123", cost_micros=1500, tokens=0,
    request_bytes=10, response_bytes=20, queue_ms=0.0,
)  # fmt: skip


def make_trace(number: int = 1, attempts: int = 1, **values: object) -> Trace:
    """A trace of 2 s whose attempts took a quarter of a second each, the last one to the end;
    `values` replace facts."""
    trace = Trace(TraceContext(number, 2), None, 100.0, 1_800_000_000.0)
    trace.facts, trace.ended_s = FACTS._replace(**values), 102.0  # type: ignore[arg-type]
    for at in range(attempts):
        attempt = Attempt(10 + at, 100.5 + at / 2)
        attempt.status = 200 if at == attempts - 1 else 503
        attempt.end_s = 0.0 if at == attempts - 1 else attempt.start_s + 0.25
        trace.attempts.append(attempt)
    return trace
