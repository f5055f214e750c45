"""The OpenTelemetry SDK as it is wired: sampler, resource, session, spans."""

import logging
import threading
from collections.abc import Iterator

import pytest
import requests
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)

from proxy.app.tracing import DirectSession, Exporter, resource, sampler_of, start_spans
from proxy.model.trace import TraceContext
from proxy.policy.policy import RedactRule
from proxy.settings import ListenAddress, SettingsError, TracingSettings
from proxy.telemetry.redact import Redactor
from proxy.telemetry.spans import span_views
from tests.scenarios.otlp_receiver import CLIENT, ERROR, SERVER, OtlpReceiver
from tests.telemetry.traces import make_trace

REDACTOR = Redactor(RedactRule())
SAMPLED, NOT_SAMPLED = TraceContext(1, 2, 1, "a=b"), TraceContext(1, 2, 0)
HIGH = (1 << 128) - 1


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with OtlpReceiver() as one:
        yield one


SAMPLERS = [
    pytest.param(ALWAYS_ON, NOT_SAMPLED, 1, True, id="always on"),
    pytest.param(ALWAYS_OFF, SAMPLED, 1, False, id="always off"),
    pytest.param(DEFAULT_ON, None, 1, True, id="a new trace"),
    pytest.param(DEFAULT_ON, SAMPLED, 1, True, id="the parent is sampled"),
    pytest.param(DEFAULT_ON, NOT_SAMPLED, 1, False, id="the parent is not"),
    pytest.param(TraceIdRatioBased(0.5), SAMPLED, HIGH, False, id="a ratio, above"),
    pytest.param(TraceIdRatioBased(0.5), NOT_SAMPLED, 1, True, id="a ratio, below"),
    pytest.param(ParentBasedTraceIdRatio(0.0), None, 1, False, id="no new trace"),
    pytest.param(ParentBasedTraceIdRatio(0.0), SAMPLED, 1, True, id="but those of a parent"),
]


@pytest.mark.parametrize(("sampler", "parent", "trace_id", "expected"), SAMPLERS)
def test_the_sdks_sampler_decides(
    sampler: Sampler, parent: TraceContext | None, trace_id: int, expected: bool
) -> None:
    assert sampler_of(sampler)(parent, trace_id) is expected


def test_the_resource_has_our_name_unless_the_environment_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert resource().attributes["service.name"] == "toolbooth"
    assert resource().attributes["service.version"]
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine,service.version=9")
    assert resource().attributes["service.name"] == "mine"
    assert resource().attributes["service.version"] == "9"


def test_a_trace_arrives_as_it_was_told(receiver: OtlpReceiver) -> None:
    exporter = Exporter(f"{receiver.url}/v1/traces")
    trace = make_trace(attempts=2, code="timeout", code_status=504, status=504)
    trace.parent, trace.link = TraceContext(1, 7), TraceContext(5, 6)
    trace.context = trace.context._replace(state="a=b,c=d")
    views = span_views(trace, REDACTOR)
    assert exporter.export(views) == 0
    server, *clients = receiver.spans
    assert (server.kind, server.status, server.state) == (SERVER, ERROR, "a=b,c=d")
    assert (server.parent_id, server.links) == (f"{7:016x}", [f"{6:016x}"])
    assert server.attributes == views[0].attributes
    assert [(one.kind, one.parent_id) for one in clients] == [(CLIENT, server.span_id)] * 2
    exporter.shut_down()


def test_a_session_believes_nothing_of_its_environment(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    exporter = Exporter(f"{receiver.url}/v1/traces")
    assert exporter.export(span_views(make_trace(), REDACTOR)) == 0
    assert len(receiver.spans) == 2
    exporter.shut_down()


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    with OtlpReceiver(answer=b"x" * 1_000_000) as receiver:
        session = DirectSession()
        response = session.request("POST", receiver.url, data=b"")
        assert response.status_code == 200
        assert response.raw.closed or response.raw.tell() <= 128 * 1024
        session.close()


def test_failing_is_said_once_in_our_words_and_so_is_being_well_again(
    receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([404, 404, 200, 200])
    caplog.set_level(logging.INFO, "toolbooth")
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    with OtlpReceiver(lambda _: next(answers)) as unwell:
        exporter = Exporter(f"{unwell.url}/v1/traces?key=hushhush")
        views = span_views(make_trace(), REDACTOR)
        assert [exporter.export(views) for _ in range(4)] == [2, 2, 0, 0]
        exporter.shut_down()
    assert [record.getMessage() for record in caplog.records] == [
        "spans cannot be exported and are dropped: status 404", "spans are exported again",
    ]  # fmt: skip


def test_shutting_down_ends_a_wait_for_the_next_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    with OtlpReceiver(lambda _: 503) as unwell:
        exporter = Exporter(f"{unwell.url}/v1/traces")
        lost: list[int] = []
        views = span_views(make_trace(), REDACTOR)
        thread = threading.Thread(target=lambda: lost.append(exporter.export(views)))
        thread.start()
        unwell.wait_for_requests(1)
        exporter.shut_down()
        thread.join(5)
    assert lost == [2]


LISTENERS = [
    ListenAddress("tcp", "127.0.0.1", 8080), ListenAddress("unix", path="/run/toolbooth.sock"),
    ListenAddress("tcp", "10.1.2.3", 8082), ListenAddress("tcp", "0.0.0.0", 80),
]  # fmt: skip


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:8080/v1/traces", "http://localhost:8080", "http://[::1]:8080/",
        "http://0.0.0.0:8080/", "http://10.1.2.3:8082", "http://127.0.0.1",
    ],
)  # fmt: skip
def test_an_endpoint_that_is_the_sidecar_itself_is_refused(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="own ports"):
        start_spans(TracingSettings(endpoint, 10, 10, 1.0), LISTENERS)


def test_an_endpoint_beside_the_sidecar_is_fine(receiver: OtlpReceiver) -> None:
    spans = start_spans(TracingSettings(f"{receiver.url}/v1/traces", 10, 10, 60.0), LISTENERS)
    spans.tracing.queue.submit(make_trace(), REDACTOR)
    spans.stop(5)
    assert len(receiver.spans) == 2


def test_a_session_says_what_went_wrong() -> None:
    session = DirectSession()
    with pytest.raises(requests.ConnectionError):
        session.request("POST", "http://127.0.0.1:9/", timeout=2)
    assert session.problem == "ConnectionError"
    session.close()
