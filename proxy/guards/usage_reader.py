"""Reads the usage out of a model's answer while it passes, and changes nothing of it.

Bounded whatever comes: a JSON document and an event of a stream are kept up to 4 MiB, compressed
content is undone up to 16 MiB and 64 KiB at a time. Beyond that the reader gives up, and what it
has seen so far is all that is known. Never raises: an answer that cannot be read is still relayed.
"""

import zlib
from collections.abc import Iterator

import orjson

from proxy.guards.usage import Usage, usage_of
from proxy.wire.head import ResponseHead
from proxy.wire.sse import EventReader, EventTooLargeError

_MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
_MAX_INFLATED_BYTES = 16 * 1024 * 1024
_PIECE_BYTES = 64 * 1024
_GZIP_WINDOW = zlib.MAX_WBITS | 16
_LINES = (b"application/x-ndjson", b"application/ndjson", b"application/jsonl")
# What a text must hold to say anything of tokens; most events of a stream need not be parsed.
_HINTS = (b"usage", b"eval_count")


class UsageReader:
    """A `ContentFilter` that only looks. `usage`: what has been seen so far; None: nothing.
    `is_over`: the whole answer has passed."""

    __slots__ = (
        "_document", "_events", "_has_given_up", "_inflated_bytes", "_inflater", "_is_lines",
        "_pending", "is_over", "usage",
    )  # fmt: skip

    def __init__(self, head: ResponseHead) -> None:
        self.usage: Usage | None = None
        self.is_over = False
        self._has_given_up = False
        self._inflater = None
        self._inflated_bytes = 0
        coding = (head.value(b"content-encoding") or b"").lower()
        if coding in (b"gzip", b"x-gzip"):
            self._inflater = zlib.decompressobj(_GZIP_WINDOW)
        elif coding not in (b"", b"identity"):
            self._has_given_up = True  # asked for nothing of the kind
        media_type = (head.value(b"content-type") or b"").partition(b";")[0].strip().lower()
        is_stream = media_type == b"text/event-stream"
        self._events = EventReader(_MAX_DOCUMENT_BYTES) if is_stream else None
        self._pending = bytearray()  # of a stream, not yet given to the reader of events
        self._is_lines = media_type in _LINES
        self._document = bytearray()  # all of a JSON answer, or of lines the one not yet over

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
        if not self._has_given_up and self._events is not None:
            self._feed_events(b"\n\n")  # the last event may lack its empty line
        elif not self._has_given_up:
            self._read(bytes(self._document))
        self._give_up()
        return b""

    def _look(self, content: bytes) -> None:
        try:
            for piece in self._pieces(content):
                self._take(piece)
        except (zlib.error, EventTooLargeError):
            self._give_up()

    def _pieces(self, content: bytes) -> Iterator[bytes]:
        """The content without its coding, a little at a time."""
        inflater = self._inflater
        if inflater is None:
            yield content
            return
        is_more = True
        while is_more and not inflater.eof:
            piece = inflater.decompress(content, _PIECE_BYTES)
            content = inflater.unconsumed_tail
            is_more = bool(content) or len(piece) == _PIECE_BYTES
            self._inflated_bytes += len(piece)
            if self._inflated_bytes > _MAX_INFLATED_BYTES:
                self._give_up()
                return
            yield piece

    def _take(self, piece: bytes) -> None:
        if self._events is not None:
            # A large event that comes in small pieces would be copied for each of them.
            self._pending += piece
            if len(self._pending) * 8 >= len(self._events.held):
                self._feed_events(b"")
            return
        self._document += piece
        if self._is_lines and b"\n" in piece:
            *lines, rest = bytes(self._document).split(b"\n")
            self._document = bytearray(rest)
            for line in lines:
                self._read(line)
        if len(self._document) > _MAX_DOCUMENT_BYTES:
            self._give_up()

    def _feed_events(self, end: bytes) -> None:
        assert self._events is not None  # noqa: S101 - only called for a stream of events
        content, self._pending = bytes(self._pending) + end, bytearray()
        try:
            events = self._events.feed(content)
        except EventTooLargeError:
            self._give_up()
            return
        for event in events:
            self._read(event.data or b"")

    def _read(self, text: bytes) -> None:
        if not any(hint in text for hint in _HINTS):
            return
        try:
            usage = usage_of(orjson.loads(text))
        except orjson.JSONDecodeError:
            return
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage.joined(usage)

    def _give_up(self) -> None:
        self._has_given_up = True
        self._document = bytearray()
        self._pending = bytearray()
        self._events = None if self._events is None else EventReader(_MAX_DOCUMENT_BYTES)
