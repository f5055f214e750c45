"""W3C Trace Context: `traceparent` and `tracestate`, read strictly and written (pure).

What is not exactly in the form of the recommendation is as good as not sent: the trace starts
anew. It comes from the agent and goes into spans and to upstreams, so nothing is repaired.
"""

import re

from proxy.model.trace import RANDOM, SAMPLED, TraceContext
from proxy.wire.head import RequestHead, field_values

MAX_STATE_CHARS = 512  # section 3.3.1.1: as much as everybody has to pass on
_MAX_STATE_MEMBERS = 32  # section 3.3.1.1
_MAX_PARENT_CHARS = 128  # of a later version, which may say more behind the 55 of this one
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MEMBER = re.compile(
    r"(?P<key>[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


def context_of(head: RequestHead) -> TraceContext | None:
    """The span the client says this request belongs to; None where it says none, or not so that
    it can be understood."""
    if b"traceparent" not in head.named:
        return None
    parents = field_values(head, b"traceparent")
    if len(parents) != 1:
        return None  # two parents are none
    states = field_values(head, b"tracestate")
    return read_context(parents[0].decode("latin-1"), b",".join(states).decode("latin-1"))


def read_context(parent: str, state: str = "") -> TraceContext | None:
    """The same from two texts. A bad `state` costs the state alone (section 3.3.1.4)."""
    if len(parent) > _MAX_PARENT_CHARS:
        return None
    match = _PARENT.fullmatch(parent)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more):
        return None
    context = TraceContext(int(trace_id, 16), int(span_id, 16), int(flags, 16) & (SAMPLED | RANDOM))
    if not context.trace_id or not context.span_id:
        return None
    return context._replace(state=_checked(state)) if state else context


def _checked(state: str) -> str:
    """The tracestate without empty members, or nothing if any member is bad."""
    if len(state) > MAX_STATE_CHARS:
        return ""
    members = [member.strip(" \t") for member in state.split(",")]
    members = [member for member in members if member]
    keys = set()
    for member in members:
        match = _MEMBER.fullmatch(member)
        if match is None:
            return ""
        keys.add(match["key"])
    if len(keys) != len(members) or len(members) > _MAX_STATE_MEMBERS:
        return ""
    return ",".join(members)


def parent_line(context: TraceContext) -> bytes:
    """The `traceparent` line that makes `context` the parent of what it is sent to."""
    return b"traceparent: 00-%032x-%016x-%02x" % context[:3]


def state_line(context: TraceContext) -> bytes:
    """The `tracestate` line beside it; empty where there is nothing to say."""
    return b"tracestate: " + context.state.encode() if context.state else b""
