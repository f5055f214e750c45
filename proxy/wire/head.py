"""Heads of messages: the start line and the field section (RFC 9112 sections 2 to 5).

A head is read only when it is there whole, line by line, by regular expressions that are the
grammar, so the verdict cannot depend on how the bytes were split on the way. It is stricter than
the common parsers: CRLF only, no obs-fold, no space before the colon, no control characters,
HTTP/1.0 and 1.1 only. `tests/wire/test_agreement.py` holds it against h11 and llhttp.

Fields keep their raw line: what is forwarded is what was received, byte for byte.

An agent asks for the same again and again, says the same of itself with every request, and so does
an origin: nearly all lines, and most field sections and heads, have been read before. So they are
remembered by their bytes, and what follows from a section is noted at it.
"""

import re
from typing import TYPE_CHECKING, Final

from proxy.model.call import Caller, Origin
from proxy.model.errors import BadMessage
from proxy.model.reason import Reason
from proxy.model.remember import Memory

if TYPE_CHECKING:
    from proxy.wire.body import Framing

Field = tuple[bytes, bytes]  # lower-case name, the line as received without its CRLF

MAX_HEAD_BYTES: Final = 64 * 1024  # the empty line included
MAX_FIELDS: Final = 256
MAX_TARGET_BYTES: Final = 16 * 1024
_MAX_METHOD_BYTES: Final = 32
_MAX_EMPTY_BYTES: Final = 16  # of empty lines before a request
_MAX_REMEMBERED: Final = 1024
_MAX_REMEMBERED_BYTES: Final = 2048
_MAX_REMEMBERED_LINE_BYTES: Final = 512
_CR: Final = 13
_UPPER_A, _UPPER_Z, _LOWER_A, _LOWER_Z = 65, 90, 97, 122

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb"++) ([\x21-\x7e]++) HTTP/([0-9])\.([0-9])")
_STATUS_LINE: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n"
)
_FIELD_LINE: Final = re.compile(rb"(" + _TOKEN + rb"++):[\t\x20-\x7e\x80-\xff]*+")


class Section:
    """A field section. `named`: the last line of each name; `fields`: all, in order. Neither is
    changed, and it is equal to itself only.

    The rest are notes of what others have worked out of the section, since they will be asked
    again: where the content ends (`length`: `proxy.wire.body`), what goes on (`options`, `onward`:
    `proxy.wire.forward`), whether it can be read in two ways (`checked`:
    `proxy.listeners.ways_in`) and who sent it (`sender`: `proxy.listeners.identity`).
    """

    __slots__ = (
        "checked", "fields", "length", "named", "onward", "options", "sender",
    )  # fmt: skip

    def __init__(self, fields: list[Field], named: dict[bytes, bytes]) -> None:
        self.fields = fields
        self.named = named
        self.length: Framing | None = None
        self.options: frozenset[bytes] | None = None
        self.onward: tuple[frozenset[bytes], bytes, bytes] | None = None
        self.checked: tuple[frozenset[bytes], bytes, int] | None = None
        self.sender: tuple[object, str, Caller | None, Caller] | None = None

    def value(self, name: bytes) -> bytes | None:
        """The field's value without surrounding white space, or None. `name` in lower case."""
        line = self.named.get(name)
        return None if line is None else line[len(name) + 1 :].strip(b" \t")


class Head:
    """What both kinds of head have. `fields` and `named`: those of the section. Never changed, and
    equal to itself only, as sections are."""

    __slots__ = ("fields", "minor", "named", "section")

    def __init__(self, minor: int, section: Section) -> None:
        self.minor = minor  # 0 or 1 of HTTP/1.x
        self.section = section
        self.fields = section.fields
        self.named = section.named

    def value(self, name: bytes) -> bytes | None:
        """See `Section.value`."""
        return self.section.value(name)


