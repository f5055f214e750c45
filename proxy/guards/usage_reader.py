"""Reads the usage out of a model's answer while it passes, and changes nothing of it.

A stream of events is read by its lines: every maker writes an event's JSON on one, and JSON holds
no raw line ends. Only lines that name a usage are looked at, so a stream of many small events costs
little. Bounded whatever comes, in memory and in work: a JSON document, or a line of a stream, is
kept up to 4 MiB, compressed content is undone up to 16 MiB, a little at a time and only while it
grows as text does, and so many lines, objects and arrays are parsed. Beyond that the reader gives
up; what it has seen so far, and how much went by, is all that is known. Never raises: an answer
that cannot be read is still relayed.
"""

import zlib
from collections.abc import Iterator

from proxy.guards.document import (
    DocumentError,
    DocumentTooLargeError,
    count_containers,
    read_document,
)
from proxy.guards.usage import MAX_TOKENS, Usage, usage_of
from proxy.wire.head import ResponseHead

BYTES_PER_TOKEN = 4  # of text, roughly
_MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
_MAX_INFLATED_BYTES = 16 * 1024 * 1024
_MAX_PARSED_LINES = 10_000
_MAX_STREAM_CONTAINERS = 250_000  # objects and arrays of all the lines parsed
# A compressed answer that grows more is no text of a model. A small one may: it costs little.
_MAX_GROWTH = 100
_FREE_GROWTH_BYTES = 1024 * 1024
_PIECE_BYTES = 64 * 1024
_GZIP_WINDOW = zlib.MAX_WBITS | 16
_EVENTS = b"text/event-stream"
_STREAMS = (
    _EVENTS, b"application/x-ndjson", b"application/ndjson", b"application/jsonl",
)  # fmt: skip
_HINTS = (b"usage", b"eval_count")  # what a text must hold to say anything of tokens
# Many makers write this into every event but the last one, and it need not be parsed.
_NO_USAGE = (b'"usage":null', b'"usage": null')
_NOTHING = b'"":null'  # JSON stays JSON
_NOT_TEXT = (b"audio/", b"image/", b"video/")
_START = b"data:"  # of an event's line
_LINE_ENDS = (b"\n", b"\r")


class UsageReader:
    """A `ContentFilter` that only looks. `usage`: what has been seen so far; None: nothing.
    `is_over`: the whole answer has passed; `is_complete`: and all of it has been read."""

    __slots__ = (
        "_containers", "_content_bytes", "_events", "_has_given_up", "_inflated_bytes",
        "_inflater", "_is_packed", "_is_text", "_media_type", "_parsed_lines", "_seam", "_text",
        "is_complete", "is_over", "is_stream", "usage",
    )  # fmt: skip

    def __init__(self, head: ResponseHead) -> None:
        self.usage: Usage | None = None
        self.is_over = self.is_complete = False
        coding = (head.value(b"content-encoding") or b"").lower()
        self._is_packed = coding not in (b"", b"identity")
        is_gzip = coding in (b"gzip", b"x-gzip")
        self._inflater = zlib.decompressobj(_GZIP_WINDOW) if is_gzip else None
        self._content_bytes = self._inflated_bytes = 0
        self._has_given_up = self._is_packed and not is_gzip  # it was not asked for
        self._media_type = (head.value(b"content-type") or b"").partition(b";")[0].strip().lower()
        self.is_stream = self._media_type in _STREAMS
        self._is_text = not self._media_type.startswith(_NOT_TEXT)
        self._events = self._parsed_lines = self._containers = 0
        self._seam = b"\n"  # the end of what was counted: an event's start may be cut in two
        self._text = bytearray()  # the document, or the line of a stream that is not over

    @property
    def keeps_content(self) -> bool:
        """See `ContentFilter`."""
        return True

    @property
    def passed_tokens(self) -> int:
        """Tokens that went by, as far as that can be told: an event of a stream is one at least,
        and four bytes of any other text. Sounds and pictures are no text."""
        if self.is_stream and not (self._is_packed and self._has_given_up):
            return min(self._events, MAX_TOKENS)
        if not self._is_text:
            return 0
        size_bytes = max(self._content_bytes, self._inflated_bytes)
        return max(self._events, min(-(-size_bytes // BYTES_PER_TOKEN), MAX_TOKENS))

    def feed(self, content: bytes) -> bytes:
        """See `ContentFilter`."""
        self._content_bytes += len(content)
        if self.is_stream and not self._is_packed:
            self._count_events(content)
        if not self._has_given_up:
            self._look(content)
        return content

    def finish(self) -> bytes:
        """See `ContentFilter`."""
        self.is_over = True
        self._read(bytes(self._text))
        is_cut = self._inflater is not None and not self._inflater.eof
        self.is_complete = not self._has_given_up and not (is_cut and self._content_bytes)
        self._text = bytearray()
        return b""

    def _count_events(self, piece: bytes) -> None:
        """However long the stream is: this is cheap."""
        if self._media_type != _EVENTS:
            self._events += piece.count(b"\n")
            return
        text = self._seam + piece
        self._events += sum(text.count(end + _START) for end in _LINE_ENDS)
        self._seam = text[-len(_START) :]

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
        most = max(_FREE_GROWTH_BYTES, _MAX_GROWTH * self._content_bytes)
        is_more = True
        while is_more and not inflater.eof and not self._has_given_up:
            piece = inflater.decompress(content, _PIECE_BYTES)
            content = inflater.unconsumed_tail
            is_more = bool(content) or len(piece) == _PIECE_BYTES
            self._inflated_bytes += len(piece)
            if self.is_stream:
                self._count_events(piece)
            yield piece
            if self._inflated_bytes > min(most, _MAX_INFLATED_BYTES):
                self._give_up()
        if inflater.unused_data or (content and inflater.eof):
            self._give_up()  # a second file behind the first, which clients may read

    def _take(self, piece: bytes) -> None:
        text = self._text
        text += piece
        end = max(piece.rfind(b"\n"), piece.rfind(b"\r")) + 1
        if self.is_stream and end:
            end += len(text) - len(piece)
            lines = bytes(text[:end])
            del text[:end]
            self._read_lines(lines)
        if len(text) > _MAX_DOCUMENT_BYTES:
            self._give_up()

    def _read_lines(self, lines: bytes) -> None:
        """Looks at those with a hint only: a piece may hold as many empty lines as bytes."""
        for nothing in _NO_USAGE:
            lines = lines.replace(nothing, _NOTHING)
        lines = lines.replace(b"\r", b"\n")
        for hint in _HINTS:
            at = lines.find(hint)
            while at >= 0 and not self._has_given_up:
                end = lines.find(b"\n", at)
                self._read_line(lines[lines.rfind(b"\n", 0, at) + 1 : end])
                at = lines.find(hint, end)

    def _read_line(self, line: bytes) -> None:
        self._parsed_lines += 1
        self._containers += count_containers(line)
        if self._parsed_lines > _MAX_PARSED_LINES or self._containers > _MAX_STREAM_CONTAINERS:
            self._give_up()
        else:
            self._read(line)

    def _read(self, text: bytes) -> None:
        """One document."""
        if not any(hint in text for hint in _HINTS):
            return
        try:
            usage = usage_of(read_document(text.removeprefix(_START) if self.is_stream else text))
        except DocumentTooLargeError:
            self._give_up()
            return
        except DocumentError:  # its client cannot read it either
            return
        if usage is not None:
            self.usage = usage if self.usage is None else self.usage.joined(usage)

    def _give_up(self) -> None:
        self._has_given_up = True
        self._text = bytearray()
