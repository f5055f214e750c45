"""An OTLP/HTTP receiver: a real HTTP server that decodes the protobuf and keeps the spans."""

import gzip
import http.server
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

SERVER, CLIENT = 2, 3
_TAKEN = ExportTraceServiceResponse().SerializeToString()
UNSET, ERROR = 0, 2


@dataclass(frozen=True)
class Span:
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    start_ns: int
    end_ns: int
    status: int
    attributes: dict[str, object]
    links: list[str]


class OtlpReceiver:
    """`with OtlpReceiver()`: `spans` is what came, `raw` every byte of it, `resources` the
    attributes of who sent it. `status` and
    `answer`: what to say to each request; `hang`: answer only when it is set."""

    def __init__(
        self, status: Callable[[int], int] = lambda _: 200, answer: bytes | None = None
    ) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, object]] = []
        self.raw: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.hang: threading.Event | None = None
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.raw.append(body)
                receiver.heads.append(dict(self.headers))
                receiver.paths.append(self.path)
                if receiver.hang is not None:
                    receiver.hang.wait(30)
                code = status(len(receiver.raw))
                content = _TAKEN if answer is None else answer
                if code == 200:
                    receiver.take(body)
                self.send_response(code)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(_attributes(group.resource.attributes))
            for scope in group.scope_spans:
                assert scope.scope.name == "toolbooth"
                assert scope.schema_url
                self.spans += [_span(span) for span in scope.spans]

    def wait_for_requests(self, count: int, seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while len(self.raw) < count:
            assert time.monotonic() < end, f"{len(self.raw)} requests of {count} came"
            time.sleep(0.01)

    def wait_for(self, count: int, seconds: float = 10.0) -> list[Span]:
        end = time.monotonic() + seconds
        while len(self.spans) < count:
            assert time.monotonic() < end, f"{len(self.spans)} spans of {count} came"
            time.sleep(0.01)
        return self.spans

    def __enter__(self) -> "OtlpReceiver":
        return self

    def __exit__(self, *_: object) -> None:
        if self.hang is not None:
            self.hang.set()
        self._server.shutdown()
        self._server.server_close()


def _span(span: object) -> Span:
    return Span(
        span.name, span.kind, span.trace_id.hex(), span.span_id.hex(),  # type: ignore[attr-defined]
        span.parent_span_id.hex(), span.trace_state,  # type: ignore[attr-defined]
        span.start_time_unix_nano, span.end_time_unix_nano,  # type: ignore[attr-defined]
        span.status.code, _attributes(span.attributes),  # type: ignore[attr-defined]
        [link.span_id.hex() for link in span.links],  # type: ignore[attr-defined]
    )  # fmt: skip


def _attributes(pairs: object) -> dict[str, object]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value"))
        for pair in pairs  # type: ignore[attr-defined]
    }
