"""A finished call is told to the figures, the recent calls and the log, with one redactor."""

import json

from proxy.policy.compile import load_policy
from proxy.telemetry.recorder import Recorder
from proxy.telemetry.reporting import Telemetry
from tests.telemetry.fake_sinks import ScriptedSink
from tests.telemetry.records import make_capture, make_record

POLICY = load_policy(
    """
tools:
  allowlist: [search.read]
  catalog: {search.read: {match: [{host: api.search.example}]}}
"""
)


def _telemetry() -> tuple[Telemetry, ScriptedSink]:
    sink = ScriptedSink()
    return Telemetry(POLICY, Recorder(sink)), sink


def _written(telemetry: Telemetry, sink: ScriptedSink) -> list[dict[str, object]]:
    telemetry.recorder.start()
    telemetry.recorder.stop(5)
    return [json.loads(line) for line in sink.content.splitlines()]


def test_a_call_is_counted_remembered_and_logged() -> None:
    telemetry, sink = _telemetry()
    telemetry.report(make_record(), 0)
    assert telemetry.figures.tool_figures("search.read")["calls"] == 1
    assert [view["call_id"] for view in telemetry.recent.find()] == ["call-1"]
    assert [view["call_id"] for view in _written(telemetry, sink)] == ["call-1"]


def test_a_secret_that_becomes_known_is_hidden_from_the_next_record_on() -> None:
    telemetry, sink = _telemetry()
    known: tuple[str, ...] = ()
    telemetry.hide(lambda: known)
    telemetry.report(make_record(1, path="/tell/open-sesame-42"), 0)
    known = ("open-sesame-42",)
    telemetry.report(make_record(2, path="/tell/open-sesame-42"), 0)
    assert [view["path"] for view in telemetry.recent.find()] == [
        "/tell/[redacted:secret]", "/tell/open-sesame-42",
    ]  # fmt: skip
    assert "open-sesame-42" not in str(_written(telemetry, sink)[1])


def test_bodies_are_looked_through_as_far_as_any_is_captured() -> None:
    telemetry, _ = _telemetry()
    telemetry.widen(POLICY, 1_000_000)
    record = make_record(sampled=True)
    record.result = make_capture(b"x" * 500_000 + b" token=abcdefgh12345678", b"text/plain")
    shown = telemetry.redactor().body(bytes(record.result.body), "text/plain", "", False)
    assert "abcdefgh12345678" not in str(shown)
    assert len(str(shown)) > 500_000


def test_another_policy_s_tools_are_counted_by_their_names() -> None:
    telemetry, _ = _telemetry()
    telemetry.report(make_record(tool="other"), 0)
    other = load_policy("tools: {catalog: {other: {match: [{host: o.test}]}}}")
    telemetry.adopt(other, telemetry.redactor_of(other))
    telemetry.report(make_record(tool="other"), 0)
    assert telemetry.figures.tool_figures("_unknown")["calls"] == 1
    assert telemetry.figures.tool_figures("other")["calls"] == 1
