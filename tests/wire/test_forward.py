import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model.call import Origin
from proxy.model.errors import BadMessage
from proxy.wire import forward
from proxy.wire.body import CHUNKED, NO_CONTENT, Ends, Framing
from proxy.wire.forward import (
    Outgoing,
    baggage_without_run,
    check_single_fields,
    content_length,
    hops_left,
    nominated,
    relayed_lines,
    wants_websocket,
)
from proxy.wire.head import RequestHead, ResponseHead, parse_request_head, parse_response_head
from tests.wire.readings import Reading, h11_request

HERE = Origin("http", "h.test", 8080)
VIA = b"Via: 1.1 toolbooth-test"
IDENTITY = frozenset((b"x-agent-run-id", b"x-agent-id"))


def head_of(*lines: bytes, start: bytes = b"POST http://h.test:8080/p?q HTTP/1.1") -> RequestHead:
    return parse_request_head(b"\r\n".join((start, b"Host: client.test", *lines, b"", b"")))


def answer_of(*lines: bytes) -> ResponseHead:
    return parse_response_head(b"\r\n".join((b"HTTP/1.1 200 OK", *lines, b"", b"")))


def sent(
    head: RequestHead, framing: Framing = NO_CONTENT, *, replace: dict[bytes, bytes] | None = None,
    origin: Origin = HERE, path: str = "/p?q", keep_upgrade: bool = True, drop_expect: bool = False,
) -> list[bytes]:  # fmt: skip
    outgoing = Outgoing(
        head, origin=origin, path=path, identity=IDENTITY, via=VIA, replace=replace or {},
        keep_upgrade=keep_upgrade,
    )  # fmt: skip
    raw = outgoing.head(framing, drop_expect=drop_expect)
    assert raw.endswith(b"\r\n\r\n")
    assert raw.count(b"\r\n\r\n") == 1
    return raw[:-4].split(b"\r\n")


def test_the_request_line_and_host_are_the_target_s() -> None:
    """RFC 9112 section 3.2.2: the Host that was received is replaced, and 1.1 is our version."""
    old = head_of(start=b"PROPFIND http://h.test:8080 HTTP/1.0")
    assert sent(old, path="/") == [b"PROPFIND / HTTP/1.1", b"Host: h.test:8080", VIA]
    secure = Origin("https", "::1", 443)
    assert sent(old, origin=secure, path="/x")[:2] == [b"PROPFIND /x HTTP/1.1", b"Host: [::1]"]


STOPPED = [
    pytest.param(b"Connection: close", id="Connection"),
    pytest.param(b"Keep-Alive: timeout=9999", id="Keep-Alive"),
    pytest.param(b"Proxy-Connection: keep-alive", id="Proxy-Connection"),
    pytest.param(b"TE: trailers", id="TE"),
    pytest.param(b"Trailer: X", id="Trailer"),
    pytest.param(b"Transfer-Encoding: chunked", id="a framing that was for us"),
    pytest.param(b"Content-Length: 5", id="a length that was for us"),
    pytest.param(b"Upgrade: h2c", id="an upgrade nobody asked the other side for"),
    pytest.param(b"HTTP2-Settings: AAMAAABkAAQAAP__", id="what belongs to it"),
    pytest.param(b"Proxy-Authorization: Basic eDp5", id="credentials of the proxy"),
    pytest.param(b"Proxy: http://evil.test", id="the httpoxy field"),
    pytest.param(b"X-Agent-Run-Id: r", id="the run"),
    pytest.param(b"x-agent-id: a", id="the agent"),
    pytest.param(b"Content_Length: 5", id="a length by another name"),
    pytest.param(b"transfer_encoding: chunked", id="a coding by another name"),
    pytest.param(b"Proxy_Authorization: Basic eDp5", id="credentials by another name"),
    pytest.param(b"X_Agent_Run_Id: r", id="the run by another name"),
    pytest.param(b"X-Agent_Id: a", id="the agent by half another name"),
    pytest.param(b"X_KEY: client's", id="a replaced field by another name"),
    pytest.param(b"X-Key: client's", id="a replaced field"),
]


@pytest.mark.parametrize("line", STOPPED)
def test_fields_that_describe_this_hop_stop_here(line: bytes) -> None:
    head = head_of(b"X-A: 1", line, b"X-B: 2")
    lines = sent(head, replace={b"x-key": b""})
    assert lines[2:] == [b"X-A: 1", b"X-B: 2", VIA]


