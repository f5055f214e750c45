"""What is kept of a request's content, and how much room it takes."""

import asyncio
import sys

import pytest

from proxy.model.call import Caller, Mode, Origin, Target, ToolCall
from proxy.pipeline.exchange import RequestBody
from proxy.pipeline.live import Deadlines, LiveCall
from proxy.pipeline.upload import MAX_KEPT_BYTES, MAX_PREFETCH_BYTES, Upload, upload_of
from proxy.wire.body import CHUNKED, NO_CONTENT, Ends, Framing


class Pieces(RequestBody):
    """Content that comes in these pieces."""

    def __init__(self, framing: Framing, *pieces: bytes) -> None:
        super().__init__(framing)
        self._pieces = list(pieces)

    @property
    def is_settled(self) -> bool:
        return not self._pieces

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken


async def live_call() -> LiveCall:
    loop = asyncio.get_running_loop()
    target = Target(Origin("http", "a.test", 80), "/")
    call = ToolCall("c-1", Mode.ABSOLUTE, "POST", target, Caller("run", "agent", True), 0.0)
    return LiveCall(call, lambda: None, loop, loop.create_task, Deadlines(set()))


async def test_content_that_came_with_its_head_is_there_at_once() -> None:
    body = Pieces(Framing(Ends.BY_LENGTH, 5), b"hello")
    body.is_over, body.size = True, 5
    upload = upload_of(body, await live_call())
    assert (upload.is_whole, upload.kept, upload.framing.length) == (True, b"hello", 5)
    assert not upload.is_under_way


async def test_a_request_without_content_has_nothing_to_send() -> None:
    upload = upload_of(Pieces(NO_CONTENT), await live_call())
    assert (upload.is_whole, upload.kept, upload.is_under_way) == (True, b"", False)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
async def test_pieces_are_kept_in_their_order_and_none_is_lost(count: int) -> None:
    pieces = [b"%d," % number for number in range(count)]
    upload = Upload(Pieces(CHUNKED, *pieces), await live_call())
    assert await upload.keep_whole(MAX_PREFETCH_BYTES)
    assert upload.kept == upload.kept == b"".join(pieces)
    assert upload.framing.length == len(b"".join(pieces))


async def test_content_in_tiny_pieces_takes_no_more_room_than_in_large_ones() -> None:
    """A piece has a size of its own beside its bytes: some fifty times what two bytes take."""
    upload = Upload(Pieces(CHUNKED, *([b"ab"] * 20_000)), await live_call())
    assert await upload.keep_whole(MAX_PREFETCH_BYTES)
    assert sum(sys.getsizeof(piece) for piece in upload._parts) < 2 * 40_000


async def test_content_that_is_too_large_to_keep_is_not_whole() -> None:
    body = Pieces(CHUNKED, *([b"x" * 65_536] * 5))
    upload = Upload(body, await live_call())
    assert not await upload.keep_whole(MAX_KEPT_BYTES)
    assert not upload.can_repeat
    assert len(upload.kept) > MAX_KEPT_BYTES  # it has not been sent yet, so it is still needed


async def test_what_has_come_is_charged_once() -> None:
    charged: list[int] = []
    upload = Upload(Pieces(CHUNKED, b"one", b"two!"), await live_call())
    await upload._read()
    upload.charge_to(charged.append)
    await upload.keep_whole(MAX_PREFETCH_BYTES)
    assert charged == [3, 4]
    assert upload.kept == b"onetwo!"
