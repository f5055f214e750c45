"""Trace contexts as clients may write them, and what becomes of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import TraceState

from proxy.model.trace import TraceContext
from proxy.wire.head import parse_request_head
from proxy.wire.trace_context import (
    MAX_STATE_CHARS,
    context_of,
    parent_line,
    read_context,
    state_line,
)

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"

PARENTS = [
    pytest.param(GOOD, 1, id="version 00, sampled"),
    pytest.param(f"00-{TRACE}-{SPAN}-00", 0, id="not sampled"),
    pytest.param(f"00-{TRACE}-{SPAN}-03", 3, id="sampled and random"),
    pytest.param(f"00-{TRACE}-{SPAN}-fd", 1, id="flags nobody knows are not passed on"),
    pytest.param(f"01-{TRACE}-{SPAN}-01", 1, id="a later version"),
    pytest.param(f"cc-{TRACE}-{SPAN}-01-what-it-says", 1, id="a later version that says more"),
    pytest.param(f"{GOOD}-more", None, id="version 00 says no more"),
    pytest.param(f"01-{TRACE}-{SPAN}-01more", None, id="more without a dash"),
    pytest.param(f"ff-{TRACE}-{SPAN}-01", None, id="version ff does not exist"),
    pytest.param(f"00-{'0' * 32}-{SPAN}-01", None, id="no trace"),
    pytest.param(f"00-{TRACE}-{'0' * 16}-01", None, id="no span"),
    pytest.param(GOOD.upper(), None, id="capitals"),
    pytest.param(f"{GOOD}\n", None, id="a line end"),
    pytest.param(f" {GOOD}", None, id="a space"),
    pytest.param(f"00-{TRACE}-{SPAN}", None, id="no flags"),
    pytest.param(f"01-{TRACE}-{SPAN}-01-{'x' * 80}", None, id="endless"),
    pytest.param("", None, id="nothing"),
]


@pytest.mark.parametrize(("value", "flags"), PARENTS)
def test_a_traceparent_is_understood_or_there_is_none(value: str, flags: int | None) -> None:
    context = read_context(value)
    expected = None if flags is None else TraceContext(int(TRACE, 16), int(SPAN, 16), flags)
    assert context == expected


STATES = [
    pytest.param("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", None, id="two members"),
    pytest.param("fw529a3039@dt=FfAAAAAAAAAAAAA", None, id="a tenant's"),
    pytest.param("a=b , c=d,,", "a=b,c=d", id="white space and empty members go"),
    pytest.param("a=b,a=c", "", id="a key twice"),
    pytest.param("a", "", id="no value"),
    pytest.param("A=b", "", id="a capital in a key"),
    pytest.param("a=b=c", "", id="two equal signs"),
    pytest.param("a=\x00", "", id="a control"),
    pytest.param("a=ü", "", id="not ASCII"),
    pytest.param(",".join(f"k{n}=v" for n in range(33)), "", id="33 members"),
    pytest.param("a=" + "b" * MAX_STATE_CHARS, "", id="too long"),
]


@pytest.mark.parametrize(("state", "kept"), STATES)
def test_a_bad_tracestate_costs_itself_alone(state: str, kept: str | None) -> None:
    context = read_context(GOOD, state)
    assert context is not None
    assert context.state == (state if kept is None else kept)


@given(state=st.text(max_size=60), parent=st.text(max_size=60))
def test_whatever_is_kept_is_one_safe_line_that_the_sdk_reads_alike(
    state: str, parent: str
) -> None:
    assert read_context(parent, state) is None
    context = read_context(GOOD, state)
    assert context is not None
    line = state_line(context)
    assert line.isascii()
    assert not any(byte < 32 or byte == 127 for byte in line)
    if context.state:
        read = TraceState.from_header([context.state])
        assert ",".join(f"{key}={value}" for key, value in read.items()) == context.state


def test_what_is_written_reads_back() -> None:
    context = TraceContext(1, 2, 3, "a=b")
    assert parent_line(context) == b"traceparent: 00-" + b"0" * 31 + b"1-" + b"0" * 15 + b"2-03"
    assert state_line(context) == b"tracestate: a=b"
    assert state_line(context._replace(state="")) == b""
    assert read_context(parent_line(context).decode().partition(" ")[2], "a=b") == context


HEADS = [
    pytest.param([f"traceparent: {GOOD}"], "", id="alone"),
    pytest.param([f"Traceparent: {GOOD}", "TraceState: a=b"], "a=b", id="any case"),
    pytest.param([f"traceparent: {GOOD}", "tracestate: a=b", "tracestate: c=d"], "a=b,c=d",
                 id="a state in two lines is one"),
    pytest.param([f"traceparent: {GOOD}", f"traceparent: {GOOD}"], None, id="two parents"),
    pytest.param(["tracestate: a=b"], None, id="a state without a parent"),
    pytest.param([], None, id="neither"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "state"), HEADS)
def test_a_head_has_one_context_or_none(lines: list[str], state: str | None) -> None:
    raw = "\r\n".join(["GET http://a/ HTTP/1.1", "Host: a", *lines, "", ""]).encode()
    context = context_of(parse_request_head(raw))
    assert (context.state if context is not None else None) == state
