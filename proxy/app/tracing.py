"""The OpenTelemetry SDK, as far as it is used: the sampler, the resource and the OTLP exporter.

Imported only where an endpoint is set: it takes megabytes and a tenth of a second. Of spans the SDK
gets to see only the finished ones, in a thread of their own; no instrumentation package is used and
no global provider is set. The exporter never goes through a proxy, ours least of all.
"""

import logging
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.trace.sampling import Sampler as SdkSampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace.status import Status, StatusCode

from proxy import __version__
from proxy.model.trace import TraceContext
from proxy.settings import ListenAddress, SettingsError, TracingSettings
from proxy.telemetry import span_names
from proxy.telemetry.span_queue import SpanQueue
from proxy.telemetry.spans import SpanKind as Kind
from proxy.telemetry.spans import SpanView
from proxy.telemetry.tracing import Sampler, Tracing

_LOG = logging.getLogger("toolbooth")
_MAX_ANSWER_BYTES = 64 * 1024  # of the receiver's; nobody reads what it says
_SCOPE = InstrumentationScope(span_names.SCOPE, __version__, span_names.SCHEMA_URL)
_KINDS = {Kind.SERVER: SpanKind.SERVER, Kind.CLIENT: SpanKind.CLIENT}
_UNSET, _ERROR = Status(StatusCode.UNSET), Status(StatusCode.ERROR)


class DirectSession(requests.Session):
    """A session that believes nothing of its environment (no proxy, no netrc, no CA bundle) and
    reads no more of an answer than it has to."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.problem = ""  # the last one, empty if the last answer was none

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        """See `requests.Session.request`."""
        options["stream"] = True
        options["allow_redirects"] = False  # the headers may hold the collector's key
        try:
            response = super().request(*arguments, **options)
            content = response.raw.read(_MAX_ANSWER_BYTES, decode_content=False)
        except Exception as error:
            self.problem = type(error).__name__
            raise
        if len(content) == _MAX_ANSWER_BYTES:
            response.close()  # what else it says would be taken for the next answer
        status = response.status_code
        self.problem = "" if status < 400 else f"status {status}"
        return response


class OneResource(Resource):
    """A resource whose hash is worked out once: the encoder asks for it at every span, and the
    SDK's writes all of it as JSON each time. Two of ours are never compared."""

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class Exporter:
    """Hands spans to the receiver. `export` and `shut_down` may be called from two threads."""

    def __init__(self, endpoint: str) -> None:
        self._session = DirectSession()
        self._exporter = OTLPSpanExporter(endpoint=endpoint, session=self._session)
        self._resource = resource()
        self._is_failing = False

    def export(self, views: Sequence[SpanView]) -> int:
        """Send one batch, tried again for a while if the receiver is unwell; how many are lost."""
        spans = [sdk_span(view, self._resource) for view in views]
        is_taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
        self._tell(is_failing=not is_taken)
        return 0 if is_taken else len(spans)

    def shut_down(self) -> None:
        """Make an export under way give up."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _tell(self, *, is_failing: bool) -> None:
        """Once when it starts failing and once when it is well again. In our words: the SDK's
        repeat addresses and whatever the receiver says."""
        if is_failing and not self._is_failing:
            problem = self._session.problem or "no answer"
            _LOG.warning("spans cannot be exported and are dropped: %s", problem)
        elif self._is_failing and not is_failing:
            _LOG.info("spans are exported again")
        self._is_failing = is_failing


class Spans:
    """Everything that runs for tracing: what calls are told to, and the way out."""

    def __init__(self, tracing: Tracing, exporter: Exporter) -> None:
        self.tracing = tracing
        self._exporter = exporter

    def stop(self, timeout_s: float) -> None:
        """Export what is left, for at most about this long. Blocks."""
        self.tracing.queue.stop(timeout_s, self._exporter.shut_down)


def start_spans(settings: TracingSettings, listeners: Sequence[ListenAddress]) -> Spans:
    """Start the thread that exports. Raises `SettingsError`."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    _refuse_ourselves(settings.endpoint, listeners)
    try:
        exporter = Exporter(settings.endpoint)
        sampler = sampler_of(TracerProvider(shutdown_on_exit=False).sampler)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is about the settings
        raise SettingsError(
            f"The OpenTelemetry SDK does not take the OTEL_* settings ({type(error).__name__})."
        ) from None
    queue = SpanQueue(
        exporter.export, limit_spans=settings.limit_spans, batch_spans=settings.batch_spans,
        delay_s=settings.delay_s,
    )  # fmt: skip
    queue.start()
    return Spans(Tracing(sampler, queue), exporter)


def _refuse_ourselves(endpoint: str, listeners: Sequence[ListenAddress]) -> None:
    """Spans about exporting spans about exporting spans."""
    url = urlsplit(endpoint)
    port = url.port or (443 if url.scheme == "https" else 80)
    host = url.hostname or ""
    if not any(one.port == port and _is_here(host, one.host) for one in listeners):
        return
    raise SettingsError("OTEL_EXPORTER_OTLP_ENDPOINT is one of this sidecar's own ports.")


def _is_here(host: str, listening: str) -> bool:
    if host in ("localhost", listening):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def resource() -> Resource:
    """The environment's, and our name where it says none."""
    found = Resource.create({})
    given = found.attributes
    ours: dict[str, str] = {}
    if str(given.get(SERVICE_NAME, "")).startswith("unknown_service"):
        ours[SERVICE_NAME] = span_names.SCOPE
    if SERVICE_VERSION not in given:
        ours[SERVICE_VERSION] = __version__
    merged = found.merge(Resource(ours))
    return OneResource(merged.attributes, merged.schema_url)


def sampler_of(sdk: SdkSampler) -> Sampler:
    """The SDK's sampler as a question."""
    nothing = Context()

    def is_sampled(parent: TraceContext | None, trace_id: int) -> bool:
        around = nothing
        if parent is not None:
            around = set_span_in_context(NonRecordingSpan(_sdk_context(parent, True)), nothing)
        result = sdk.should_sample(around, trace_id, span_names.SCOPE, SpanKind.SERVER)
        return result.decision is Decision.RECORD_AND_SAMPLE

    return is_sampled


def sdk_span(view: SpanView, resource: Resource) -> ReadableSpan:
    """A finished span in the SDK's class."""
    return ReadableSpan(
        name=view.name,
        context=_sdk_context(view.context, False),
        parent=None if view.parent is None else _sdk_context(view.parent, view.kind is Kind.SERVER),
        resource=resource,
        attributes=view.attributes,
        links=() if view.link is None else (Link(_sdk_context(view.link, True)),),
        kind=_KINDS[view.kind],
        status=_ERROR if view.is_error else _UNSET,
        start_time=view.start_ns,
        end_time=view.end_ns,
        instrumentation_scope=_SCOPE,
    )


def _sdk_context(context: TraceContext, is_remote: bool) -> SpanContext:
    state = TraceState.from_header([context.state]) if context.state else None
    return SpanContext(
        context.trace_id, context.span_id, is_remote, TraceFlags(context.flags), state
    )
