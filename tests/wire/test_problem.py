import json

import h11
import pytest

from proxy.model.call import Caller
from proxy.model.errors import Refusal
from proxy.model.reason import MEANINGS, Reason
from proxy.wire.problem import problem_body, problem_lines, status_line, status_of

CALLER = Caller("run-1", "agent-1", run_given=True)
REFUSED = tuple(reason for reason in Reason if reason is not Reason.OK)


def lines_of(
    reason: Reason, *, tool: str = "echo", retry_after_ms: int | None = None
) -> list[bytes]:
    refusal = Refusal(reason, "Because.", "", retry_after_ms)
    return problem_lines(refusal, call_id="call-1", tool=tool)


def test_the_document_has_every_promised_field() -> None:
    refusal = Refusal(Reason.RATE_LIMITED, "Wait a moment.", "tools.rate_limits", 1500)
    body = json.loads(problem_body(refusal, call_id="call-1", tool="echo", caller=CALLER))
    assert body == {
        "type": "urn:toolbooth:rate_limited",
        "title": "Rate limited",
        "status": 429,
        "detail": "Wait a moment.",
        "code": "rate_limited",
        "stop_reason": None,
        "tool": "echo",
        "run_id": "run-1",
        "call_id": "call-1",
        "retryable": True,
        "retry_after_ms": 1500,
        "error": {"type": "rate_limited", "message": "Wait a moment."},
    }


def test_what_is_not_known_is_null() -> None:
    refusal = Refusal(Reason.BAD_REQUEST, "No.")
    body = json.loads(problem_body(refusal, call_id="call-1", tool="", caller=None))
    assert (body["tool"], body["run_id"], body["retry_after_ms"]) == (None, None, None)


def test_a_used_up_budget_is_a_stop_reason() -> None:
    for reason in REFUSED:
        body = json.loads(problem_body(Refusal(reason, "."), call_id="c", tool="", caller=None))
        assert body["stop_reason"] == (reason.value if MEANINGS[reason].stops_run else None)
        assert body["code"] == reason.value


def test_a_refusal_may_have_a_more_exact_status() -> None:
    assert status_of(Refusal(Reason.BAD_REQUEST, ".")) == 400
    exact = Refusal(Reason.BAD_REQUEST, ".", status=505)
    assert status_of(exact) == 505
    assert json.loads(problem_body(exact, call_id="c", tool="", caller=None))["status"] == 505


def test_the_header_lines() -> None:
    assert lines_of(Reason.TOOL_NOT_ALLOWED) == [
        b"Content-Type: application/problem+json",
        b"Cache-Control: no-store",
        b"Toolbooth-Code: tool_not_allowed",
        b"Toolbooth-Call-Id: call-1",
        b"Proxy-Status: toolbooth; error=http_request_denied; details=tool_not_allowed",
        b"Toolbooth-Tool: echo",
        b"X-Should-Retry: false",
    ]
    assert b"Toolbooth-Tool: " not in b"".join(lines_of(Reason.TOOL_UNKNOWN, tool=""))


@pytest.mark.parametrize(
    ("retry_after_ms", "seconds"),
    [
        pytest.param(0, b"1", id="at once is still a second"),
        pytest.param(1, b"1", id="a millisecond is a second"),
        pytest.param(1000, b"1", id="a second is a second"),
        pytest.param(1001, b"2", id="a little more is rounded up"),
        pytest.param(60_000, b"60", id="a minute"),
    ],
)
def test_retry_after_is_whole_seconds_and_never_too_early(
    retry_after_ms: int, seconds: bytes
) -> None:
    assert b"Retry-After: " + seconds in lines_of(Reason.BUSY, retry_after_ms=retry_after_ms)


@pytest.mark.parametrize("reason", REFUSED)
def test_retry_is_advised_exactly_where_it_can_help(reason: Reason) -> None:
    """A final no never says when to come back, and a `not now` never says not to."""
    names = [line.partition(b":")[0] for line in lines_of(reason, retry_after_ms=1000)]
    can_help = MEANINGS[reason].retryable
    assert (b"Retry-After" in names) is can_help
    assert (b"X-Should-Retry" in names) is not can_help
    assert b"Retry-After: " not in b"".join(lines_of(reason))


def test_only_a_missing_run_asks_for_credentials() -> None:
    """RFC 9110 section 15.5.8: a 407 must, and nothing else may."""
    for reason in REFUSED:
        asks = b'Proxy-Authenticate: Basic realm="toolbooth run id"' in lines_of(reason)
        assert asks is (MEANINGS[reason].status == 407)


@pytest.mark.parametrize("reason", REFUSED)
def test_every_answer_of_ours_is_valid_http(reason: Reason) -> None:
    refusal = Refusal(reason, "Because of \u201cthat\u201d.", "", 1000)
    body = problem_body(refusal, call_id="c-1", tool="echo", caller=CALLER)
    lines = [status_line(status_of(refusal)), *lines_of(reason, retry_after_ms=1000)]
    lines.append(b"Content-Length: %d" % len(body))
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "h.test")]))
    client.send(h11.EndOfMessage())
    client.receive_data(b"\r\n".join([*lines, b"", body]))
    answer, data = client.next_event(), client.next_event()
    assert isinstance(answer, h11.Response)
    assert isinstance(data, h11.Data)
    assert answer.status_code == MEANINGS[reason].status
    assert answer.reason != b"Refused", "the status has a phrase of its own"
    assert json.loads(bytes(data.data))["detail"] == refusal.detail


def test_status_lines() -> None:
    assert status_line(403) == b"HTTP/1.1 403 Forbidden"
    assert status_line(403, "tool_disabled echo") == b"HTTP/1.1 403 tool_disabled echo"
    assert status_line(499) == b"HTTP/1.1 499 Client Closed Request"
    assert status_line(418) == b"HTTP/1.1 418 Refused"
    assert status_line(403, "\u201ctool\u201d") == b"HTTP/1.1 403 ?tool?"