def test_other_fields_go_on_as_they_came() -> None:
    """In order, with their own case, white space, repetitions and opaque bytes."""
    lines = [b"x-A:1", b"X_Custom:  2 ", b"Cookie: a=1", b"x-a: \x80\xff",
             b"Authorization: Bearer t", b"Via: 1.0 before", b"Forwarded: for=192.0.2.1",
             b"Expect: 100-continue"]  # fmt: skip
    assert sent(head_of(*lines))[2:] == [*lines, VIA]


def test_values_of_connection_that_are_remembered_are_few_and_short() -> None:
    """They come before anything is known of who sends them."""
    for number in range(200):
        assert nominated(head_of(b"Connection: x-%d" % number)) == {b"x-%d" % number}
        long = b"x" * 65 + b"%d" % number
        assert nominated(head_of(b"Connection: " + long)) == {long}
    assert len(forward._connections.known) <= 64
    assert max(map(len, forward._connections.known)) <= 64


def test_what_connection_nominates_stops_and_our_own_lines_do_not() -> None:
    """Nominating a field strips the client's line; it must not strip what is added afterwards."""
    head = head_of(
        b"Connection: close, X-Private,Authorization", b"connection: via , X-KEY",
        b"X-Private: 1", b"Authorization: Bearer t", b"Via: 1.0 before", b"X-Key: client's",
        b"X-Kept: 1",
    )  # fmt: skip
    assert nominated(head) == {b"close", b"x-private", b"authorization", b"via", b"x-key"}
    lines = sent(head, replace={b"x-key": b"X-Key: ours"})
    assert lines[2:] == [b"X-Kept: 1", b"X-Key: ours", VIA]


FRAMED = [
    pytest.param(NO_CONTENT, [], id="no content"),
    pytest.param(Framing(Ends.BY_LENGTH, 0), [b"Content-Length: 0"], id="a length of nothing"),
    pytest.param(Framing(Ends.BY_LENGTH, 12), [b"Content-Length: 12"], id="a length"),
    pytest.param(CHUNKED, [b"Transfer-Encoding: chunked"], id="chunks"),
]


@pytest.mark.parametrize(("framing", "expected"), FRAMED)
def test_framing_is_written_anew(framing: Framing, expected: list[bytes]) -> None:
    received = (b"Content-Length: 5", b"Connection: content-length, transfer-encoding")
    assert sent(head_of(*received), framing)[2:] == [VIA, *expected]


def test_expect_is_dropped_where_it_has_been_met() -> None:
    head = head_of(b"X-A: 1", b"eXpect:100-continue", b"X-Expect: 1")
    assert sent(head, drop_expect=True)[2:] == [b"X-A: 1", b"X-Expect: 1", VIA]
    assert b"eXpect:100-continue" in sent(head)


UPGRADE = (b"Connection: keep-alive, Upgrade", b"Upgrade: WebSocket")
GET = b"GET http://h.test/ HTTP/1.1"
UPGRADES = [
    pytest.param(GET, UPGRADE, True, id="an upgrade to WebSocket"),
    pytest.param(b"GET http://h.test/ HTTP/1.0", UPGRADE, False, id="on HTTP/1.0"),
    pytest.param(b"POST http://h.test/ HTTP/1.1", UPGRADE, False, id="by another method"),
    pytest.param(GET, UPGRADE[1:], False, id="that Connection does not name"),
    pytest.param(GET, UPGRADE[:1], False, id="to nothing"),
    pytest.param(GET, (UPGRADE[0], b"Upgrade: h2c"), False, id="to another protocol"),
    pytest.param(GET, (UPGRADE[0], b"Upgrade: websocket, h2c"), False, id="to a choice"),
    pytest.param(GET, (*UPGRADE, b"Content-Length: 5"), False, id="with content of a length"),
    pytest.param(
        GET, (*UPGRADE, b"Transfer-Encoding: chunked"), False, id="with content in chunks"
    ),
]


@pytest.mark.parametrize(("start", "lines", "passes"), UPGRADES)
def test_only_a_websocket_upgrade_without_content_goes_on(
    start: bytes, lines: tuple[bytes, ...], passes: bool
) -> None:
    """Some origins take what follows the head of an upgrade for the new protocol, and when they
    decline, for a request: content would be a request that nobody has judged."""
    head = head_of(*lines, start=start)
    assert wants_websocket(head, nominated(head)) is passes
    ours = [b"Connection: Upgrade", b"Upgrade: websocket"]
    assert sent(head)[2:] == [VIA, *(ours if passes else [])]
    assert sent(head, keep_upgrade=False)[2:] == [VIA]


