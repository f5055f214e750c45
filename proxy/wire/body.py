"""Where a message's content ends (RFC 9112 sections 6 and 7).

`*_framing` reads it off the head, refusing everything two parsers could read in two ways: that is
what request smuggling is made of. The decoders then turn bytes into content and tell exactly
where the message stopped. Chunk extensions and trailers are dropped, never forwarded or merged.
"""

import re
from enum import Enum
from typing import Final, NamedTuple, Protocol

from proxy.model.errors import BadMessage
from proxy.model.reason import Reason
from proxy.wire.head import Head, RequestHead, ResponseHead, Section, field_values, list_tokens

_CHUNKED_LINE: Final = re.compile(rb"(?i)transfer-encoding:[\t ]*+chunked *")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
# The grammar of RFC 9112 section 7.1.1, white space around `;` and `=` included. Strict about
# quotes: whoever lets a quoted string run over the line's end finds another message in there.
_CHUNK_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_CHUNK_QUOTED: Final = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})"
    rb"((?:[\t ]*+;[\t ]*+" + _CHUNK_TOKEN
    + rb"(?:[\t ]*+=[\t ]*+(?:" + _CHUNK_TOKEN + rb"|" + _CHUNK_QUOTED + rb"))?+)*+)"
)  # fmt: skip
_MAX_CHUNK_LINE_BYTES: Final = 4096
_MAX_EXTENSION_BYTES: Final = 16 * 1024
_MAX_TRAILER_BYTES: Final = 16 * 1024
_TRAILER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")


class Ends(Enum):
    """How the content ends."""

    AT_ONCE = "no content"
    BY_LENGTH = "Content-Length"
    BY_CHUNK = "chunked"
    BY_CLOSE = "connection close"  # responses only


class Framing(NamedTuple):
    """`length` is in bytes and means something with `BY_LENGTH` only."""

    ends: Ends
    length: int = 0


NO_CONTENT: Final = Framing(Ends.AT_ONCE)
CHUNKED: Final = Framing(Ends.BY_CHUNK)
UNTIL_CLOSE: Final = Framing(Ends.BY_CLOSE)


def request_framing(head: RequestHead) -> Framing:
    """RFC 9112 section 6.3 for requests; anything ambiguous is a `BadMessage`."""
    named = head.named
    if b"content-length" not in named and b"transfer-encoding" not in named:
        return NO_CONTENT
    if b"transfer-encoding" in named:
        if head.minor == 0 or b"content-length" in named:
            raise BadMessage("Transfer-Encoding cannot stand here.")
        if not _is_chunked(head):
            raise _other_coding(head)
        return CHUNKED
    return _by_length(head.section)


def response_framing(head: ResponseHead, method: str) -> Framing:
    """RFC 9112 section 6.3 for the answer to `method`."""
    status = head.status
    if method == "HEAD" or status == 304 or status == 204 or status < 200:
        return NO_CONTENT
    named = head.named
    if b"transfer-encoding" in named:
        if head.minor == 0 or b"content-length" in named:
            raise BadMessage("Transfer-Encoding cannot stand here.")
        if not _is_chunked(head):
            raise BadMessage("Only the transfer coding `chunked` is understood.")
        return CHUNKED
    if b"content-length" in named:
        return _by_length(head.section)
    return UNTIL_CLOSE


def _is_chunked(head: Head) -> bool:
    """Is `chunked` the one transfer coding? A tab after it is white space by the grammar, but part
    of the coding's name to llhttp, which then reads an answer until its connection closes."""
    lines = [line for name, line in head.fields if name == b"transfer-encoding"]
    return len(lines) == 1 and _CHUNKED_LINE.fullmatch(lines[0]) is not None


def _other_coding(head: RequestHead) -> BadMessage:
    """What a request in another transfer coding deserves. Unless `chunked` comes last, and once,
    nobody can tell where its content ends (RFC 9112 section 6.3: 400); behind a coding that we only
    do not know (section 6.1: 501) somebody else might."""
    *before, last = list_tokens(field_values(head, b"transfer-encoding")) or [b""]
    if last != b"chunked" or not before or b"chunked" in before:
        return BadMessage("The transfer coding has to be `chunked`, and nothing else.")
    return BadMessage("Only the transfer coding `chunked` is understood.", status=501)


def is_length(value: bytes) -> bool:
    """Is this value of Content-Length one plain decimal number, of at most 18 digits?"""
    return _LENGTH.fullmatch(value) is not None


def _by_length(section: Section) -> Framing:
    framing = section.length
    if framing is None:
        framing = section.length = _read_length(section)
    return framing


