"""A filter on an answer's content, through the real relay."""

import pytest

from proxy.model.record import CallRecord
from proxy.pipeline import handle as walk
from proxy.pipeline.upload import Upload
from proxy.pipeline.visit import Visit
from proxy.wire.forward import Outgoing
from tests.fakes.origin import Origin, answering
from tests.fakes.sidecar import Sidecar, policy_text


class Shout:
    """Holds the last byte back, and shouts."""

    def __init__(self, *, keeps_content: bool) -> None:
        self.keeps_content = keeps_content
        self.seen = b""

    def feed(self, content: bytes) -> bytes:
        self.seen += content
        return content if self.keeps_content else content.upper()

    def finish(self) -> bytes:
        return b"" if self.keeps_content else b"!"


async def answer_through(
    lens: Shout | None, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> tuple[bytes, CallRecord]:
    prepare = walk._prepare

    def with_lens(visit: Visit, upload: Upload, hops: int | None) -> Outgoing:
        visit.filter_for = lambda _: lens
        return prepare(visit, upload, hops)

    monkeypatch.setattr(walk, "_prepare", with_lens)
    async with Origin(answering(raw)) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        got = await sidecar.get(f"{origin.url}/")
    return got, sidecar.records[0]


WHOLE = b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "v1"\r\n\r\nhello'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


async def test_a_reader_leaves_the_answer_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    lens = Shout(keeps_content=True)
    got, _ = await answer_through(lens, WHOLE, monkeypatch)
    assert lens.seen == b"hello"
    assert got.endswith(b"\r\n\r\nhello")
    assert b'ETag: "v1"' in got


async def test_a_rewriter_s_answer_has_a_length_of_its_own_and_no_validators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    got, record = await answer_through(Shout(keeps_content=False), WHOLE, monkeypatch)
    assert got.endswith(b"Content-Length: 6\r\n\r\nHELLO!")
    assert b"ETag" not in got
    assert record.response_bytes == 5


MUCH = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"m" * 100_000


@pytest.mark.parametrize("lens", [None, Shout(keeps_content=True)], ids=["nobody reads", "read"])
async def test_much_content_is_passed_on_as_it_came(
    lens: Shout | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not copied on its way, where nobody has to see it."""
    got, record = await answer_through(lens, MUCH, monkeypatch)
    assert got.partition(b"\r\n\r\n")[2] == b"m" * 100_000
    assert record.response_bytes == 100_000
    assert lens is None or lens.seen == b"m" * 100_000


async def test_much_content_is_rewritten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    got, _ = await answer_through(Shout(keeps_content=False), MUCH, monkeypatch)
    assert got.endswith(b"Content-Length: 100001\r\n\r\n" + b"M" * 100_000 + b"!")


async def test_a_stream_is_rewritten_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    got, _ = await answer_through(Shout(keeps_content=False), CHUNKED, monkeypatch)
    assert b"HELLO" in got
    assert b"!" in got


async def test_an_answer_without_content_has_no_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    lens = Shout(keeps_content=False)
    got, _ = await answer_through(lens, b'HTTP/1.1 204 No\r\nETag: "v"\r\n\r\n', monkeypatch)
    assert b'ETag: "v"' in got
    assert lens.seen == b""