def test_a_field_with_one_value_comes_once() -> None:
    ours = frozenset((b"x-run",))
    check_single_fields(head_of(b"X-A: 1", b"X-A: 2", b"Cookie: a", b"Cookie: b"), ours)
    for name in (b"Host", b"Content-Length", b"Proxy-Authorization", b"authorization",
                 b"Max-Forwards", b"Content-Type", b"Expect", b"X-RUN"):  # fmt: skip
        check_single_fields(parse_request_head(b"GET / HTTP/1.1\r\n%b: 1\r\n\r\n" % name), ours)
        with pytest.raises(BadMessage, match="twice"):
            check_single_fields(head_of(b"%b: 1" % name, b"X-A: 1", b"%b: 1" % name.lower()), ours)


RELAYED_STOPS = [
    pytest.param(b"Connection: close", id="Connection"),
    pytest.param(b"Keep-Alive: timeout=5", id="Keep-Alive"),
    pytest.param(b"Transfer-Encoding: chunked", id="Transfer-Encoding"),
    pytest.param(b"Content-Length: 5", id="Content-Length, which is written anew"),
    pytest.param(b"Trailer: X", id="Trailer"),
    pytest.param(b"Upgrade: h2c", id="Upgrade"),
    pytest.param(b"Proxy-Connection: close", id="Proxy-Connection"),
    pytest.param(b"Proxy-Authenticate: Basic", id="a demand for the proxy's credentials"),
    pytest.param(b"Proxy-Authentication-Info: x", id="its confirmation"),
    pytest.param(b"Toolbooth-Code: ok", id="a field that only we may say"),
    pytest.param(b"tOOLBOOTH-Budget: steps=99", id="in any case"),
    pytest.param(b"Proxy-Status: Toolbooth; error=x", id="our member of Proxy-Status"),
]


@pytest.mark.parametrize("line", RELAYED_STOPS)
def test_fields_of_an_answer_that_stop_here(line: bytes) -> None:
    assert relayed_lines(answer_of(b"X-A: 1", line, b"X-B: 2")) == [b"X-A: 1", b"X-B: 2"]


def test_other_fields_of_an_answer_go_on_as_they_came() -> None:
    lines = [b"Set-Cookie: a=1", b"set-cookie:b=2", b"X-Should-Retry: true", b"WWW-Authenticate: B",
             b"Allow: GET", b"Age: 3", b"X: \xff", b"Proxy-Status: other; error=x",
             b"X-Toolbooth-Code: 1"]  # fmt: skip
    assert relayed_lines(answer_of(*lines)) == lines
    dropped = relayed_lines(answer_of(*lines), also_drop=frozenset((b"x-should-retry",)))
    assert dropped == [line for line in lines if line != b"X-Should-Retry: true"]


def test_an_answer_nominates_too() -> None:
    head = answer_of(b"Connection: X-A, close", b"X-A: 1", b"X-B: 2")
    assert relayed_lines(head) == [b"X-B: 2"]


LENGTHS = [
    pytest.param((b"content-length:  05 ",), b"content-length:  05 ", id="a length as it came"),
    pytest.param((), None, id="no length"),
    pytest.param((b"Content-Length: 5, 5",), None, id="a list"),
    pytest.param((b"Content-Length: x",), None, id="no number"),
    pytest.param((b"Content-Length:",), None, id="nothing"),
    pytest.param((b"Content-Length: 5", b"Content-Length: 5"), None, id="two lines"),
]


@pytest.mark.parametrize(("lines", "expected"), LENGTHS)
def test_a_length_is_kept_only_where_it_is_one(
    lines: tuple[bytes, ...], expected: bytes | None
) -> None:
    """RFC 9110 section 8.6: a wrong one is never passed on, not even in an answer to HEAD."""
    assert content_length(answer_of(b"X: 1", *lines).fields) == expected


BAGGAGE = [
    pytest.param((), None, id="none"),
    pytest.param((b"a=1,b=2",), None, id="none of ours is left alone"),
    pytest.param((b"agent.run_id=r",), b"", id="only ours leaves nothing"),
    pytest.param((b"a=1, agent.run_id=r;p=1 , b=2",), b"baggage: a=1,b=2", id="ours among others"),
    pytest.param((b"a=1", b"agent.run_id=r", b"b=2"), b"baggage: a=1,b=2", id="on several lines"),
    pytest.param((b"agent.run_id=r, agent.run_id=s,c=3",), b"baggage: c=3", id="ours twice"),
    pytest.param((b"agent.run_id = r,c=3",), b"baggage: c=3", id="with blanks"),
    pytest.param((b"agent.run_idx=r",), None, id="a longer name is not ours"),
    pytest.param((b"x=agent.run_id=r",), None, id="a value is not ours"),
]


