import gzip
import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards import usage_reader
from proxy.guards.usage import Usage
from proxy.guards.usage_reader import UsageReader
from proxy.wire.head import ResponseHead, parse_response_head


def head(kind: str = "application/json", coding: str = "") -> ResponseHead:
    lines = f"Content-Type: {kind}\r\n" + (f"Content-Encoding: {coding}\r\n" if coding else "")
    return parse_response_head(f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode())


CHAT = orjson.dumps({"usage": {"prompt_tokens": 9, "completion_tokens": 12}})
CHAT_STREAM = (
    b'data: {"choices":[{"delta":{"content":"a"}}],"usage":null}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12}}\n\n'
    b"data: [DONE]\n\n"
)
RESPONSES_STREAM = (
    b'event: response.output_text.delta\r\ndata: {"delta":"usage"}\r\n\r\n'
    b"event: response.completed\r\n"
    b'data: {"response":{"usage":{"input_tokens":9,"output_tokens":12}}}\r\n\r\n'
)
MESSAGES_STREAM = (
    b"event: message_start\n"
    b'data: {"type":"message_start","message":{"usage":{"input_tokens":4,'
    b'"cache_read_input_tokens":5,"output_tokens":1}}}\n\n'
    b": ping\n\n"
    b"event: message_delta\n"
    b'data: {"type":"message_delta","usage":{"output_tokens":12}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}'
)
OLLAMA = b'{"message":{},"done":false}\n{"done":true,"prompt_eval_count":9,"eval_count":12}'
EVENTS = "text/event-stream; charset=utf-8"
JSON = "application/json"
ANSWERS = [
    pytest.param("application/json", CHAT, id="one document"),
    pytest.param("", CHAT, id="of no said kind"),
    pytest.param(EVENTS, CHAT_STREAM, id="chat completions streamed"),
    pytest.param(EVENTS, RESPONSES_STREAM, id="responses streamed"),
    pytest.param(EVENTS, MESSAGES_STREAM, id="messages streamed, the last empty line missing"),
    pytest.param("application/x-ndjson", OLLAMA, id="lines of JSON, the last one open"),
]


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize(("kind", "content"), ANSWERS)
def test_it_reads_and_leaves_every_byte(kind: str, content: bytes, coding: str, size: int) -> None:
    """However the answer is cut into pieces and coded."""
    raw = gzip.compress(content) if coding else content
    reader = UsageReader(head(kind, coding))
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    passed = b"".join(reader.feed(piece) for piece in pieces) + reader.finish()
    assert passed == raw
    assert reader.keeps_content
    assert (reader.usage, reader.is_over, reader.is_complete) == (Usage(9, 12), True, True)


UNREADABLE = [
    pytest.param("application/json", "", b'{"usage": {"prompt_tokens": 9', id="broken JSON"),
    pytest.param("application/json", "", b"[" * 5000 + b'"usage"', id="deep nesting"),
    pytest.param("application/json", "br", CHAT, id="a coding that was not asked for"),
    pytest.param("application/json", "gzip", CHAT, id="not the coding it says"),
    pytest.param("application/json", "gzip", gzip.compress(CHAT)[:20], id="half a gzip"),
    pytest.param("text/plain", "", b"no usage here", id="text"),
    pytest.param(EVENTS, "", b"data: usage\n\n", id="an event that is no JSON"),
    pytest.param("application/json", "", b"", id="nothing"),
    pytest.param("application/json", "", b'"\xff usage"', id="no UTF-8"),
]


@pytest.mark.parametrize(("kind", "coding", "content"), UNREADABLE)
def test_what_cannot_be_read_is_passed_on(kind: str, coding: str, content: bytes) -> None:
    reader = UsageReader(head(kind, coding))
    assert reader.feed(content) + reader.finish() == content
    assert (reader.usage, reader.is_over) == (None, True)


def test_a_stream_that_breaks_off_tells_what_it_said_so_far() -> None:
    reader = UsageReader(head(EVENTS))
    reader.feed(MESSAGES_STREAM[: MESSAGES_STREAM.index(b": ping")])
    assert (reader.usage, reader.is_over) == (Usage(9, 1), False)


def test_a_gzip_stream_is_read_as_it_comes() -> None:
    """An event that was flushed counts before the stream is over."""
    import zlib

    packer = zlib.compressobj(wbits=31)
    part = packer.compress(CHAT_STREAM) + packer.flush(zlib.Z_SYNC_FLUSH)
    reader = UsageReader(head(EVENTS, "gzip"))
    reader.feed(part)
    assert reader.usage == Usage(9, 12)


LINE = b'data: {"usage":1}\n'
LISTS = b"[]," * 1_390_000
LARGE = [
    pytest.param("application/json", "", b'{"usage":' + b" " * 9_000_000, id="a document"),
    pytest.param(EVENTS, "", b"data: usage" + b"x" * 9_000_000, id="a line"),
    pytest.param("application/json", "gzip", gzip.compress(b" " * 40_000_000, 1), id="a bomb"),
    pytest.param(EVENTS, "gzip", gzip.compress(b"\n" * 40_000_000, 1), id="a bomb of empty lines"),
    pytest.param(EVENTS, "", LINE * 300_000, id="more lines than anybody writes"),
    pytest.param(EVENTS, "gzip", gzip.compress(LINE * 250_000), id="the same in a small gzip"),
    pytest.param(
        EVENTS, "", (b'data: ["usage",' + b"[]," * 400 + b"0]\n") * 9000, id="lines full of lists"
    ),
    pytest.param(JSON, "", b'{"usage":[' + LISTS + b"0]}", id="a document full of lists"),
    pytest.param(JSON, "gzip", gzip.compress(b'{"usage":[' + LISTS + b"0]}"), id="in a gzip"),
]


