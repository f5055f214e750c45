"""The log line: the promised fields, one object a line, whatever is in it."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model.call import Caller, Mode
from proxy.model.reason import MEANINGS, Reason
from proxy.model.record import CallRecord
from proxy.policy.policy import RedactRule
from proxy.telemetry.line import json_line, minimal_line, record_line, record_view
from proxy.telemetry.redact import Redactor
from tests.telemetry.records import make_capture, make_record, make_sampled

REDACTOR = Redactor(RedactRule())
FIELDS = (
    "ts call_id run_id agent_id tool mode method scheme host port path code stop_reason status "
    "attempts queue_ms upstream_ms total_ms request_bytes response_bytes cost_usd tokens "
    "policy_version sampled trace_id"
)


def test_a_relayed_call_has_exactly_the_promised_fields_in_order() -> None:
    line = record_line(make_record(), REDACTOR)
    assert line.endswith(b"}\n")
    view = json.loads(line)
    assert list(view) == FIELDS.split()
    assert view == {
        "ts": "2027-01-15T08:00:00.123Z", "call_id": "call-1", "run_id": "run-1",
        "agent_id": "agent-1", "tool": "search.read", "mode": "absolute", "method": "GET",
        "scheme": "https", "host": "api.search.example", "port": 443,
        "path": "/v1/search?q=[redacted]", "code": "ok", "stop_reason": None, "status": 200,
        "attempts": 1, "queue_ms": 0.0, "upstream_ms": 11.0, "total_ms": 12.346,
        "request_bytes": 0, "response_bytes": 0, "cost_usd": 0.001, "tokens": 0,
        "policy_version": "abc123", "sampled": False, "trace_id": "",
    }  # fmt: skip


@pytest.mark.parametrize("code", [code for code in Reason if code is not Reason.OK])
def test_what_was_not_relayed_says_why(code: Reason) -> None:
    record = make_record(code=code, detail="token=abc said no", rule="tools.allowlist")
    view = json.loads(record_line(record, REDACTOR))
    assert list(view) == [*FIELDS.split(), "detail", "rule"]
    assert view["code"] == code.value
    assert view["stop_reason"] == (code.value if MEANINGS[code].stops_run else None)
    assert view["detail"] == "token=[redacted:secret] said no"
    assert view["rule"] == "tools.allowlist"


def test_a_sampled_call_adds_both_messages_redacted() -> None:
    record = make_record(sampled=True)
    record.request = make_capture(b'{"password":"hunter2"}')
    record.result = make_capture(b"half a s3cr3t", b"text/plain")
    record.result.truncated = True
    view = json.loads(record_line(record, REDACTOR))
    assert list(view) == [*FIELDS.split(), "request", "result"]
    assert view["request"] == {
        "headers": {"content-type": "application/json"},
        "body": '{"password":"[redacted]"}',
        "truncated": False,
    }
    assert view["result"]["body"] == "half a [redacted:cut]"
    assert view["result"]["truncated"] is True


def test_content_codings_of_several_fields_count_together() -> None:
    record = make_record(sampled=True, result=make_capture(b"x"))
    assert record.result is not None
    record.result.fields += [(b"Content-Encoding", b"gzip"), (b"content-encoding", b"br")]
    view = json.loads(record_line(record, REDACTOR))
    assert view["result"]["body"] == "[1 bytes of application/json, unknown encoding]"


def test_captures_show_only_on_sampled_records_and_only_when_asked() -> None:
    record = make_sampled()
    assert "request" not in record_view(record, REDACTOR, with_captures=False)
    record.sampled = False
    assert "request" not in record_view(record, REDACTOR)


def test_a_call_too_malformed_to_have_a_caller_still_has_its_line() -> None:
    view = json.loads(record_line(CallRecord("c", Mode.CONNECT, 0.0), REDACTOR))
    assert (view["run_id"], view["agent_id"], view["code"]) == ("", "", "internal_error")


def test_a_secret_used_as_run_id_is_masked() -> None:
    record = make_record(caller=Caller("sk-ant-api03-abcdefgh", "al@example.com", True))
    view = record_view(record, REDACTOR)
    assert view["run_id"] == "[redacted:anthropic_key]"
    assert view["agent_id"] == "[redacted:email]"


HOSTILE = st.text(
    alphabet=st.sampled_from([*'"\\{}\n\r\u2028\u2029\u202e\u0085\x1b\x7f\x00a', "\ud800", "é"]),
    max_size=20,
)


@settings(max_examples=200, deadline=None)
@given(HOSTILE, HOSTILE, st.binary(max_size=40))
def test_nothing_can_start_a_second_line(one: str, two: str, raw: bytes) -> None:
    record = make_record(
        caller=Caller(one, two, True), host=one, path=two, method=one, tool=two, detail=one,
        rule=two, trace_id=one, code=Reason.BAD_REQUEST, sampled=True,
    )  # fmt: skip
    record.request = make_capture(raw + one.encode("utf-8", "replace"), raw)
    record.request.fields.append((raw, raw))
    line = record_line(record, REDACTOR)
    text = line.decode("utf-8")
    assert len(text.splitlines()) == 1
    assert all(char.isprintable() for char in text[:-1])
    assert list(orjson.loads(line))[:25] == FIELDS.split()


def test_separators_that_json_allows_are_escaped_as_json() -> None:
    record = make_sampled(size_bytes=0)
    record.policy_version = "a\u2028b\x7f\U000e0041"  # ours, hence not made visible
    line = record_line(record, REDACTOR)
    assert b"a\\u2028b\\u007f\\udb40\\udc41" in line
    assert orjson.loads(line)["policy_version"] == "a\u2028b\x7f\U000e0041"


def test_the_minimal_line_holds_nothing_from_outside() -> None:
    line = minimal_line(make_record(ts=float("nan")))
    assert list(json.loads(line)) == ["call_id", "code", "format_error"]


def test_the_same_question_again_is_another_line_with_the_same_words() -> None:
    redactor = Redactor(RedactRule())
    first = make_record(1, path="/a?token=hunter2")
    second = make_record(2, path="/a?token=hunter2")
    second.status = 503
    lines = [json.loads(record_line(record, redactor)) for record in (first, second)]
    assert [line["path"] for line in lines] == ["/a?token=[redacted]"] * 2
    assert [line["call_id"] for line in lines] == ["call-1", "call-2"]
    assert [line["status"] for line in lines] == [200, 503]
    assert len(redactor.places.known) == len(redactor.callers.known) == 1


@pytest.mark.parametrize(
    ("name", "other"),
    [("tool", "x"), ("method", "PUT"), ("scheme", "http"), ("host", "h"), ("port", 1),
     ("path", "/x"), ("mode", Mode.GATEWAY), ("caller", Caller("run-2", "agent-2", True))],
)  # fmt: skip
def test_a_question_that_differs_anywhere_is_another_one(name: str, other: object) -> None:
    redactor = Redactor(RedactRule())
    record = make_record()
    before = record_view(record, redactor)
    setattr(record, name, other)
    after = record_view(record, redactor)
    assert after == record_view(record, Redactor(RedactRule()))
    assert after != before


def test_parts_remembered_are_bounded() -> None:
    redactor = Redactor(RedactRule())
    for number in range(1025):
        caller = Caller(f"run-{number}", "agent", run_given=True)
        record_line(make_record(port=number, caller=caller), redactor)
    assert len(redactor.places.known) == len(redactor.callers.known) == 1024


@settings(max_examples=300)
@given(
    ts=st.floats(0, 4e9), times=st.lists(st.floats(0, 1e7), min_size=3, max_size=3),
    counts=st.lists(st.integers(0, 10**12), min_size=6, max_size=6), call_id=st.text(max_size=9),
    version=st.text(max_size=9), trace_id=st.text(max_size=9), path=st.text(max_size=9),
)  # fmt: skip
def test_the_line_of_a_plain_call_says_what_its_view_says(
    ts: float, times: list[float], counts: list[int], call_id: str, version: str, trace_id: str,
    path: str,
) -> None:  # fmt: skip
    record = make_record(call_id=call_id, ts=ts, path=path, policy_version=version)
    record.trace_id = trace_id
    record.queue_ms, record.upstream_ms, record.total_ms = times
    (record.status, record.attempts, record.request_bytes, record.response_bytes,
     record.cost_micros, record.tokens) = counts  # fmt: skip
    line = record_line(record, REDACTOR)
    assert json.loads(line) == json.loads(json_line(record_view(record, REDACTOR)))
    assert list(json.loads(line)) == FIELDS.split()
    assert line.count(b"\n") == 1