class RequestHead(Head):
    """A request's. `is_remembered`: the same bytes give this very head again, for as long as they
    are not forgotten. `onward` belongs to `proxy.wire.forward`, as some of the section does."""

    __slots__ = ("is_remembered", "method", "onward", "target")

    def __init__(self, method: str, target: str, minor: int, section: Section) -> None:
        super().__init__(minor, section)
        self.method = method
        self.target = target
        self.is_remembered = False
        self.onward: tuple[Origin, str, bytes] | None = None

    def with_fields(self, fields: list[Field]) -> "RequestHead":
        """The same with another field section."""
        section = Section(fields, dict(fields))
        return RequestHead(self.method, self.target, self.minor, section)


class ResponseHead(Head):
    """An answer's. `phrase`: the reason phrase as received. `onward`: as a request's has one."""

    __slots__ = ("onward", "phrase", "status")

    def __init__(self, minor: int, status: int, phrase: bytes, section: Section) -> None:
        super().__init__(minor, section)
        self.status = status
        self.phrase = phrase
        self.onward: tuple[frozenset[bytes], bytes, bytes] | None = None


def end_of_empty_lines(buffer: bytes) -> int:
    """RFC 9112 section 2.2: empty lines before a request are ignored, but not without end. They
    stay in the buffer until something follows, so that dripping them renews no deadline."""
    end = 0
    while buffer.startswith(b"\r\n", end):
        end += 2
    if end > _MAX_EMPTY_BYTES:
        raise BadMessage("There are too many empty lines before the request.")
    return end


def check_first_byte(byte: int) -> None:
    """Raises for what is no request line, before all of it has come: a method is a token, and those
    that are in use begin with a letter."""
    if not (_UPPER_A <= byte <= _UPPER_Z or _LOWER_A <= byte <= _LOWER_Z):
        raise BadMessage("These bytes are not an HTTP request.")


def find_head_end(buffer: bytes | bytearray, start: int = 0) -> int:
    """Index just past the head's empty line, or -1 while it has not come.

    Raises when the bytes can no longer become a head: too long, or lines ended by bare LF, which
    would otherwise be waited on until the deadline (RFC 9112 section 2.2).
    """
    end = buffer.find(b"\r\n\r\n", start)
    if end >= 0:
        if end + 4 > MAX_HEAD_BYTES:
            raise _too_large(buffer)
        return end + 4
    if len(buffer) >= MAX_HEAD_BYTES:  # at least one byte is still to come
        raise _too_large(buffer)
    newline = buffer.find(b"\n", start)
    while newline >= 0:
        if newline == 0 or buffer[newline - 1] != _CR:
            raise BadMessage("Lines must end with CRLF.")
        newline = buffer.find(b"\n", newline + 1)
    return -1


def _too_large(buffer: bytes | bytearray) -> BadMessage:
    if buffer.find(b"\n", 0, MAX_HEAD_BYTES) < 0:  # the start line alone has taken everything
        return BadMessage("The request target is too long.", status=414)
    return BadMessage("The header section is too large.", Reason.HEADERS_TOO_LARGE)


_RequestLine = tuple[str, str, int]  # method, target, minor

_request_lines: Final[Memory[bytes, _RequestLine]] = Memory(_MAX_REMEMBERED)
_fields: Final[Memory[bytes, Field]] = Memory(_MAX_REMEMBERED)
_request_heads: Final[Memory[bytes, RequestHead]] = Memory(_MAX_REMEMBERED)
_response_heads: Final[Memory[bytes, ResponseHead]] = Memory(_MAX_REMEMBERED)
_sections: Final[Memory[bytes, Section]] = Memory(_MAX_REMEMBERED)


def parse_request_head(raw: bytes) -> RequestHead:
    """A whole request head, empty line included. At most 1,024 of up to 2 KiB are remembered."""
    head = _request_heads.known.get(raw)
    if head is None:
        head = _read_request_head(raw)
        if len(raw) <= _MAX_REMEMBERED_BYTES:
            head.is_remembered = _request_heads.keep(raw, head)
    return head


def times_forgotten() -> int:
    """How often all request heads that were remembered have been forgotten."""
    return _request_heads.generation


