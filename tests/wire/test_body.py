import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.model.errors import BadMessage
from proxy.model.reason import Reason
from proxy.wire.body import (
    CHUNKED,
    LAST_CHUNK,
    NO_CONTENT,
    UNTIL_CLOSE,
    ChunkedDecoder,
    CloseDecoder,
    Ends,
    Framing,
    LengthDecoder,
    decoder_for,
    encode_chunk,
    is_length,
    request_framing,
    response_framing,
)
from proxy.wire.head import parse_request_head, parse_response_head
from tests.wire.pieces import REFUSED, cut, decoded_in_pieces


def framing_of(*fields: bytes, version: bytes = b"HTTP/1.1", method: bytes = b"POST") -> Framing:
    lines = (method + b" / " + version, b"Host: h", *fields, b"", b"")
    return request_framing(parse_request_head(b"\r\n".join(lines)))


def answer_framing(
    *fields: bytes, version: bytes = b"HTTP/1.1", status: int = 200, method: str = "GET"
) -> Framing:
    lines = (version + b" %d X" % status, *fields, b"", b"")
    return response_framing(parse_response_head(b"\r\n".join(lines)), method)


CLEAR = [
    pytest.param((), NO_CONTENT, id="no framing field means no content"),
    pytest.param((b"Content-Length: 5",), Framing(Ends.BY_LENGTH, 5), id="a length"),
    pytest.param((b"Content-Length: 0",), Framing(Ends.BY_LENGTH, 0), id="a length of nothing"),
    pytest.param((b"Content-Length: 05",), Framing(Ends.BY_LENGTH, 5), id="a leading zero"),
    pytest.param((b"content-LENGTH:5 \t",), Framing(Ends.BY_LENGTH, 5), id="case and white space"),
    pytest.param(
        (b"Content-Length: " + b"9" * 18,), Framing(Ends.BY_LENGTH, 10**18 - 1),
        id="the largest length",
    ),
    pytest.param((b"Transfer-Encoding: chunked",), CHUNKED, id="chunked"),
    pytest.param((b"Transfer-Encoding: ChunKed",), CHUNKED, id="codings have no case"),
    pytest.param((b"transfer-ENCODING:\t chunked  ",), CHUNKED, id="white space around a coding"),
    pytest.param((b"Content_Length: 5",), NO_CONTENT, id="an underscore makes another field"),
    pytest.param((b"Content-Length-: 5",), NO_CONTENT, id="so does a hyphen"),
]  # fmt: skip

