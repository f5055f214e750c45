from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.model.errors import BadMessage
from proxy.model.reason import Reason
from proxy.model.remember import Memory
from proxy.wire import head as head_module
from proxy.wire.head import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    MAX_TARGET_BYTES,
    RequestHead,
    field_values,
    find_head_end,
    list_tokens,
    parse_request_head,
    parse_response_head,
)
from tests.wire.pieces import REFUSED, cut, head_end_in_pieces


def request(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join((line, *fields, b"", b""))


def refusal_of(raw: bytes) -> tuple[Reason, int]:
    with pytest.raises(BadMessage) as caught:
        parse_request_head(raw)
    assert not any(part in str(caught.value) for part in ("evil", "secret")), "it echoes"
    return caught.value.reason, caught.value.status


LINES = [
    pytest.param(b"GET http://h/ HTTP/1.1", "GET", "http://h/", 1, id="absolute-form"),
    pytest.param(b"GET http://h HTTP/1.1", "GET", "http://h", 1, id="absolute-form without a path"),
    pytest.param(b"CONNECT h:443 HTTP/1.1", "CONNECT", "h:443", 1, id="authority-form"),
    pytest.param(b"GET /tools/a/ HTTP/1.1", "GET", "/tools/a/", 1, id="origin-form"),
    pytest.param(b"OPTIONS * HTTP/1.1", "OPTIONS", "*", 1, id="asterisk-form"),
    pytest.param(b"GET / HTTP/1.0", "GET", "/", 0, id="HTTP/1.0"),
    pytest.param(b"GET / HTTP/1.2", "GET", "/", 1, id="a higher minor version is read as 1.1"),
    pytest.param(b"GET / HTTP/1.9", "GET", "/", 1, id="the highest minor version there is"),
    pytest.param(b"get / HTTP/1.1", "get", "/", 1, id="a method keeps its case"),
    pytest.param(b"PROPFIND / HTTP/1.1", "PROPFIND", "/", 1, id="a method we do not know"),
    pytest.param(b"!#$%&'*+-.^_`|~ / HTTP/1.1", "!#$%&'*+-.^_`|~", "/", 1, id="every token sign"),
    pytest.param(
        b"GET /a%2Fb/%7E/./x;y=1?b=%20+&c=%c3%a9 HTTP/1.1",
        "GET", "/a%2Fb/%7E/./x;y=1?b=%20+&c=%c3%a9", 1, id="a target is not decoded",
    ),
    pytest.param(
        b"GET /%0d%0aX-Injected:1 HTTP/1.1", "GET", "/%0d%0aX-Injected:1", 1,
        id="an encoded line end stays encoded",
    ),
    pytest.param(b'GET /{}|\\^`"<> HTTP/1.1', "GET", '/{}|\\^`"<>', 1, id="visible ASCII passes"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "method", "target", "minor"), LINES)
def test_request_lines_are_read_as_sent(line: bytes, method: str, target: str, minor: int) -> None:
    head = parse_request_head(request(line, b"Host: h"))
    assert (head.method, head.target, head.minor) == (method, target, minor)
    assert head.fields == [(b"host", b"Host: h")]


BAD_LINES = [
    pytest.param(b"GET http://h/", 0, id="no version (HTTP/0.9)"),
    pytest.param(b"GET  / HTTP/1.1", 0, id="two spaces after the method"),
    pytest.param(b"GET /  HTTP/1.1", 0, id="two spaces after the target"),
    pytest.param(b"GET\t/ HTTP/1.1", 0, id="a tab after the method"),
    pytest.param(b"GET /\tHTTP/1.1", 0, id="a tab after the target"),
    pytest.param(b"GET\x0b/ HTTP/1.1", 0, id="a vertical tab"),
    pytest.param(b"GET /a b HTTP/1.1", 0, id="a space in the target"),
    pytest.param(b"GET /a\tb HTTP/1.1", 0, id="a tab in the target"),
    pytest.param(b" GET / HTTP/1.1", 0, id="a space before the method"),
    pytest.param(b"GET / HTTP/1.1 ", 0, id="a space after the version"),
    pytest.param(b"GET / HTTP/1.1\r", 0, id="two carriage returns"),
    pytest.param(b"GET /\x1b[2J HTTP/1.1", 0, id="a terminal escape in the target"),
    pytest.param(b"GET /\x00 HTTP/1.1", 0, id="a NUL in the target"),
    pytest.param(b"GET /\x7f HTTP/1.1", 0, id="a DEL in the target"),
    pytest.param(b"GET http://\xef\xbc\x91/ HTTP/1.1", 0, id="a raw full-width digit"),
    pytest.param(b"GET /\x80 HTTP/1.1", 0, id="a byte above ASCII in the target"),
    pytest.param(b"G\x00T / HTTP/1.1", 0, id="a NUL in the method"),
    pytest.param(b"G@T / HTTP/1.1", 0, id="a method that is no token"),
    pytest.param(b"G(T) / HTTP/1.1", 0, id="a method with brackets"),
    pytest.param(b" / HTTP/1.1", 0, id="no method"),
    pytest.param(b"GET  HTTP/1.1", 0, id="no target"),
    pytest.param(b"GET / http/1.1", 0, id="a version in lower case"),
    pytest.param(b"GET / HTTP/1", 0, id="a version without a minor"),
    pytest.param(b"GET / HTTP/1.", 0, id="a version with an empty minor"),
    pytest.param(b"GET / HTTP/1.10", 0, id="a minor version of two digits"),
    pytest.param(b"GET / HTTP/01.1", 0, id="a major version of two digits"),
    pytest.param(b"GET / HTTP/\xb2.1", 0, id="a superscript two"),
    pytest.param(b"GET / HTTP /1.1", 0, id="a space in the version"),
    pytest.param(b"GET / RTSP/1.0", 0, id="another protocol"),
    pytest.param(b"", 0, id="an empty line"),
    pytest.param(b"\x16\x03\x01\x00\x05hello", 0, id="a TLS record"),
    pytest.param(b"GET / HTTP/2.0", 505, id="HTTP/2.0 in text"),
    pytest.param(b"GET / HTTP/0.9", 505, id="HTTP/0.9 that says so"),
    pytest.param(b"PRI * HTTP/2.0", 505, id="the HTTP/2 preface"),
    pytest.param(b"A" * 33 + b" / HTTP/1.1", 501, id="a method one byte too long"),
    pytest.param(
        b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1", 414, id="a target one byte too long"
    ),
]


@pytest.mark.parametrize(("line", "status"), BAD_LINES)
def test_a_request_line_is_never_repaired(line: bytes, status: int) -> None:
    assert refusal_of(request(line, b"Host: h")) == (Reason.BAD_REQUEST, status)


def test_the_longest_method_and_target_pass() -> None:
    target = b"/" + b"a" * (MAX_TARGET_BYTES - 1)
    head = parse_request_head(request(b"A" * 32 + b" " + target + b" HTTP/1.1", b"Host: h"))
    assert (head.method, head.target) == ("A" * 32, target.decode())
    assert MAX_TARGET_BYTES > 8000, "RFC 9112 section 3 wants 8000 at least"


FIELDS = [
    pytest.param(b"X: a", b"x", b"a", id="a plain field"),
    pytest.param(b"X:a", b"x", b"a", id="no space after the colon"),
    pytest.param(b"X: \t a \t ", b"x", b"a", id="white space around the value is not its"),
    pytest.param(b"X:", b"x", b"", id="an empty value"),
    pytest.param(b"X: \t", b"x", b"", id="a value of white space"),
    pytest.param(b"X: a  b\tc", b"x", b"a  b\tc", id="white space within stays"),
    pytest.param(b"X: a:b: c", b"x", b"a:b: c", id="colons in a value"),
    pytest.param(b"X: \x80\xff", b"x", b"\x80\xff", id="opaque bytes stay"),
    pytest.param(b"x-UNKNOWN: 1", b"x-unknown", b"1", id="a name is compared in lower case"),
    pytest.param(b"X_Y: 1", b"x_y", b"1", id="an underscore is a token sign"),
    pytest.param(b"!#$%&'*+-.^_`|~9: 1", b"!#$%&'*+-.^_`|~9", b"1", id="every token sign"),
]


@pytest.mark.parametrize(("line", "name", "value"), FIELDS)
def test_fields_are_read_and_their_line_kept(line: bytes, name: bytes, value: bytes) -> None:
    for head in (
        parse_request_head(request(b"GET / HTTP/1.1", line)),
        parse_response_head(request(b"HTTP/1.1 200 OK", line)),
    ):
        assert head.fields == [(name, line)]
        assert head.value(name) == value
        assert field_values(head, name) == [value]


BAD_FIELDS = [
    pytest.param(b"X : a", id="a space before the colon"),
    pytest.param(b"X\t: a", id="a tab before the colon"),
    pytest.param(b": a", id="an empty name"),
    pytest.param(b"X a", id="no colon"),
    pytest.param(b"X(: a", id="a name that is no token"),
    pytest.param(b"X\x80: a", id="a name above ASCII"),
    pytest.param(b"X\x00: a", id="a NUL in the name"),
    pytest.param(b" X: a", id="a folded line"),
    pytest.param(b"X: a\r\n b", id="a fold by a space"),
    pytest.param(b"X: a\r\n\tb", id="a fold by a tab"),
    pytest.param(b"X: a\rY: b", id="a bare CR in a value"),
    pytest.param(b"X: a\nY: b", id="a bare LF in a value"),
    pytest.param(b"X: a\r\r", id="a CR before the line end"),
    pytest.param(b"X: a\x00b", id="a NUL in a value"),
    pytest.param(b"X: a\x0bb", id="a vertical tab in a value"),
    pytest.param(b"X: a\x1fb", id="a control character in a value"),
    pytest.param(b"X: a\x7fb", id="a DEL in a value"),
    pytest.param(b"Transfer-Encoding:\x0bchunked", id="a vertical tab before a value"),
    pytest.param(b"Transfer-Encoding:\r\n chunked", id="a fold after the colon"),
]


@pytest.mark.parametrize("line", BAD_FIELDS)
@pytest.mark.parametrize("place", [0, 1])
def test_malformed_fields_are_refused_wherever_they_stand(line: bytes, place: int) -> None:
    fields = [b"Host: h"]
    fields.insert(place, line)
    assert refusal_of(request(b"GET / HTTP/1.1", *fields)) == (Reason.BAD_REQUEST, 0)
    with pytest.raises(BadMessage, match="header line"):
        parse_response_head(request(b"HTTP/1.1 200 OK", *fields))


def test_order_and_repetition_of_fields_are_kept() -> None:
    lines = [b"X: 1", b"Set-Cookie: a=1", b"x: 2", b"Set-Cookie: b=2, c"]
    head = parse_response_head(request(b"HTTP/1.1 200 OK", *lines))
    assert [line for _, line in head.fields] == lines
    assert field_values(head, b"x") == [b"1", b"2"]
    assert head.value(b"x") == b"2"
    assert field_values(head, b"absent") == []
    assert head.value(b"absent") is None


def test_a_head_may_have_no_fields() -> None:
    head = parse_request_head(b"GET / HTTP/1.0\r\n\r\n")
    assert (head.fields, head.named) == ([], {})


def test_the_number_of_fields_is_bounded() -> None:
    lines = [b"X: %d" % number for number in range(MAX_FIELDS)]
    assert len(parse_request_head(request(b"GET / HTTP/1.1", *lines)).fields) == MAX_FIELDS
    too_many = request(b"GET / HTTP/1.1", *lines, b"X: one more")
    assert refusal_of(too_many) == (Reason.HEADERS_TOO_LARGE, 0)


STATUS_LINES = [
    pytest.param(b"HTTP/1.1 200 OK", (1, 200, b"OK"), id="a plain status line"),
    pytest.param(b"HTTP/1.0 404 Not Found", (0, 404, b"Not Found"), id="HTTP/1.0"),
    pytest.param(b"HTTP/1.1 200 ", (1, 200, b""), id="an empty phrase"),
    pytest.param(b"HTTP/1.1 200", (1, 200, b""), id="no phrase and no space"),
    pytest.param(b"HTTP/1.1 500 \xe9\t!", (1, 500, b"\xe9\t!"), id="an opaque phrase"),
    pytest.param(b"HTTP/1.1 999 X", (1, 999, b"X"), id="a status of no class"),
    pytest.param(b"HTTP/1.1 100 Continue", (1, 100, b"Continue"), id="the lowest status"),
]


@pytest.mark.parametrize(("line", "expected"), STATUS_LINES)
def test_status_lines_are_read(line: bytes, expected: tuple[int, int, bytes]) -> None:
    head = parse_response_head(request(line, b"X: 1"))
    assert (head.minor, head.status, head.phrase) == expected


BAD_STATUS_LINES = [
    pytest.param(b"HTTP/2.0 200 OK", id="another major version"),
    pytest.param(b"HTTP/1.2 200 OK", id="a higher minor version: nobody asked with one"),
    pytest.param(b"HTTP/1.1  200 OK", id="two spaces"),
    pytest.param(b"HTTP/1.1\t200 OK", id="a tab"),
    pytest.param(b"HTTP/1.1 099 X", id="a status below 100"),
    pytest.param(b"HTTP/1.1 20 OK", id="a status of two digits"),
    pytest.param(b"HTTP/1.1 2000 OK", id="a status of four digits"),
    pytest.param(b"HTTP/1.1 2\xb20 OK", id="a superscript in the status"),
    pytest.param(b"HTTP/1.1 +20 OK", id="a sign in the status"),
    pytest.param(b"HTTP/1.1 200\tOK", id="a tab after the status"),
    pytest.param(b"HTTP/1.1 200 O\rSet-Cookie: a", id="a CR in the phrase splits no answer"),
    pytest.param(b"HTTP/1.1 200 O\nSet-Cookie: a", id="nor does an LF"),
    pytest.param(b"HTTP/1.1 200 O\x00", id="a NUL in the phrase"),
    pytest.param(b" HTTP/1.1 200 OK", id="a space in front"),
    pytest.param(b"ICY 200 OK", id="another protocol"),
    pytest.param(b"<html>", id="no HTTP at all"),
]


@pytest.mark.parametrize("line", BAD_STATUS_LINES)
def test_malformed_status_lines_are_refused(line: bytes) -> None:
    with pytest.raises(BadMessage, match="status line"):
        parse_response_head(request(line, b"X: 1"))


def test_list_members_are_lower_case_and_never_empty() -> None:
    assert list_tokens([b"Close, ,\tX-A ,", b"", b"b"]) == [b"close", b"x-a", b"b"]


# --- where a head ends ----------------------------------------------------------------------

HEAD = request(b"GET http://h/ HTTP/1.1", b"Host: h")


def test_the_end_is_just_past_the_empty_line() -> None:
    assert find_head_end(HEAD + b"more\r\n\r\n") == len(HEAD)
    assert find_head_end(bytearray(HEAD)) == len(HEAD)
    assert find_head_end(HEAD[:-1]) == -1
    assert find_head_end(b"") == -1


def test_a_bare_line_feed_is_refused_as_soon_as_it_is_there() -> None:
    """Waiting for an empty line that the sender thinks it has sent would only end by deadline."""
    for raw in (b"\n", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nHost: h\n", b"a\r\n\n"):
        assert head_end_in_pieces([raw[:-1]]) == -1
        with pytest.raises(BadMessage, match="CRLF"):
            find_head_end(raw)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, MAX_HEAD_BYTES * 2])
