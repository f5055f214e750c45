"""What is remembered of a call for its trace: plain values while it walks, spans when it is over.

Nothing here builds a span, and nothing here knows the OpenTelemetry SDK. A call under way pays for
a few slots; names, attributes and encoding wait until a thread has time for them.
"""

from typing import NamedTuple

SAMPLED = 1  # W3C Trace Context section 3.2.2.5
RANDOM = 2  # Trace Context level 2: the id is random enough to sample by


class TraceContext(NamedTuple):
    """A span as others name it. `flags` are those of the traceparent, `state` the tracestate."""

    trace_id: int
    span_id: int
    flags: int = SAMPLED
    state: str = ""

    @property
    def is_sampled(self) -> bool:
        """Does it say that the trace is recorded?"""
        return bool(self.flags & SAMPLED)


class Attempt:
    """One attempt to reach the upstream. Seconds are monotonic; `end_s` 0: it lasts as long as the
    call. `status` 0: no answer. `code`: why there is none, empty where there is one. `peer`: the
    address it came from."""

    __slots__ = ("code", "end_s", "peer", "span_id", "start_s", "status")

    def __init__(self, span_id: int, start_s: float) -> None:
        self.span_id = span_id
        self.start_s = start_s
        self.end_s = 0.0
        self.status = 0
        self.code = ""
        self.peer: object = None


class CallFacts(NamedTuple):
    """What a span says of its call, copied when it is over: records hold captured bodies, whose
    memory is counted elsewhere. Texts are raw, and bounded."""

    call_id: str
    mode: str
    tool: str
    kind: str  # of the tool; empty where none was found
    method: str
    scheme: str
    host: str
    port: int
    code: str
    code_status: int  # what the code is as a status of HTTP
    status: int
    run_id: str
    agent_id: str
    policy_version: str
    cost_micros: int
    tokens: int
    request_bytes: int
    response_bytes: int
    queue_ms: float
    operation: str = ""  # what a model is asked to do, where its path says it
    input_tokens: int = -1  # -1: not known
    output_tokens: int = -1
    mcp_method: str = ""
    mcp_version: str = ""
    mcp_id: str = ""
    mcp_messages: int = 0


class Trace:
    """One sampled call. `context` is its server span, `parent` what the client said is around it,
    `link` another span it belongs to. `started_s` is monotonic, `started_wall_s` the same moment
    by the clock on the wall. `ended_s` and `facts` are there when it is over."""

    __slots__ = (
        "attempts", "context", "ended_s", "facts", "link", "parent", "started_s", "started_wall_s",
    )  # fmt: skip

    def __init__(
        self,
        context: TraceContext,
        parent: TraceContext | None,
        started_s: float,
        started_wall_s: float,
        link: TraceContext | None = None,
    ) -> None:
        self.context = context
        self.parent = parent
        self.link = link
        self.started_s = started_s
        self.started_wall_s = started_wall_s
        self.ended_s = 0.0
        self.attempts: list[Attempt] = []
        self.facts: CallFacts | None = None