def _read_length(section: Section) -> Framing:
    values = field_values(section, b"content-length")
    if len(values) != 1 or not is_length(values[0]):
        raise BadMessage("Content-Length is not one number.")
    return Framing(Ends.BY_LENGTH, int(values[0]))


class Decoder(Protocol):
    """Takes bytes off the wire, gives content. `done` once the message is over."""

    done: bool

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(content, surplus): surplus is what follows the message, empty until `done`."""


class LengthDecoder:
    """Exactly `length` bytes."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Decoder`."""
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            return data, b""
        self._left = 0
        self.done = True
        return (data, b"") if len(data) == left else (data[:left], data[left:])


class CloseDecoder:
    """Everything until the connection closes; the owner sets `done` on a clean end."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Decoder`."""
        return data, b""


class ChunkedDecoder:
    """The chunked coding, strictly: hex sizes only, CRLF only, extensions and trailers bounded.

    One pass over what has come; an incomplete line is kept, never more than its limit.
    """

    __slots__ = ("_extension_bytes", "_in_trailer", "_kept", "_left", "_trailer_bytes", "done")

    def __init__(self) -> None:
        self.done = False
        self._kept = b""  # an incomplete size line, trailer line or chunk end
        self._left = -1  # bytes left of the open chunk; 0: its CRLF is due; -1: a size line is due
        self._in_trailer = False
        self._extension_bytes = 0
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Decoder`. Raises `BadMessage` at the first byte that is not chunked coding."""
        if self._kept:
            data = self._kept + data
            self._kept = b""
        parts: list[bytes] = []
        at, size = 0, len(data)
        while at < size and not self.done:
            if self._left > 0:
                part = data[at : at + self._left]
                parts.append(part)
                self._left -= len(part)
                at += len(part)
                continue
            end = self._line_end(data, at)
            if end < 0:
                break
            self._take_line(data[at:end])
            at = end + 2
        if self.done:
            return b"".join(parts), data[at:]
        self._kept = data[at:]
        return (parts[0] if len(parts) == 1 else b"".join(parts)), b""

    def _line_end(self, data: bytes, at: int) -> int:
        """Where the line's CRLF starts, or -1 while it has not all come."""
        if self._left == 0:  # the CRLF after a chunk: nothing else may stand here
            if not b"\r\n".startswith(data[at : at + 2]):
                raise BadMessage("A chunk is longer than its size.")
            return at if len(data) - at >= 2 else -1
        end = data.find(b"\r\n", at, at + _MAX_CHUNK_LINE_BYTES + 2)
        if end >= 0:
            return end
        if data.find(b"\n", at, at + _MAX_CHUNK_LINE_BYTES + 2) >= 0:
            raise BadMessage("Chunk lines must end with CRLF.")
        if len(data) - at > _MAX_CHUNK_LINE_BYTES + 1:  # a line of the limit and its CR may wait
            raise BadMessage("A chunk's line is too long.", Reason.HEADERS_TOO_LARGE)
        return -1

    def _take_line(self, line: bytes) -> None:
        if self._left == 0:
            self._left = -1
        elif self._in_trailer:
            self._take_trailer(line)
        else:
            self._take_size(line)

    def _take_size(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise BadMessage("A chunk's line is not a hexadecimal size and extensions.")
        self._extension_bytes += len(match[2])
        if self._extension_bytes > _MAX_EXTENSION_BYTES:
            raise BadMessage("There are too many chunk extensions.", Reason.HEADERS_TOO_LARGE)
        length = int(match[1], 16)
        if length:
            self._left = length
        else:
            self._in_trailer = True

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailer_bytes += len(line)
        if self._trailer_bytes > _MAX_TRAILER_BYTES:
            raise BadMessage("The trailer section is too large.", Reason.HEADERS_TOO_LARGE)
        if not _TRAILER.fullmatch(line):
            raise BadMessage("A trailer line is not `name: value`.")


_NOTHING: Final = LengthDecoder(0)  # is done, and has nothing to change


def decoder_for(framing: Framing) -> Decoder:
    """A fresh decoder; for `AT_ONCE` one that is done already."""
    if framing is NO_CONTENT:
        return _NOTHING
    if framing.ends is Ends.BY_CHUNK:
        return ChunkedDecoder()
    if framing.ends is Ends.BY_CLOSE:
        return CloseDecoder()
    return LengthDecoder(framing.length)


def encode_chunk(data: bytes) -> bytes:
    """One chunk of a message sent with `Transfer-Encoding: chunked`; `data` is not empty."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK: Final = b"0\r\n\r\n"