@pytest.mark.parametrize(("kind", "coding", "content"), LARGE)
def test_work_and_memory_are_bounded(kind: str, coding: str, content: bytes) -> None:
    """The usage that follows is not read any more, and nothing is kept."""
    reader = UsageReader(head(kind, coding))
    started_s = time.process_time()
    for at in range(0, len(content), 65536):
        reader.feed(content[at : at + 65536])
        assert len(reader._text) <= usage_reader._MAX_DOCUMENT_BYTES
    reader.feed(b"\n" + CHAT_STREAM)
    reader.finish()
    assert time.process_time() - started_s < 1.5  # a quarter of it, on a quiet machine
    assert (reader.usage, reader.is_complete) == (None, False)
    assert reader._inflated_bytes <= usage_reader._MAX_INFLATED_BYTES + usage_reader._PIECE_BYTES
    assert reader._parsed_lines <= usage_reader._MAX_PARSED_LINES + 1
    assert reader._containers <= usage_reader._MAX_STREAM_CONTAINERS + 65536


def test_lines_that_say_null_are_not_parsed() -> None:
    """Some makers write it into every event, and the last one counts."""
    line = b'data: {"choices":[{}],"usage": null}\n\n'
    reader = UsageReader(head(EVENTS))
    reader.feed(line * 30_000)
    reader.feed(CHAT_STREAM)
    reader.finish()
    assert (reader.usage, reader.is_complete, reader._parsed_lines) == (Usage(9, 12), True, 1)


@pytest.mark.parametrize("size", [1, 5, 6, 7, 10_000])
@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("coding", ["", "gzip"])
def test_events_are_counted_however_they_are_cut(coding: str, end: bytes, size: int) -> None:
    """Also behind what made the reader give up."""
    content = (b"event: x" + end + b"data: data: a" + end + end) * 40 + b": data:" + end
    raw = gzip.compress(content) if coding else content
    reader = UsageReader(head(EVENTS, coding))
    for at in range(0, len(raw), size):
        reader.feed(raw[at : at + size])
        if not coding:
            reader._give_up()
    reader.finish()
    assert (reader.passed_tokens, reader.is_stream) == (40, True)


PASSED = [
    pytest.param(JSON, "", b"x" * 41, 11, id="text, four bytes a token"),
    pytest.param(JSON, "gzip", gzip.compress(b"x" * 401), 101, id="as it is behind its coding"),
    pytest.param(JSON, "br", b"x" * 41, 11, id="or before, where that is all there is"),
    pytest.param(EVENTS, "br", b"x" * 41, 11, id="so with a stream nobody can read"),
    pytest.param("application/x-ndjson", "", b"{}\n{}\n", 2, id="lines"),
    pytest.param("image/png", "", b"x" * 41, 0, id="a picture is no text"),
]


@pytest.mark.parametrize(("kind", "coding", "content", "expected"), PASSED)
def test_what_went_by(kind: str, coding: str, content: bytes, expected: int) -> None:
    reader = UsageReader(head(kind, coding))
    reader.feed(content)
    reader.finish()
    assert reader.passed_tokens == expected


def test_a_line_too_full_to_parse_ends_the_reading() -> None:
    reader = UsageReader(head(EVENTS))
    reader.feed(MESSAGES_STREAM + b'\n\ndata: ["usage",' + b"[]," * 60_000 + b"0]\n\n")
    reader.finish()
    assert (reader.usage, reader.is_complete) == (Usage(9, 12), False)


INCOMPLETE = [
    pytest.param(gzip.compress(CHAT) + gzip.compress(CHAT), id="a second file behind the first"),
    pytest.param(gzip.compress(CHAT)[:-1], id="its end is missing"),
    pytest.param(CHAT, id="no gzip at all"),
]


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize("raw", INCOMPLETE)
def test_a_gzip_that_is_not_read_to_its_end_is_not_complete(raw: bytes, size: int) -> None:
    reader = UsageReader(head(JSON, "gzip"))
    for at in range(0, len(raw), size):
        reader.feed(raw[at : at + size])
    reader.finish()
    assert (reader.is_over, reader.is_complete) == (True, False)


def test_a_document_at_the_bound_is_read() -> None:
    room = usage_reader._MAX_DOCUMENT_BYTES - len(CHAT)
    for padding, expected in ((room, Usage(9, 12)), (room + 1, None)):
        reader = UsageReader(head())
        reader.feed(b" " * padding)
        reader.feed(CHAT)
        reader.finish()
        assert reader.usage == expected


@given(
    st.sampled_from(["application/json", EVENTS, "application/x-ndjson"]),
    st.sampled_from(["", "gzip", "br"]),
    st.lists(st.binary(max_size=200), max_size=8),
)
def test_bytes_pass_whatever_they_are(kind: str, coding: str, pieces: list[bytes]) -> None:
    reader = UsageReader(head(kind, coding))
    assert b"".join(map(reader.feed, pieces)) + reader.finish() == b"".join(pieces)
