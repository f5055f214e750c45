import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.sse import Event, EventReader, EventTooLargeError


def read(*pieces: bytes, limit_bytes: int = 1000) -> list[Event]:
    reader = EventReader(limit_bytes)
    return [event for piece in pieces for event in reader.feed(piece)]


@pytest.mark.parametrize(
    ("raw", "name", "data"),
    [
        pytest.param(b"data: a\n\n", b"", b"a", id="one line"),
        pytest.param(b"data:a\n\n", b"", b"a", id="no space after the colon"),
        pytest.param(b"data:  a\n\n", b"", b" a", id="only one space is taken away"),
        pytest.param(b"data: a\r\n\r\n", b"", b"a", id="CRLF"),
        pytest.param(b"data: a\r\r", b"", b"a", id="CR alone"),
        pytest.param(b"event: message\ndata: a\n\n", b"message", b"a", id="a named event"),
        pytest.param(b"data: a\ndata: b\n\n", b"", b"a\nb", id="two lines of data"),
        pytest.param(b"data\n\n", b"", b"", id="data without a colon is empty data"),
        pytest.param(b": ping\n\n", b"", None, id="a comment"),
        pytest.param(b"id: 7\nretry: 10\n\n", b"", None, id="fields without data"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", b"", b"a", id="a byte order mark"),
        pytest.param(b"\n", b"", None, id="an empty line alone"),
    ],
)
def test_an_event_is_read(raw: bytes, name: bytes, data: bytes | None) -> None:
    assert read(raw) == [Event(raw, name, data)]


def test_a_cr_at_the_end_of_a_piece_may_be_half_a_line_break() -> None:
    events = read(b"data: a\r\n\r", b"\ndata: b\r\n\r\n")
    assert [event.data for event in events] == [b"a", b"b"]
    assert [event.data for event in read(b"data: a\r", b"\ndata: b\r\n\r\n")] == [b"a\nb"]


def test_what_is_not_over_is_held() -> None:
    reader = EventReader(100)
    assert reader.feed(b"data: a\n\ndata: b") == [Event(b"data: a\n\n", b"", b"a")]
    assert reader.held == b"data: b"


def test_an_event_without_end_is_not_held_without_end() -> None:
    reader = EventReader(100)
    line = b"data: " + b"x" * 40 + b"\n"
    assert reader.feed(line + line) == []
    with pytest.raises(EventTooLargeError):
        reader.feed(line)


def test_what_was_not_given_back_is_held_when_an_event_is_too_large() -> None:
    reader = EventReader(20)
    assert reader.feed(b"data: a\n\ndata: b") == [Event(b"data: a\n\n", b"", b"a")]
    with pytest.raises(EventTooLargeError):
        reader.feed(b"\n\ndata: " + b"x" * 20)
    assert reader.held == b"data: b\n\ndata: " + b"x" * 20


_LINES = st.lists(
    st.sampled_from([b"data: a", b"data:b", b": c", b"event: e", b"id: 1", b"", b"data"]),
    max_size=12,
)


@given(_LINES, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 200), max_size=6))
def test_how_the_bytes_were_split_plays_no_part(
    lines: list[bytes], line_end: bytes, cuts: list[int]
) -> None:
    stream = line_end.join(lines) + line_end + line_end
    at = sorted({min(cut, len(stream)) for cut in cuts})
    pieces = [stream[a:b] for a, b in zip([0, *at], [*at, len(stream)], strict=True)]
    whole, split = read(stream), read(*pieces)
    assert [event[1:] for event in split] == [event[1:] for event in whole]


def test_other_data_leaves_the_other_fields() -> None:
    event = read(b": note\r\nid: 7\r\nevent: message\r\ndata: old\r\ndata: more\r\n\r\n")[0]
    assert event.with_data(b"new") == b": note\nid: 7\nevent: message\ndata: new\n\n"
    assert read(event.with_data(b"new"))[0].data == b"new"
