import asyncio

import pytest

from proxy.listeners.body import ClientBody
from proxy.model.errors import BadMessage
from proxy.wire.body import CHUNKED, NO_CONTENT, Ends, Framing

HIGH_BYTES = 64 * 1024


class Reading:
    """Whether the client's transport is being read, and how often that was said."""

    def __init__(self) -> None:
        self.is_paused = False
        self.resumed = 0

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False
        self.resumed += 1


def body_of(framing: Framing) -> tuple[ClientBody, Reading]:
    reading = Reading()
    return ClientBody(framing, reading.pause, reading.resume), reading


async def test_content_is_read_as_it_comes_and_then_there_is_none() -> None:
    body, _ = body_of(Framing(Ends.BY_LENGTH, 5))
    assert (body.feed(b"he"), body.is_over) == (b"", False)
    assert await body.read() == b"he"
    assert body.feed(b"lloGET /") == b"GET /"
    assert body.is_over
    assert (await body.read(), await body.read(), await body.read()) == (b"llo", b"", b"")
    assert body.size == 5


async def test_what_came_in_pieces_is_read_at_once() -> None:
    body, _ = body_of(CHUNKED)
    for piece in (b"2\r\nhe", b"\r\n3\r\nllo\r\n", b"0\r\n", b"\r\nGET"):
        surplus = body.feed(piece)
    assert surplus == b"GET"
    assert (await body.read(), await body.read()) == (b"hello", b"")


async def test_no_content_is_over_at_once() -> None:
    for framing in (NO_CONTENT, Framing(Ends.BY_LENGTH, 0)):
        body, _ = body_of(framing)
        assert body.is_over
        assert await body.read() == b""
        body.fail(BadMessage("gone"))
        assert not body.is_broken


async def test_a_reader_waits_for_content() -> None:
    body, _ = body_of(Framing(Ends.BY_LENGTH, 2))
    waiting = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    assert not waiting.done()
    body.feed(b"a")
    assert await asyncio.wait_for(waiting, 1) == b"a"
    waiting = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    body.feed(b"b")
    assert await asyncio.wait_for(waiting, 1) == b"b"


async def test_a_reader_that_gives_up_loses_nothing() -> None:
    body, _ = body_of(Framing(Ends.BY_LENGTH, 5))
    waiting = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    body.feed(b"hello")
    assert await body.read() == b"hello"


async def test_malformed_content_fails_after_what_was_good() -> None:
    """And nothing after it is looked at, since nobody knows where it ends."""
    body, _ = body_of(CHUNKED)
    body.feed(b"2\r\nhe\r\n")
    assert body.feed(b"zz\r\nGET / HTTP/1.1\r\n") == b""
    assert body.is_broken
    assert not body.is_over
    assert await body.read() == b"he"
    for _ in range(2):
        with pytest.raises(BadMessage):
            await body.read()
    assert body.feed(b"3\r\nllo\r\n0\r\n\r\nGET / HTTP/1.1\r\n") == b""
    assert body.size == 2


async def test_a_client_that_goes_away_wakes_its_reader() -> None:
    body, _ = body_of(Framing(Ends.BY_LENGTH, 5))
    waiting = asyncio.ensure_future(body.read())
    await asyncio.sleep(0)
    body.fail(BadMessage("gone"))
    body.fail(BadMessage("gone again"))
    with pytest.raises(BadMessage, match=r"^gone$"):
        await asyncio.wait_for(waiting, 1)


async def test_too_much_unread_content_stops_the_reading() -> None:
    body, reading = body_of(Framing(Ends.BY_LENGTH, HIGH_BYTES * 3))
    body.feed(bytes(HIGH_BYTES))
    assert (reading.is_paused, reading.resumed) == (False, 0)
    body.feed(b"x")
    assert (reading.is_paused, reading.resumed) == (True, 0)
    assert len(await body.read()) == HIGH_BYTES + 1
    assert (reading.is_paused, reading.resumed) == (False, 1)
    body.feed(b"x")
    await body.read()
    assert (reading.is_paused, reading.resumed) == (False, 1)


async def test_the_end_never_stops_the_reading() -> None:
    """Nothing more is to come, so nothing would start it again."""
    body, reading = body_of(Framing(Ends.BY_LENGTH, HIGH_BYTES + 1))
    body.feed(bytes(HIGH_BYTES + 1))
    assert not reading.is_paused
    assert len(await body.read()) == HIGH_BYTES + 1
    assert reading.resumed == 0