def test_the_limit_is_the_same_however_the_bytes_come(step: int) -> None:
    """The limit is the head's length, the empty line included."""
    start = MAX_HEAD_BYTES - 8
    padding = MAX_HEAD_BYTES - len(b"GET / HTTP/1.1\r\nX: \r\n\r\n")
    longest = b"GET / HTTP/1.1\r\nX: " + b"a" * padding + b"\r\n\r\n"
    for raw, expected in (
        (longest, MAX_HEAD_BYTES),
        (longest.replace(b"X: a", b"X: aa", 1), REFUSED),
        (b"a" * (MAX_HEAD_BYTES - 1), -1),
        (b"a" * MAX_HEAD_BYTES, REFUSED),
    ):
        places = range(start, len(raw), step)
        assert head_end_in_pieces(cut(raw, places)) == expected


def test_what_is_too_long_says_so() -> None:
    line = b"GET / HTTP/1.1\r\n"
    for end in (b"", b"\r\n\r\n"):
        with pytest.raises(BadMessage) as caught:
            find_head_end(line + b"a" * MAX_HEAD_BYTES + end)
        assert caught.value.reason is Reason.HEADERS_TOO_LARGE
        with pytest.raises(BadMessage) as caught:
            find_head_end(b"a" * MAX_HEAD_BYTES + end)
        assert caught.value.status == 414


