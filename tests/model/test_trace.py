"""What is remembered of a call for its trace."""

from proxy.model.trace import Attempt, Trace, TraceContext


def test_the_last_flag_says_whether_a_trace_is_sampled() -> None:
    flags = [flag for flag in range(4) if TraceContext(1, 1, flag).is_sampled]
    assert flags == [1, 3]


def test_a_trace_begins_without_attempts_and_an_attempt_without_an_end() -> None:
    trace = Trace(TraceContext(1, 2), None, 10.0, 1_800_000_000.0)
    assert (trace.attempts, trace.facts, trace.ended_s) == ([], None, 0.0)
    attempt = Attempt(3, 11.0)
    assert (attempt.end_s, attempt.status, attempt.code, attempt.peer) == (0.0, 0, "", None)