@pytest.mark.parametrize(("values", "expected"), BAGGAGE)
def test_the_run_is_taken_out_of_the_baggage(
    values: tuple[bytes, ...], expected: bytes | None
) -> None:
    head = head_of(*(b"Baggage: " + value for value in values))
    assert baggage_without_run(head) == expected


def test_max_forwards_counts_for_two_methods() -> None:
    for method in (b"TRACE", b"OPTIONS"):
        start = method + b" http://h.test/ HTTP/1.1"
        assert hops_left(head_of(start=start)) is None
        assert hops_left(head_of(b"Max-Forwards: 0", start=start)) == 0
        assert hops_left(head_of(b"max-forwards: 999999999", start=start)) == 999_999_999
        for value in (b"-1", b"", b"1, 1", b"x", b"1000000000", b"\xb2"):
            with pytest.raises(BadMessage):
                hops_left(head_of(b"Max-Forwards: " + value, start=start))
    assert hops_left(head_of(b"Max-Forwards: x")) is None


# --- what is sent reads as what was meant ---------------------------------------------------

NAMES = st.sampled_from(
    [b"X-A", b"x_b", b"Cookie", b"Accept", b"Connection", b"TE", b"Upgrade", b"Keep-Alive", b"Via",
     b"X-Agent-Id", b"Content_Length", b"Expect", b"Proxy-Authorization", b"X-Key"]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([b"close", b"X-A, upgrade", b"websocket", b"100-continue", b"a, b"]),
    st.binary(max_size=8).map(lambda raw: bytes(b for b in raw if b >= 0x20 and b != 0x7F)),
)


FRAMING_FIELDS = (b"content-length", b"transfer-encoding")
MEANT = {
    Ends.AT_ONCE: [],
    Ends.BY_CHUNK: [(b"transfer-encoding", b"chunked")],
    Ends.BY_LENGTH: [(b"content-length", b"7")],
}
ALWAYS_GONE = {b"te", b"keep-alive", b"proxy-authorization", b"x-agent-id", b"content_length"}


@given(
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=6),
    method=st.sampled_from([b"GET", b"POST", b"OPTIONS", b"X-Y"]),
    path=st.sampled_from(["/", "*", "/a%2Fb?c=d", "//x/{}"]),
    framing=st.sampled_from([NO_CONTENT, CHUNKED, Framing(Ends.BY_LENGTH, 7)]),
    drop_expect=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_h11_reads_what_was_meant(
    fields: list[tuple[bytes, bytes]], method: bytes, path: str, framing: Framing, drop_expect: bool
) -> None:
    """A server finds our target, host and framing, each once, and no field that had to stop."""
    head = head_of(
        *(name + b": " + value for name, value in fields),
        start=method + b" http://h.test/ HTTP/1.1",
    )
    key = {b"x-key": b"X-Key: ours"}
    raw = b"\r\n".join(
        [*sent(head, framing, replace=key, path=path, drop_expect=drop_expect), b"", b""]
    )
    reading = h11_request(raw)
    assert isinstance(reading, Reading), reading
    assert reading.start == (method, path.encode())
    names = [name for name, _ in reading.fields]
    found = dict(reading.fields)
    assert (found[b"host"], found[b"x-key"]) == (b"h.test:8080", b"ours")
    assert names.count(b"host") == names.count(b"x-key") == 1
    assert [field for field in reading.fields if field[0] in FRAMING_FIELDS] == MEANT[framing.ends]
    ours = {b"via", b"x-key", b"upgrade", b"host", *FRAMING_FIELDS}  # written anew, named or not
    assert not (ALWAYS_GONE | nominated(head) - ours) & set(names)
    assert drop_expect <= (b"expect" not in names)
    kept = [value.strip(b" \t") for name, value in fields if name == b"Accept"]
    assert [value for name, value in reading.fields if name == b"accept"] == kept


def test_h11_takes_our_upgrade_for_one() -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"\r\n".join([*sent(head_of(*UPGRADE, start=GET)), b"", b""]))
    assert isinstance(connection.next_event(), h11.Request)
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert connection.next_event() is h11.PAUSED