# --- for any bytes --------------------------------------------------------------------------

ANY_HEAD = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [b"GET", b" ", b"/", b"HTTP/1.1", b"HTTP/1.1 200", b"\r\n", b"\n", b"\r", b"X", b":",
             b"a", b"\t", b"\x00", b"\x80"]
        ), max_size=20,
    ).map(b"".join),
)  # fmt: skip


def verdict(raw: bytes) -> RequestHead | None:
    try:
        return parse_request_head(raw)
    except BadMessage:
        return None


@given(raw=ANY_HEAD)
@settings(max_examples=300, deadline=None)
@example(raw=b"\r\n\r\n")
@example(raw=b"GET / HTTP/1.1\r\n")
def test_any_bytes_are_a_head_or_a_bad_message(raw: bytes) -> None:
    """Nothing but `BadMessage` is raised, and what is accepted can be written out again."""
    start, *lines = raw.split(b"\r\n")
    head = verdict(raw)
    if head is not None:
        assert f"{head.method} {head.target} HTTP/1.".encode() == start[:-1]
        assert [*(line for _, line in head.fields), b"", b""] == lines
    try:
        response = parse_response_head(raw)
    except BadMessage:
        return
    assert [*(line for _, line in response.fields), b"", b""] == lines


@given(raw=ANY_HEAD, places=st.lists(st.integers(0, 200), max_size=8))
@settings(max_examples=300, deadline=None)
@example(raw=b"G\r\n\r\n", places=[1, 2, 3, 4])
@example(raw=b"\n\r\n\r\n", places=[1])
def test_the_verdict_does_not_depend_on_the_splitting(raw: bytes, places: list[int]) -> None:
    """A head with a bare LF is refused while it comes or when it is read: but never accepted."""
    whole = head_end_in_pieces([raw])
    for pieces in (cut(raw, places), [bytes([byte]) for byte in raw]):
        split = head_end_in_pieces(pieces)
        if split == whole:
            continue
        assert split == REFUSED
        assert isinstance(whole, int)
        assert verdict(raw[:whole]) is None


