"""Pieces that messages are made of, good ones and ones that some parser somewhere has taken.

`a_request` and `a_response` put them together so that most come out valid or nearly so; `mutated`
changes a few bytes. Whoever calls them does the choosing: hypothesis in the tests, a seeded
random generator in `fuzz.py`.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Chooser(Protocol):
    """Where the choices come from."""

    def of(self, options: Sequence[T]) -> T:
        """One of the options."""

    def below(self, limit: int) -> int:
        """A number from 0 to `limit` - 1."""


_MOSTLY = 30  # how many times as likely the good form of a piece is

METHODS = (*(b"GET", b"POST", b"HEAD", b"OPTIONS", b"PROPFIND") * 6, *(b"CONNECT",) * 4, b"get",
           b"X-Y", b"G!T", b"G@T", b"", b"PRI")  # fmt: skip
TARGETS = (
    *(b"http://h.test/", b"http://h.test/p?q", b"/p;x?q", b"h.test:443") * 8,
    b"http://h.test/", b"http://h.test", b"http://h.test?q=1", b"http://h.test:8080/a%2Fb;c?d#e",
    b"http://h.test:8080/a%2Fb;c?d={}|^", b"HTTPS://H.test./", b"http://[::1]:80/x", b"/", b"/p?q",
    b"//h.test/p", b"h.test:443", b"[::1]:443", b"*", b"http://u@h.test/", b"http://h.test:/",
    b"http://h.test:0/", b"http://h.test:65536/", b"http://h_.test/", b"http://h.test\\@g.test/",
    b"http://h.test/\x80", b"ftp://h.test/", b"http:///", b"http://h.test/\t", b"/a b", b"",
)  # fmt: skip
VERSIONS = (*(b"HTTP/1.1",) * _MOSTLY, *(b"HTTP/1.0",) * 6, b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9",
            b"http/1.1", b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1", b"RTSP/1.0", b"")  # fmt: skip
SPACES = (*(b" ",) * _MOSTLY, b"  ", b"\t", b"", b"\x0b")
LINE_ENDS = (
    *(b"\r\n",) * (_MOSTLY * 2),
    b"\n",
    b"\r",
    b"\r\r\n",
    b"\n\r\n",
    b"\r\n ",
    b"\r\n\t",
    b"\x85",
)
NAMES = (*(b"X-Kept", b"Cookie", b"Accept") * 8, b"x_kept", b"Connection", b"Upgrade",
         b"Expect", b"Host", b"X-\x80", b"X(", b"", b" X", b"X ", b"X\t")  # fmt: skip
COLONS = (*(b": ",) * _MOSTLY, b":", b":\t", b" : ", b": \t ", b":\x0b", b"")
VALUES = (*(b"v", b"some value") * 10, b"", b" ", b"a, b", b"close", b"keep-alive, X-Kept",
          b"upgrade", b"websocket", b"100-continue", b"\x80\xff", b"tab\tin", b"a:b", b'"q, r"',
          b"nul\x00", b"bell\x07", b"del\x7f", b"cr\rX: y", b"lf\nX: y", b"h.test")  # fmt: skip
HOSTS = (*(b"Host: h.test",) * _MOSTLY, b"Host: H.TEST:80", b"host:h.test \t", b"Host: [::1]:80",
         b"Host:", b"Host: a, b", b"Host: u@h.test", b"Host: h.test/", b"Host : h.test",
         b"Host: h.test\r\nHost: h.test", b"X-No-Host: 1")  # fmt: skip
FRAMINGS = (
    *(b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: Chunked") * 12,
    b"Content-Length: 0", b"Content-Length: 05", b"content-length:5 ",
    b"Content-Length: +5", b"Content-Length: -5", b"Content-Length: 0x5", b"Content-Length: 5,5",
    b"Content-Length: 5 5", b"Content-Length:", b"Content-Length: 5\r\nContent-Length: 5",
    b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5", b"Content-Length: 99999999999999999999",
    b"Content-Length: \xb5", b"Content_Length: 5", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: identity", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding:",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: \"chunked\"",
    b"Transfer-Encoding : chunked", b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
)  # fmt: skip
SIZES = (*(b"5",) * _MOSTLY, b"05", b"0000000005", b"5;a=b", b'5;a="b;c"', b"5 ;a", b"5; a = b",
         b"5;", b"5;a=", b'5;a="', b'5;a="\\"', b"5;\x80", b"5 ", b" 5", b"0x5", b"+5", b"5_",
         b"5,", b"", b"G", b"FFFFFFFFFFFFFFF5", b"10000000000000005", b"\xb5",
         b"5;a\x00")  # fmt: skip
CHUNKS = (*(b"hello",) * _MOSTLY, b"hell", b"hello!", b"\r\n0\r\n", b"")
TRAILERS = (*(b"",) * _MOSTLY, b"X-T: 1\r\n", b"Content-Length: 5\r\n", b"Host: g.test\r\n",
            b"bad\r\n", b" X: 1\r\n", b"X: \x00\r\n", b"X: y\n")  # fmt: skip
STATUSES = (b"200 OK", b"200", b"200 ", b"204 No Content", b"304 Not Modified", b"404 \xe9\t!",
            b"103 Early Hints", b"101 Switching Protocols", b"502 Bad Gateway", b"999 X", b"099 X",
            b"20 OK", b"2000 OK", b"2a0 OK", b"-200 OK", b"200\tOK", b"200 O\rK", b"200 O\x00K",
            b" 200 OK", b"600 X", b"")  # fmt: skip
NOISE = (b"\x00", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b",", b";", b"/", b"@", b"#", b"?",
         b"%00", b"\\", b"[", b"]", b"0", b"5", b"f", b"\x7f", b"\x80", b"\xff", b"\x0b", b"\x85",
         b"\xa0", b"HTTP/1.1", b"chunked", b'"', b"_", b"-")  # fmt: skip


def a_request(choose: Chooser) -> bytes:
    """A request, head and content, or something like it."""
    line = [choose.of(METHODS), choose.of(SPACES), choose.of(TARGETS), choose.of(SPACES)]
    fields = [choose.of(HOSTS), *_fields(choose)]
    return b"".join((*line, choose.of(VERSIONS), _section(choose, fields), _content(choose)))


def a_response(choose: Chooser) -> bytes:
    """A response, head and content, or something like it."""
    line = [choose.of(VERSIONS), choose.of(SPACES), choose.of(STATUSES)]
    return b"".join((*line, _section(choose, _fields(choose)), _content(choose)))


def _fields(choose: Chooser) -> list[bytes]:
    fields = [
        choose.of(NAMES) + choose.of(COLONS) + choose.of(VALUES) for _ in range(choose.below(3))
    ]
    if choose.below(3):
        fields.append(choose.of(FRAMINGS))
    return fields


def _section(choose: Chooser, fields: list[bytes]) -> bytes:
    return (
        b"".join(choose.of(LINE_ENDS) + field for field in fields) + b"\r\n" + choose.of(LINE_ENDS)
    )


def _content(choose: Chooser) -> bytes:
    if choose.below(2):
        return choose.of((b"hello", b"", b"hell", b"helloGET / HTTP/1.1\r\n\r\n"))
    chunks = [
        choose.of(SIZES) + choose.of(LINE_ENDS) + choose.of(CHUNKS) + choose.of(LINE_ENDS)
        for _ in range(choose.below(3))
    ]
    last = choose.of((b"0", b"0", b"0", b"000", b"0;a", b"-0", b"")) + choose.of(LINE_ENDS)
    return b"".join(chunks) + last + choose.of(TRAILERS) + choose.of(LINE_ENDS)


def mutated(choose: Chooser, data: bytes, times: int) -> bytes:
    """`data` with up to `times` changes: a piece put in, taken out, doubled or overwritten."""
    for _ in range(times):
        at = choose.below(len(data) + 1)
        kind = choose.below(5)
        if kind == 0:
            data = data[:at] + choose.of(NOISE) + data[at:]
        elif kind == 1:
            data = data[:at] + data[at + 1 + choose.below(4) :]
        elif kind == 2:
            data = data[:at] + data[at : at + 1 + choose.below(12)] + data[at:]
        elif kind == 3:
            data = data[:at] + bytes([choose.below(256)]) + data[at + 1 :]
        else:
            data = data[:at] + choose.of(NOISE) + data[at + 1 :]
    return data