def read_request_head(buffer: bytes, searched: int) -> tuple[RequestHead | None, bytes]:
    """The head that `buffer` begins with, and what follows it; None while it has not all come.
    `searched`: so much of it was looked through before. A head that is all that came, and was read
    before, is not looked through at all."""
    if len(buffer) <= _MAX_REMEMBERED_BYTES:
        head = _request_heads.known.get(buffer)
        if head is not None:
            return head, b""
    check_first_byte(buffer[0])
    end = find_head_end(buffer, max(0, searched - 3))
    if end < 0:
        return None, buffer
    return parse_request_head(buffer[:end]), buffer[end:]


def _read_request_head(raw: bytes) -> RequestHead:
    end = raw.find(b"\r\n")
    line = raw[:end]
    known = _request_lines.known.get(line)
    if known is None:
        known = _read_request_line(line)
        if end <= _MAX_REMEMBERED_LINE_BYTES:
            _request_lines.keep(line, known)
    method, target, minor = known
    return RequestHead(method, target, minor, _section(raw, end + 2))


def _read_request_line(line: bytes) -> _RequestLine:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadMessage("The request line is not METHOD SP target SP HTTP/1.1.")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise BadMessage("Only HTTP/1.0 and HTTP/1.1 are spoken here.", status=505)
    if len(method) > _MAX_METHOD_BYTES:
        raise BadMessage("No such method.", status=501)
    if len(target) > MAX_TARGET_BYTES:
        raise BadMessage("The request target is too long.", status=414)
    minor_version = 0 if minor == b"0" else 1  # a higher one is read as 1.1 (RFC 9110 section 6.2)
    return method.decode(), target.decode(), minor_version


def parse_response_head(raw: bytes) -> ResponseHead:
    """A whole response head, empty line included. As many are remembered: their dates change once
    a second."""
    head = _response_heads.known.get(raw)
    if head is None:
        head = _read_response_head(raw)
        if len(raw) <= _MAX_REMEMBERED_BYTES:
            _response_heads.keep(raw, head)
    return head


def _read_response_head(raw: bytes) -> ResponseHead:
    match = _STATUS_LINE.match(raw)
    if match is None:
        raise BadMessage("The status line is not HTTP/1.1 SP status.")
    minor, status, phrase = match.groups()
    section = _section(raw, match.end())
    return ResponseHead(int(minor), int(status), phrase or b"", section)


def _section(raw: bytes, start: int) -> Section:
    """From `start` to the end. At most 1,024 sections of up to 2 KiB are remembered."""
    raw = raw[start:]
    section = _sections.known.get(raw)
    if section is None:
        section = _read_section(raw)
        if len(raw) <= _MAX_REMEMBERED_BYTES:
            _sections.keep(raw, section)
    return section


def _read_section(raw: bytes) -> Section:
    fields: list[Field] = []
    named: dict[bytes, bytes] = {}
    if raw == b"\r\n":
        return Section(fields, named)
    if not raw.endswith(b"\r\n\r\n"):
        raise BadMessage("The head does not end with an empty line.")
    lines = raw[:-4].split(b"\r\n")
    if len(lines) > MAX_FIELDS:
        raise BadMessage("There are too many header lines.", Reason.HEADERS_TOO_LARGE)
    for line in lines:
        field = _fields.known.get(line)
        if field is None:
            field = _read_field(line)
            if len(line) <= _MAX_REMEMBERED_LINE_BYTES:
                _fields.keep(line, field)
        fields.append(field)
        named[field[0]] = field[1]
    return Section(fields, named)


def _read_field(line: bytes) -> Field:
    match = _FIELD_LINE.fullmatch(line)
    if match is None:
        raise BadMessage("A header line is not `name: value`.")
    return match[1].lower(), line


def field_values(head: Head | Section, name: bytes) -> list[bytes]:
    """Every value of a field, in order; an absent one gives an empty list."""
    line = head.named.get(name)
    if line is None:
        return []
    skip = len(name) + 1
    if len(head.named) == len(head.fields):
        return [line[skip:].strip(b" \t")]
    return [line[skip:].strip(b" \t") for field, line in head.fields if field == name]


def list_tokens(values: list[bytes]) -> list[bytes]:
    """The lower-case members of a comma-separated list field (RFC 9110 section 5.6.1)."""
    return [
        token
        for value in values
        for part in value.split(b",")
        if (token := part.strip(b" \t").lower())
    ]
