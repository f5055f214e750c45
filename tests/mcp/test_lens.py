"""Answers as they pass: lists cut down, streams that can be ended."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.mcp.lens import (
    MAX_CONTAINERS,
    MAX_LISTING_BYTES,
    EventLens,
    JsonLens,
    UnreadableError,
    is_encoded,
    media_type,
    without_tools,
)
from proxy.mcp.message import Message
from proxy.mcp.request import McpRequest
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.wire.head import ResponseHead, parse_response_head
from tests.mcp.documents import a_policy, server_of

LATE = Refusal(Reason.TIMEOUT, "Too late.")


def a_request(*messages: Message) -> McpRequest:
    request = McpRequest(server_of(a_policy('"*"')), "c-1", None)
    request.messages = messages or (Message("tools/list", 1),)
    return request


def listing(*names: str, **more: object) -> bytes:
    result = {"tools": [{"name": name, "n": 1.50} for name in names], **more}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


def only_a(name: str) -> bool:
    return name == "a"


def tools_in(content: bytes) -> list[str]:
    return [tool["name"] for tool in json.loads(content)["result"]["tools"]]


class TestWithoutTools:
    def test_what_may_not_be_called_is_taken_out(self) -> None:
        got = json.loads(without_tools(listing("a", "b", nextCursor="c"), only_a))
        assert got["result"] == {"tools": [{"name": "a", "n": 1.5}], "nextCursor": "c"}

    @pytest.mark.parametrize(
        "content",
        [
            listing("a"),
            listing(ttlMs=30_000, cacheScope="private"),
            b'{"jsonrpc":"2.0",  "id":1,"result":{}}',
            b'{"method":"notifications/progress","params":{"tools":[{"name":"b"}]}}',
            b'[{"id":1,"result":{"content":[]}}]',
            b"7",
        ],
    )
    def test_what_does_not_change_is_the_very_same(self, content: bytes) -> None:
        assert without_tools(content, only_a) is content

    def test_a_batch_is_looked_through(self) -> None:
        got = without_tools(b'[{"id":2,"result":{}},' + listing("a", "b") + b"]", only_a)
        assert [len(m["result"].get("tools", ())) for m in json.loads(got)] == [0, 1]

    @pytest.mark.parametrize(
        ("given", "kept"), [(3_600_000, 30_000), (5, 5), (-1, 30_000), ("x", 30_000)]
    )
    def test_a_list_is_not_kept_for_long_nor_shared(self, given: object, kept: int) -> None:
        got = json.loads(without_tools(listing("a", ttlMs=given, cacheScope="public"), only_a))
        assert (got["result"]["ttlMs"], got["result"]["cacheScope"]) == (kept, "private")

    def test_large_numbers_stay_what_they_are(self) -> None:
        content = b'{"result":{"tools":[{"name":"b"}],"max":36893488147419103232}}'
        assert b"36893488147419103232" in without_tools(content, only_a)

    @pytest.mark.parametrize(
        "content",
        [b"{", b"\xff", b"[" * 100_000, b'{"result":{"tools":{}}}', b'{"result":{"tools":null}}',
         b'{"result":{"tools":[7],"x":1e999}}'],
    )  # fmt: skip
    def test_what_cannot_be_read_does_not_pass(self, content: bytes) -> None:
        with pytest.raises(UnreadableError):
            without_tools(content, only_a)

    def test_arrays_and_objects_are_counted_before_they_are_made(self) -> None:
        for count, fits in ((MAX_CONTAINERS - 2, True), (MAX_CONTAINERS, False)):
            content = b'{"result":{"x":[' + b",".join([b"[]"] * (count - 1)) + b"]}}"
            if fits:
                assert without_tools(content, only_a) is content
            else:
                with pytest.raises(UnreadableError):
                    without_tools(content, only_a)

    def test_entries_that_are_no_tools_go(self) -> None:
        content = b'{"result":{"tools":[7,{"name":7},{"name":"a"}]}}'
        assert tools_in(without_tools(content, only_a)) == ["a"]


def json_lens(failures: list[int]) -> JsonLens:
    return JsonLens(a_request(), only_a, lambda: failures.append(1))


class TestJson:
    def test_it_is_held_until_whole(self) -> None:
        lens = json_lens([])
        content = listing("a", "b")
        assert lens.feed(content[:9]) + lens.feed(content[9:]) == b""
        assert tools_in(lens.finish()) == ["a"]
        assert lens.closing(LATE) is None

    @pytest.mark.parametrize("content", [b"<html>", b"x" * (MAX_LISTING_BYTES + 1)])
    def test_what_cannot_be_read_becomes_an_error(self, content: bytes) -> None:
        failures: list[int] = []
        lens = json_lens(failures)
        assert lens.feed(content) == b""
        said = json.loads(lens.finish())
        assert (said["id"], said["error"]["code"], failures) == (1, -33005, [1])

    def test_no_content_stays_none(self) -> None:
        assert json_lens([]).finish() == b""

    def test_it_can_be_ended_before_it_began(self) -> None:
        lens = json_lens([])
        lens.feed(b'{"half')
        assert json.loads(lens.closing(LATE) or b"")["error"]["message"] == "Too late."


def events(*contents: bytes) -> bytes:
    return b"".join(b"event: message\r\nid: 9\r\ndata: %b\r\n\r\n" % c for c in contents)


PROGRESS = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}'
RESULT = b'{"jsonrpc":"2.0","id":1,"result":{"content":[]}}'
CALL = Message("tools/call", 1, "a")


class TestEvents:
    def test_a_list_in_a_stream_is_cut_down_and_the_rest_passes(self) -> None:
        lens = EventLens(a_request(), only_a, lambda: None)
        before = b": ping\n\n" + events(PROGRESS)
        got = lens.feed(before + events(listing("a", "b")))
        assert got.startswith(before)
        data = got[len(before) :].partition(b"data: ")[2]
        assert tools_in(data) == ["a"]
        assert b"id: 9" in got[len(before) :]

    @given(st.lists(st.integers(1, 60), max_size=8))
    def test_however_it_comes_in_pieces_it_is_the_same(self, cuts: list[int]) -> None:
        stream = b": ping\n\n" + events(PROGRESS, RESULT) + b"data: x\n\n"
        lens = EventLens(a_request(CALL), None, lambda: None)
        got, at = b"", 0
        for cut in cuts:
            got += lens.feed(stream[at : at + cut])
            at += cut
        assert got + lens.feed(stream[at:]) == stream

    def test_a_stream_that_is_ended_says_why_on_an_event_of_its_own(self) -> None:
        lens = EventLens(a_request(CALL), None, lambda: None)
        assert lens.feed(events(PROGRESS) + b"event: mess") == events(PROGRESS)
        said = lens.closing(LATE) or b""
        answer = json.loads(said.partition(b"data: ")[2])
        assert (answer["id"], answer["result"]["isError"]) == (1, True)
        assert lens.feed(b"age\n\n") == b""

    def test_who_has_its_answer_gets_no_second_one(self) -> None:
        lens = EventLens(a_request(CALL), None, lambda: None)
        lens.feed(events(RESULT))
        assert lens.closing(LATE) == b""

    def test_a_request_of_the_server_s_is_no_answer(self) -> None:
        lens = EventLens(a_request(CALL), None, lambda: None)
        lens.feed(events(b'{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}'))
        assert lens.closing(LATE) != b""

    @pytest.mark.parametrize("odd", ["[]", "{}", "[1]", "null", "1.5", "true", "1e999", "99" * 40])
    def test_an_odd_id_answers_nobody(self, odd: str) -> None:
        lens = EventLens(a_request(CALL), None, lambda: None)
        answer = events(b'[{"jsonrpc":"2.0","id":%b,"result":{}}]' % odd.encode())
        assert lens.feed(answer) == answer
        assert lens.closing(LATE) != b""

    @pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
    def test_lines_may_end_as_they_like_and_come_byte_by_byte(self, end: bytes) -> None:
        stream = end.join([b"event: message", b"data: " + PROGRESS, b"", b": more", b"", b""])
        lens = EventLens(a_request(CALL), None, lambda: None)
        assert b"".join(lens.feed(stream[at : at + 1]) for at in range(len(stream))) == stream

    @given(st.text("\r\nd:x", max_size=30), st.lists(st.integers(1, 5), max_size=12))
    def test_no_line_end_is_made_up_or_lost(self, text: str, cuts: list[int]) -> None:
        """What has passed is the stream's beginning, up to its last whole event."""
        stream = text.encode()
        lens = EventLens(a_request(CALL), None, lambda: None)
        got, at = b"", 0
        for cut in [*cuts, len(stream)]:
            got += lens.feed(stream[at : at + cut])
            at += cut
            assert stream.startswith(got)

    def test_a_list_too_large_ends_the_stream(self) -> None:
        failures: list[int] = []
        lens = EventLens(a_request(), only_a, lambda: failures.append(1))
        got = lens.feed(b"data: " + b"x" * MAX_LISTING_BYTES)
        assert b"-33005" in got
        assert failures == [1]
        assert lens.feed(b"more\n\n") == lens.finish() == b""

    def test_a_list_that_is_unreadable_ends_the_stream(self) -> None:
        failures: list[int] = []
        lens = EventLens(a_request(), only_a, lambda: failures.append(1))
        assert b"-33005" in lens.feed(events(b"{"))
        assert failures == [1]

    def test_an_encoded_list_ends_the_stream(self) -> None:
        lens = EventLens(a_request(), only_a, lambda: None, is_encoded=True)
        assert b"-33005" in lens.feed(b"\x1f\x8b")

    def test_a_large_result_passes_as_it_is(self) -> None:
        lens = EventLens(a_request(CALL), None, lambda: None)
        large = b"data: " + b"x" * MAX_LISTING_BYTES
        first = lens.feed(large)
        assert first + lens.feed(b"\n\nrest") == large + b"\n\nrest"
        assert lens.closing(LATE) is None

    def test_an_event_that_has_not_ended_is_none(self) -> None:
        lens = EventLens(a_request(CALL), None, lambda: None)
        assert lens.feed(b"data: half") + lens.finish() == b""
        assert lens.closing(LATE) is None


def head(*lines: str) -> ResponseHead:
    text = "".join(f"{line}\r\n" for line in lines)
    return parse_response_head(f"HTTP/1.1 200 OK\r\n{text}\r\n".encode())


@pytest.mark.parametrize(
    ("line", "media", "encoded"),
    [
        ("Content-Type: application/json; charset=utf-8", "json", False),
        ("Content-Type: text/EVENT-stream", "events", False),
        ("Content-Type: text/html", "", False),
        ("Content-Encoding: gzip", "", True),
        ("Content-Encoding: identity", "", False),
    ],
)
def test_what_an_answer_is(line: str, media: str, encoded: bool) -> None:
    assert (media_type(head(line)), is_encoded(head(line))) == (media, encoded)
