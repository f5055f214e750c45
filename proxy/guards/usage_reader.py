"""Reads the usage out of a model's answer while it passes, and changes nothing of it.

A stream of events is read by its lines: every maker writes an event's JSON on one, and JSON holds
no raw line ends. Only lines that name a usage are parsed, so a stream of many small events costs
little. Bounded whatever comes: a JSON document, or a line of a stream, is kept up to 4 MiB,
compressed content is undone up to 16 MiB and a little at a time, and so many lines are parsed.
Beyond that the reader gives up, and what it has seen so far is all that is known. Never raises: an
answer that cannot be read is still relayed.
"""

import zlib
from collections.abc import Iterator

import orjson

from proxy.guards.usage import Usage, usage_of
from proxy.wire.head import ResponseHead

_MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
_MAX_INFLATED_BYTES = 16 * 1024 * 1024
_MAX_PARSED_LINES = 250_000
_PIECE_BYTES = 64 * 1024
_GZIP_WINDOW = zlib.MAX_WBITS | 16
_STREAMS = (
    b"text/event-stream", b"application/x-ndjson", b"application/ndjson", b"application/jsonl",
)  # fmt: skip
_HINTS = (b"usage", b"eval_count")  # what a text must hold to say anything of tokens


class UsageReader:
    """A `ContentFilter` that only looks. `usage`: what has been seen so far; None: nothing.
    `is_over`: the whole answer has passed."""

    __slots__ = (
        "_has_given_up", "_inflated_bytes", "_inflater", "_is_stream", "_parsed_lines", "_text",
        "is_over", "usage",
    )  # fmt: skip

    def __init__(self, head: ResponseHead) -> None:
        self.usage: Usage | None = None
        self.is_over = False
        coding = (head.value(b"content-encoding") or b"").lower()
        is_packed = coding in (b"gzip", b"x-gzip")
        self._inflater = zlib.decompressobj(_GZIP_WINDOW) if is_packed else None
        self._inflated_bytes = 0
        # Any other coding was not asked for.
        self._has_given_up = not is_packed and coding not in (b"", b"identity")
        media_type = (head.value(b"content-type") or b"").partition(b";")[0].strip().lower()
        self._is_stream = media_type in _STREAMS
        self._parsed_lines = 0
        self._text = bytearray()  # the document, or the line of a stream that is not over

    @property
    def keeps_content(self) -> bool:
        """See `ContentFilter`."""
        return True

    def feed(self, content: bytes) -> bytes:
        """See `ContentFilter`."""
        if not self._has_given_up:
            self._look(content)
        return content

    def finish(self) -> bytes:
        """See `ContentFilter`."""
        self.is_over = True
        self._read(bytes(self._text))
        self._give_up()
        return b""

    def _look(self, content: bytes) -> None:
        try:
            for piece in self._pieces(content):
                self._take(piece)
        except zlib.error:
            self._give_up()

    def _pieces(self, content: bytes) -> Iterator[bytes]:
        """The content without its coding."""
        inflater = self._inflater
        if inflater is None:
            yield content
            return
        is_more = True
        while is_more and not inflater.eof and not self._has_given_up:
            piece = inflater.decompress(content, _PIECE_BYTES)
            content = inflater.unconsumed_tail
            is_more = bool(content) or len(piece) == _PIECE_BYTES
            self._inflated_bytes += len(piece)
            yield piece
            if self._inflated_bytes > _MAX_INFLATED_BYTES:
                self._give_up()

    def _take(self, piece: bytes) -> None:
        text = self._text
        text += piece
        end = max(piece.rfind(b"\n"), piece.rfind(b"\r")) + 1
        if self._is_stream and end:
            end += len(text) - len(piece)
            lines = bytes(text[:end])
            del text[:end]
            self._read_lines(lines)
        if len(text) > _MAX_DOCUMENT_BYTES:
            self._give_up()

    def _read_lines(self, lines: bytes) -> None:
        if not _has_hint(lines):
            return
        for line in lines.splitlines():
            if _has_hint(line):
                self._parsed_lines += 1
                self._read(line)
        if self._parsed_lines > _MAX_PARSED_LINES:
            self._give_up()

    def _read(self, text: bytes) -> None:
        """One document."""
        if not _has_hint(text):
            return
        try:
            usage = usage_of(orjson.loads(text.removeprefix(b"data:") if self._is_stream else text))
        except orjson.JSONDecodeError:
            return
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage.joined(usage)

    def _give_up(self) -> None:
        self._has_given_up = True
        self._text = bytearray()


def _has_hint(text: bytes) -> bool:
    return _HINTS[0] in text or _HINTS[1] in text
