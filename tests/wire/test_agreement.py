"""What we accept, h11 and llhttp accept too, and read in the same way; see `readings.py` for the
exceptions. `fuzz.py` looks for longer."""

from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.wire.fragments import a_request, a_response, mutated
from tests.wire.fuzz import Fuzzer
from tests.wire.readings import (
    Ours,
    Reading,
    Refused,
    compare_request,
    compare_response,
    h11_request,
    llhttp_request,
    our_request,
    our_response,
)

T = TypeVar("T")
HOST = b"Host: h.test\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
POST = b"POST http://h.test/ HTTP/1.1\r\n" + HOST

REQUESTS = [
    pytest.param(b"GET http://h.test/ HTTP/1.1\r\n" + HOST + b"\r\n", id="absolute-form"),
    pytest.param(b"GET http://h_1.test?q HTTP/1.0\r\n\r\n", id="an empty path on HTTP/1.0"),
    pytest.param(b'GET /{}|\\^`"<>?{}| HTTP/1.1\r\n' + HOST + b"\r\n", id="odd visible signs"),
    pytest.param(b"GET http://[::1]:80/ HTTP/1.1\r\nHost: [::1]\r\n\r\n", id="an IPv6 address"),
    pytest.param(b"OPTIONS http://h.test HTTP/1.1\r\n" + HOST + b"\r\n", id="OPTIONS of a server"),
    pytest.param(b"CONNECT h.test:443 HTTP/1.1\r\n" + HOST + b"\r\n\x16\x03", id="CONNECT"),
    pytest.param(b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", id="CONNECT to IPv6"),
    pytest.param(b"X-Y! / HTTP/1.1\r\n" + HOST + b"\r\n", id="a method llhttp does not know"),
    pytest.param(b"GET / HTTP/1.7\r\n" + HOST + b"\r\n", id="a version llhttp does not know"),
    pytest.param(POST + b"Content-Length: 5\r\n\r\nhelloGET /", id="a length"),
    pytest.param(POST + b"Content-Length: 5\r\n\r\nhell", id="a length not yet there"),
    pytest.param(POST + b"Content-Length: 0\r\n\r\nGET /", id="a length of nothing"),
    pytest.param(POST + b"X: \x80\xff\r\nY:\r\nZ: \t\r\n\r\n", id="odd values"),
    pytest.param(POST + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\nGET /", id="chunks"),
    pytest.param(POST + CHUNKED + b"\r\n5\r\nhello\r\n", id="chunks not all there"),
    pytest.param(POST + CHUNKED + b'\r\n05;a="b;c";d\r\nhello\r\n0;e\r\n\r\n', id="extensions"),
    pytest.param(POST + CHUNKED + b"\r\n0\r\nX: y\r\nHost: g\r\n\r\n", id="trailers"),
    pytest.param(POST + CHUNKED + b"\r\n0\r\nContent-Length: 5\r\n\r\n", id="a framing trailer"),
    pytest.param(POST + CHUNKED + b"\r\n5 ; a = b\r\nhello\r\n0\r\n\r\n", id="bad white space"),
    pytest.param(
        POST + b"Connection: upgrade\r\nUpgrade: x\r\nContent-Length: 5\r\n\r\nhello",
        id="an upgrade with content",
    ),
]
ANSWERS = [
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP", id="a length"),
    pytest.param(b"HTTP/1.1 200 OK\r\n\r\nhello", id="until the connection closes"),
    pytest.param(b"HTTP/1.0 200\r\n\r\n", id="nothing until it closes"),
    pytest.param(b"HTTP/1.1 200 \r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n", id="chunks"),
    pytest.param(b"HTTP/1.1 404 \xe9\t!\r\nContent-Length: 0\r\n\r\n", id="an opaque phrase"),
    pytest.param(b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200", id="an interim answer"),
    pytest.param(b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nraw", id="a switch"),
    pytest.param(b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", id="204 with a length"),
    pytest.param(b"HTTP/1.1 204 No\r\n" + CHUNKED + b"\r\n0\r\n\r\n", id="204 with chunks"),
    pytest.param(b"HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n", id="304 with a length"),
    pytest.param(b"HTTP/1.1 304 N\r\nContent-Length: 5, 6\r\n\r\n", id="304 with nonsense"),
    pytest.param(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", id="a status of no class"),
]


@pytest.mark.parametrize("raw", REQUESTS)
def test_a_request_we_accept_is_read_alike(raw: bytes) -> None:
    assert isinstance(our_request(raw), Ours)
    assert compare_request(raw) is None


@pytest.mark.parametrize("raw", ANSWERS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_we_accept_is_read_alike(raw: bytes, method: str) -> None:
    assert isinstance(our_response(raw, method), Ours)
    assert compare_response(raw, method) is None


STRICTER = [
    pytest.param(POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "h11", id="two lengths"),
    pytest.param(POST + CHUNKED + b"Content-Length: 5\r\n\r\n", "h11", id="both framings"),
    pytest.param(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "llhttp", id="two codings"),
    pytest.param(POST + b"X: \x01\r\n\r\n", "h11", id="a control character"),
    pytest.param(POST.replace(b"\r\n", b"\n") + b"\n", "h11", id="bare LF"),
    pytest.param(POST + b"Host: g.test\r\n\r\n", "llhttp", id="two hosts"),
    pytest.param(b"GET http://u@h.test/#f HTTP/1.1\r\n" + HOST + b"\r\n", "h11", id="a fragment"),
    pytest.param(POST + CHUNKED + b'\r\n5;a="\r\nhello\r\n0\r\n\r\n', "h11", id="an open quote"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "peer"), STRICTER)
def test_we_refuse_what_another_parser_takes(raw: bytes, peer: str) -> None:
    """These are why there is a comparison: somebody accepts each of them."""
    assert isinstance(our_request(raw), Refused)
    taken = {"h11": h11_request, "llhttp": llhttp_request}[peer](raw)
    assert isinstance(taken, Reading)
    assert taken.start


class Drawn:
    """See `fragments.Chooser`."""

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw

    def of(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))

    def below(self, limit: int) -> int:
        return self._draw(st.integers(0, limit - 1))


@st.composite
def requests(draw: DrawFn) -> bytes:
    choose = Drawn(draw)
    return mutated(choose, a_request(choose), draw(st.sampled_from([0, 0, 1, 2])))


@st.composite
def answers(draw: DrawFn) -> bytes:
    choose = Drawn(draw)
    return mutated(choose, a_response(choose), draw(st.sampled_from([0, 0, 1, 2])))


@given(raw=requests())
@settings(max_examples=400, deadline=None)
def test_requests_that_are_nearly_valid(raw: bytes) -> None:
    assert compare_request(raw) is None


@given(raw=answers(), method=st.sampled_from(["GET", "HEAD", "POST"]))
@settings(max_examples=400, deadline=None)
def test_answers_that_are_nearly_valid(raw: bytes, method: str) -> None:
    assert compare_response(raw, method) is None


def test_a_short_search_finds_nothing_and_is_not_empty() -> None:
    """The first few thousand tries of `fuzz.py`, the same ones every time."""
    fuzzer = Fuzzer(seed=1)
    findings = [finding for _ in range(12000) if (finding := fuzzer.step()) is not None]
    assert findings == []
    assert all(fuzzer.accepted[kind] > fuzzer.tries[kind] // 40 for kind in fuzzer.tries)