def test_a_field_section_that_was_read_before_is_the_same_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(head_module, "_sections", Memory[bytes, Any](10))
    first = parse_request_head(b"GET /a HTTP/1.1\r\nHost: a.test\r\nX-A: 1\r\n\r\n")
    again = parse_request_head(b"POST /b HTTP/1.0\r\nHost: a.test\r\nX-A: 1\r\n\r\n")
    other = parse_request_head(b"GET /a HTTP/1.1\r\nHost: a.test\r\nX-A: 2\r\n\r\n")
    assert again.section is first.section
    assert other.section is not first.section
    assert (again.method, again.target, again.minor) == ("POST", "/b", 0)


def test_a_bad_section_is_bad_every_time() -> None:
    for _ in range(2):
        with pytest.raises(BadMessage):
            parse_request_head(b"GET / HTTP/1.1\r\nHost : a.test\r\n\r\n")


def test_what_is_remembered_of_sections_is_bounded_in_number_and_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memories = [Memory[bytes, Any](head_module._MAX_REMEMBERED) for _ in range(4)]
    names = ("_request_heads", "_sections", "_fields", "_request_lines")
    for name, memory in zip(names, memories, strict=True):
        monkeypatch.setattr(head_module, name, memory)
    long = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-A: %b\r\n\r\n" % (b"x" * 2048)
    assert parse_request_head(long).section is not parse_request_head(long).section
    assert [len(memory.known) for memory in memories] == [0, 0, 1, 1]  # lines that are short are
    for number in range(head_module._MAX_REMEMBERED + 1):
        raw = b"GET /%d HTTP/1.1\r\nHost: a.test\r\nX-A: %d\r\n\r\n" % (number, number)
        parse_request_head(raw)
    assert {len(memory.known) for memory in memories} == {head_module._MAX_REMEMBERED}


def test_a_head_with_other_fields_has_a_section_of_its_own() -> None:
    head = parse_request_head(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
    changed = head.with_fields([(b"x-a", b"X-A: 1")])
    assert (changed.value(b"x-a"), changed.value(b"host")) == (b"1", None)
    assert changed.section is not head.section
    assert head.value(b"host") == b"a.test"