UNCLEAR = [
    pytest.param((b"Content-Length: +5",), 0, id="a plus sign"),
    pytest.param((b"Content-Length: -5",), 0, id="a minus sign"),
    pytest.param((b"Content-Length: 0x5",), 0, id="a hexadecimal length"),
    pytest.param((b"Content-Length: 5.0",), 0, id="a decimal point"),
    pytest.param((b"Content-Length: 5_0",), 0, id="an underscore between digits"),
    pytest.param((b"Content-Length: 5e1",), 0, id="an exponent"),
    pytest.param((b"Content-Length: \xb5",), 0, id="a digit that is not ASCII"),
    pytest.param((b"Content-Length:",), 0, id="an empty length"),
    pytest.param((b"Content-Length: 5 5",), 0, id="two numbers"),
    pytest.param((b"Content-Length: 5, 5",), 0, id="a list of equal lengths"),
    pytest.param((b"Content-Length: 5,",), 0, id="a list with an empty member"),
    pytest.param((b'Content-Length: "5"',), 0, id="a quoted length"),
    pytest.param((b"Content-Length: " + b"9" * 19,), 0, id="a length of 19 digits"),
    pytest.param((b"Content-Length: 5", b"Content-Length: 5"), 0, id="the same length twice"),
    pytest.param((b"Content-Length: 5", b"Content-Length: 6"), 0, id="two lengths"),
    pytest.param((b"Content-Length: 5", b"Transfer-Encoding: chunked"), 0, id="both framings"),
    pytest.param((b"Transfer-Encoding: chunked", b"Content-Length: 5"), 0, id="in either order"),
    pytest.param((b"Transfer-Encoding: x", b"Content-Length: 5"), 0, id="with any coding"),
    pytest.param((b"Transfer-Encoding: gzip",), 0, id="another coding"),
    pytest.param((b"Transfer-Encoding: gzip, chunked",), 501, id="another coding before chunked"),
    pytest.param((b"Transfer-Encoding: chunked, gzip",), 0, id="chunked is not last"),
    pytest.param((b"Transfer-Encoding: chunked, chunked",), 0, id="chunked twice"),
    pytest.param(
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 0,
        id="chunked on two lines",
    ),
    pytest.param(
        (b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"), 501,
        id="two codings on two lines",
    ),
    pytest.param((b"Transfer-Encoding: identity",), 0, id="identity, which no longer exists"),
    pytest.param((b"Transfer-Encoding: xchunked",), 0, id="a coding that ends like chunked"),
    pytest.param((b"Transfer-Encoding: chunkedx",), 0, id="a coding that begins like chunked"),
    pytest.param((b"Transfer-Encoding: ,chunked",), 0, id="an empty member"),
    pytest.param((b"Transfer-Encoding: chunked;q=1",), 0, id="a parameter"),
    pytest.param((b'Transfer-Encoding: "chunked"',), 0, id="a quoted coding"),
    pytest.param((b"Transfer-Encoding: chun ked",), 0, id="a coding with a gap"),
    pytest.param((b"Transfer-Encoding: \xa0chunked",), 0, id="white space that is none"),
    pytest.param((b"Transfer-Encoding: chunked\t",), 0, id="a tab after a coding"),
    pytest.param((b"Transfer-Encoding:",), 0, id="an empty coding"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), CLEAR)
def test_framing_of_requests(fields: tuple[bytes, ...], expected: Framing) -> None:
    assert framing_of(*fields) == expected


@pytest.mark.parametrize(("fields", "expected"), CLEAR)
def test_framing_of_answers(fields: tuple[bytes, ...], expected: Framing) -> None:
    assert answer_framing(*fields) == (UNTIL_CLOSE if expected == NO_CONTENT else expected)


@pytest.mark.parametrize(("fields", "status"), UNCLEAR)
def test_unclear_framing_of_a_request_is_refused(fields: tuple[bytes, ...], status: int) -> None:
    with pytest.raises(BadMessage) as caught:
        framing_of(*fields)
    assert (caught.value.reason, caught.value.status) == (Reason.BAD_REQUEST, status)


@pytest.mark.parametrize(("fields", "status"), UNCLEAR)
def test_unclear_framing_of_an_answer_is_refused(fields: tuple[bytes, ...], status: int) -> None:
    with pytest.raises(BadMessage):
        answer_framing(*fields)


def test_http_1_0_has_no_transfer_coding() -> None:
    """RFC 9112 section 6.1: such a message has faulty framing."""
    with pytest.raises(BadMessage):
        framing_of(b"Transfer-Encoding: chunked", version=b"HTTP/1.0")
    with pytest.raises(BadMessage):
        answer_framing(b"Transfer-Encoding: chunked", version=b"HTTP/1.0")
    assert framing_of(b"Content-Length: 5", version=b"HTTP/1.0").length == 5
    assert answer_framing(version=b"HTTP/1.0") == UNTIL_CLOSE


def test_the_method_of_a_request_says_nothing_about_its_content() -> None:
    assert framing_of(b"Content-Length: 5", method=b"GET") == Framing(Ends.BY_LENGTH, 5)
    assert framing_of(b"Transfer-Encoding: chunked", method=b"DELETE") == CHUNKED


EMPTY_ANSWERS = [
    pytest.param(200, "HEAD", NO_CONTENT, id="an answer to HEAD"),
    pytest.param(404, "HEAD", NO_CONTENT, id="a failure in answer to HEAD"),
    pytest.param(100, "GET", NO_CONTENT, id="100"),
    pytest.param(103, "GET", NO_CONTENT, id="103"),
    pytest.param(199, "POST", NO_CONTENT, id="the last interim status"),
    pytest.param(204, "GET", NO_CONTENT, id="204"),
    pytest.param(304, "GET", NO_CONTENT, id="304"),
    pytest.param(200, "GET", Framing(Ends.BY_LENGTH, 5), id="200 has content"),
    pytest.param(205, "GET", Framing(Ends.BY_LENGTH, 5), id="205 has what it says"),
    pytest.param(303, "GET", Framing(Ends.BY_LENGTH, 5), id="303 has content"),
    pytest.param(200, "head", Framing(Ends.BY_LENGTH, 5), id="methods have case"),
]


@pytest.mark.parametrize(("status", "method", "expected"), EMPTY_ANSWERS)
def test_some_answers_never_have_content(status: int, method: str, expected: Framing) -> None:
    assert answer_framing(b"Content-Length: 5", status=status, method=method) == expected
    if expected == NO_CONTENT:
        nonsense = (b"Content-Length: 5, 6", b"Transfer-Encoding: x")
        assert answer_framing(*nonsense, status=status, method=method) == NO_CONTENT


def test_a_length_is_digits_alone() -> None:
    assert is_length(b"0")
    assert is_length(b"9" * 18)
    assert not any(map(is_length, (b"", b" 5", b"5\n", b"\xb2", b"9" * 19)))


# --- the decoders ---------------------------------------------------------------------------


def chunked(data: bytes) -> tuple[bytes, bytes, bool] | str:
    return decoded_in_pieces(ChunkedDecoder(), [data])


def test_content_by_length_ends_exactly_there() -> None:
    assert decoded_in_pieces(LengthDecoder(5), [b"hel", b"loGET"]) == (b"hello", b"GET", True)
    assert decoded_in_pieces(LengthDecoder(5), [b"hello"]) == (b"hello", b"", True)
    assert decoded_in_pieces(LengthDecoder(5), [b"hell"]) == (b"hell", b"", False)
    assert LengthDecoder(0).done
    assert not LengthDecoder(1).done


def test_content_until_close_never_ends_by_itself() -> None:
    assert decoded_in_pieces(CloseDecoder(), [b"a", b"0\r\n\r\n"]) == (b"a0\r\n\r\n", b"", False)


def test_every_framing_has_its_decoder() -> None:
    assert decoder_for(NO_CONTENT).done
    assert decoder_for(Framing(Ends.BY_LENGTH, 0)).done
    assert not decoder_for(Framing(Ends.BY_LENGTH, 1)).done
    assert isinstance(decoder_for(CHUNKED), ChunkedDecoder)
    assert isinstance(decoder_for(UNTIL_CLOSE), CloseDecoder)


GOOD_CHUNKS = [
    pytest.param(b"5\r\nhello\r\n0\r\n\r\n", b"hello", id="one chunk"),
    pytest.param(b"0\r\n\r\n", b"", id="no chunk"),
    pytest.param(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello", id="two chunks"),
    pytest.param(b"005\r\nhello\r\n000\r\n\r\n", b"hello", id="leading zeros"),
    pytest.param(b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", id="a small hexadecimal digit"),
    pytest.param(b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", id="a capital one"),
    pytest.param(b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", id="content that looks like a line end"),
    pytest.param(
        b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", id="content that looks like the end"
    ),
    pytest.param(b"5;a\r\nhello\r\n0;b\r\n\r\n", b"hello", id="extensions are dropped"),
    pytest.param(b'5;a=b;c="d;\\"e"\r\nhello\r\n0\r\n\r\n', b"hello", id="a quoted extension"),
    pytest.param(b"5 ;a\r\nhello\r\n0\r\n\r\n", b"hello", id="white space before an extension"),
    pytest.param(b'5; a\t=\t"b"\r\nhello\r\n0\r\n\r\n', b"hello", id="white space within one"),
    pytest.param(b"0\r\nX: 1\r\nY:\r\n\r\n", b"", id="trailers are dropped"),
    pytest.param(b"0\r\nContent-Length: 5\r\nHost: g\r\n\r\n", b"", id="whatever they say"),
]


@pytest.mark.parametrize(("data", "content"), GOOD_CHUNKS)
def test_chunks_are_decoded_and_what_follows_is_left(data: bytes, content: bytes) -> None:
    assert chunked(data) == (content, b"", True)
    assert chunked(data + b"GET / HTTP/1.1\r\n") == (content, b"GET / HTTP/1.1\r\n", True)
    assert chunked(data[:-1]) == (content, b"", False)


BAD_CHUNKS = [
    pytest.param(b"0x5\r\nhello\r\n", id="a prefix of hexadecimal"),
    pytest.param(b"+5\r\nhello\r\n", id="a plus sign"),
    pytest.param(b"-5\r\nhello\r\n", id="a minus sign"),
    pytest.param(b"0_5\r\nhello\r\n", id="an underscore between digits"),
    pytest.param(b"5 \r\nhello\r\n", id="a space after the size"),
    pytest.param(b" 5\r\nhello\r\n", id="a space before the size"),
    pytest.param(b"5,\r\nhello\r\n", id="a comma after the size"),
    pytest.param(b"\xb5\r\nhello\r\n", id="a digit that is not ASCII"),
    pytest.param(b"g\r\nhello\r\n", id="not a hexadecimal digit"),
    pytest.param(b"\r\nhello\r\n", id="no size"),
    pytest.param(b";a\r\nhello\r\n", id="an extension without a size"),
    pytest.param(b"1000000000000000\r\n", id="a size of 16 digits"),
    pytest.param(b"FFFFFFFFFFFFFFFF5\r\nhello\r\n", id="a size that would overflow to 5"),
    pytest.param(b"5\nhello\r\n0\r\n\r\n", id="a size line that ends in LF"),
    pytest.param(b"5\rhello\r\n0\r\n\r\n", id="a size line that ends in CR"),
    pytest.param(b"5\r\nhello\n0\r\n\r\n", id="a chunk that ends in LF"),
    pytest.param(b"5\r\nhelloXX0\r\n\r\n", id="a chunk longer than its size"),
    pytest.param(b"5\r\nhell\r\n0\r\n\r\n", id="a chunk shorter than its size"),
    pytest.param(b"5\r\nhello0\r\n\r\n", id="no line end after a chunk"),
    pytest.param(b"5;a\x00\r\nhello\r\n", id="a NUL in an extension"),
    pytest.param(b"5;a\nb\r\nhello\r\n", id="an LF in an extension"),
    pytest.param(b"5;a\rb\r\nhello\r\n", id="a CR in an extension"),
    pytest.param(b"5;\r\nhello\r\n", id="an extension without a name"),
    pytest.param(b"5;a=\r\nhello\r\n", id="an extension with nothing after ="),
    pytest.param(b'5;a="\r\nhello\r\n0\r\n\r\n', id="a quote that the line does not close"),
    pytest.param(b'5;a="\\"\r\nhello\r\n0\r\n\r\n', id="a quote closed by an escaped one"),
    pytest.param(b'5;a="b"c\r\nhello\r\n', id="something after a closed quote"),
    pytest.param(b"5;a b\r\nhello\r\n", id="a gap in an extension's name"),
    pytest.param(b"0\r\n X: 1\r\n\r\n", id="a folded trailer"),
    pytest.param(b"0\r\nX : 1\r\n\r\n", id="a space before a trailer's colon"),
    pytest.param(b"0\r\nX\r\n\r\n", id="a trailer without a colon"),
    pytest.param(b"0\r\n: 1\r\n\r\n", id="a trailer without a name"),
    pytest.param(b"0\r\nX: \x00\r\n\r\n", id="a NUL in a trailer"),
    pytest.param(b"0\r\nX: 1\n\r\n", id="a trailer that ends in LF"),
    pytest.param(b"0\r\n\n", id="an end that is an LF"),
]


@pytest.mark.parametrize("data", BAD_CHUNKS)
def test_malformed_chunks_are_refused_however_they_come(data: bytes) -> None:
    assert chunked(data) == REFUSED
    single_bytes = [bytes([byte]) for byte in data]
    assert decoded_in_pieces(ChunkedDecoder(), single_bytes) == REFUSED


def test_a_huge_size_is_no_reason_to_allocate() -> None:
    assert chunked(b"FFFFFFFFFFFFFFF\r\nx") == (b"x", b"", False)


LONG_CHUNK = b"1;" + b"a" * 4094 + b"\r\nx\r\n"
LIMITS = [
    pytest.param(b"5;" + b"a" * 4094 + b"\r\nhello\r\n0\r\n\r\n", True, id="the longest line"),
    pytest.param(b"5;" + b"a" * 4095 + b"\r\nhello\r\n0\r\n\r\n", False, id="a byte longer"),
    pytest.param(b"5;" + b"a" * 65536, False, id="a line that does not end"),
    pytest.param(LONG_CHUNK * 4 + b"0;aaa\r\n\r\n", True, id="as many long extensions as fit"),
    pytest.param(LONG_CHUNK * 4 + b"0;aaaa\r\n\r\n", False, id="a byte more of them"),
    pytest.param((b"1;a\r\nx\r\n") * 8192 + b"0\r\n\r\n", True, id="as many short ones as fit"),
    pytest.param((b"1;a\r\nx\r\n") * 8192 + b"0;a\r\n\r\n", False, id="one more"),
    pytest.param(b"0\r\n" + b"X: y\r\n" * 4096 + b"\r\n", True, id="as many trailers as fit"),
    pytest.param(b"0\r\n" + b"X: y\r\n" * 4096 + b"X:\r\n\r\n", False, id="one trailer more"),
    pytest.param(b"0\r\nX:" + b"y" * 4094 + b"\r\n\r\n", True, id="the longest trailer"),
    pytest.param(b"0\r\nX:" + b"y" * 4095 + b"\r\n\r\n", False, id="a trailer a byte longer"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "passes"), LIMITS)
def test_what_is_dropped_is_bounded(data: bytes, passes: bool) -> None:
    """Extensions and trailers cost us work and nobody reads them: RFC 9112 section 7.1.1."""
    if passes:
        result = chunked(data)
        assert result[2] is True, result
        return
    with pytest.raises(BadMessage) as caught:
        ChunkedDecoder().feed(data)
    assert caught.value.reason is Reason.HEADERS_TOO_LARGE


@pytest.mark.parametrize("extra", [0, 1])
def test_the_limit_of_a_line_is_the_same_however_it_comes(extra: int) -> None:
    for start in (b"5;", b"0\r\nX:"):
        data = start + b"a" * (4096 + extra - len(start.rpartition(b"\n")[2])) + b"\r\n"
        single_bytes = [bytes([byte]) for byte in data]
        assert (decoded_in_pieces(ChunkedDecoder(), single_bytes) == REFUSED) is bool(extra)
        assert (chunked(data) == REFUSED) is bool(extra)


# --- for any bytes and any splitting --------------------------------------------------------

CHUNK_BYTES = st.lists(
    st.sampled_from(
        [b"0", b"5", b"1", b"a", b";", b"=", b'"', b"\\", b"\r\n", b"\r", b"\n", b"hello", b"x",
         b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"X: 1\r\n", b"\x00", b" "]
    ), max_size=16,
).map(b"".join)  # fmt: skip


@given(data=st.one_of(CHUNK_BYTES, st.binary(max_size=60)), places=st.lists(st.integers(0, 80)))
@settings(max_examples=400, deadline=None)
@example(data=b"5\r\nhello\r\n0\r\n\r\nGET", places=[6, 8, 9, 12])
@example(data=b"5\nhello\r\n", places=[2])
def test_the_splitting_changes_nothing(data: bytes, places: list[int]) -> None:
    whole = chunked(data)
    assert decoded_in_pieces(ChunkedDecoder(), cut(data, places)) == whole
    assert decoded_in_pieces(ChunkedDecoder(), [bytes([byte]) for byte in data]) == whole


@given(
    parts=st.lists(st.binary(min_size=1, max_size=50), max_size=8),
    surplus=st.binary(max_size=10),
    places=st.lists(st.integers(0, 400), max_size=10),
)
@settings(max_examples=200, deadline=None)
def test_what_is_encoded_is_decoded(parts: list[bytes], surplus: bytes, places: list[int]) -> None:
    coded = b"".join(map(encode_chunk, parts)) + LAST_CHUNK + surplus
    expected = (b"".join(parts), surplus, True)
    assert decoded_in_pieces(ChunkedDecoder(), cut(coded, places)) == expected


# --- the work it takes ----------------------------------------------------------------------


class CountingBytes(bytes):
    """Bytes that count how many of them were copied or searched."""

    work = 0

    def __getitem__(self, key: object) -> bytes:  # type: ignore[override]
        part = bytes.__getitem__(self, key)  # type: ignore[call-overload]
        CountingBytes.work += len(part)
        return CountingBytes(part)

    def __radd__(self, kept: bytes) -> bytes:
        CountingBytes.work += len(kept) + len(self)
        return CountingBytes(bytes(kept) + bytes(self))

    def find(self, wanted: bytes, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        stop = len(self) if end is None else min(end, len(self))
        at = bytes.find(self, wanted, start, stop)
        CountingBytes.work += (at if at >= 0 else stop) - start + len(wanted)
        return at


def work_for(data: bytes, piece_bytes: int) -> int:
    CountingBytes.work = 0
    decoder = ChunkedDecoder()
    for start in range(0, len(data), piece_bytes):
        decoder.feed(CountingBytes(data[start : start + piece_bytes]))
    assert decoder.done
    return CountingBytes.work


@pytest.mark.parametrize("piece_bytes", [7, 4096, 65536, 1 << 30])
@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(b"1\r\na\r\n", id="tiny chunks"),
        pytest.param(b"800\r\n" + b"a" * 2048 + b"\r\n", id="middling chunks"),
    ],
)
def test_the_work_grows_with_the_bytes_and_no_faster(chunk: bytes, piece_bytes: int) -> None:
    """Many tiny chunks in one read were quadratic in more than one parser."""
    count = 120_000 // len(chunk)
    once = work_for(chunk * count + LAST_CHUNK, piece_bytes)
    fourfold = work_for(chunk * count * 4 + LAST_CHUNK, piece_bytes)
    assert fourfold < 4.2 * once
    assert once < 6 * len(chunk * count)
