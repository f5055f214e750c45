import gzip

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
    assert (reader.usage, reader.is_over) == (Usage(9, 12), True)


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


LINE = b'data: {"usage":null}\n'
LARGE = [
    pytest.param("application/json", "", b'{"usage":' + b" " * 9_000_000, id="a document"),
    pytest.param(EVENTS, "", b"data: usage" + b"x" * 9_000_000, id="a line"),
    pytest.param("application/json", "gzip", gzip.compress(b" " * 40_000_000, 1), id="a bomb"),
    pytest.param(EVENTS, "gzip", gzip.compress(b"\n" * 40_000_000, 1), id="a bomb of empty lines"),
    pytest.param(EVENTS, "", LINE * 300_000, id="more lines than anybody writes"),
]


@pytest.mark.parametrize(("kind", "coding", "content"), LARGE)
def test_work_and_memory_are_bounded(kind: str, coding: str, content: bytes) -> None:
    """The usage that follows is not read any more, and nothing is kept."""
    reader = UsageReader(head(kind, coding))
    for at in range(0, len(content), 65536):
        reader.feed(content[at : at + 65536])
        assert len(reader._text) <= usage_reader._MAX_DOCUMENT_BYTES
    reader.feed(b"\n" + CHAT_STREAM)
    reader.finish()
    assert reader.usage is None
    assert reader._inflated_bytes <= usage_reader._MAX_INFLATED_BYTES + usage_reader._PIECE_BYTES
    assert reader._parsed_lines <= usage_reader._MAX_PARSED_LINES + 65536


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
