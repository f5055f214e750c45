"""Heads of messages: the start line and the field section (RFC 9112 sections 2 to 5).

A head is read only when it is there whole, by one regular expression that is the grammar, so the
verdict cannot depend on how the bytes were split on the way. It is stricter than the common
parsers: CRLF only, no obs-fold, no space before the colon, no control characters, HTTP/1.0 and
1.1 only. `tests/wire/test_agreement.py` holds it against h11 and llhttp.

Fields keep their raw line: what is forwarded is what was received, byte for byte.
"""

import re
from typing import NamedTuple

from proxy.model.errors import BadMessage
from proxy.model.reason import Reason

Field = tuple[bytes, bytes]  # lower-case name, the line as received without its CRLF

MAX_HEAD_BYTES = 64 * 1024  # the empty line included
MAX_FIELDS = 256
MAX_TARGET_BYTES = 16 * 1024
_MAX_METHOD_BYTES = 32
_CR = 13

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"++) ([\x21-\x7e]++) HTTP/([0-9])\.([0-9])\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n")
_SECTION = re.compile(rb"(?:" + _TOKEN + rb"++:[\t\x20-\x7e\x80-\xff]*+\r\n)*+\r\n")


class RequestHead(NamedTuple):
    """`minor`: 0 or 1 of HTTP/1.x. `named`: the last line of each name; `fields`: all, in order."""

    method: str
    target: str
    minor: int
    fields: list[Field]
    named: dict[bytes, bytes]

    def value(self, name: bytes) -> bytes | None:
        """The field's value without surrounding white space, or None. `name` in lower case."""
        line = self.named.get(name)
        return None if line is None else line[len(name) + 1 :].strip(b" \t")


class ResponseHead(NamedTuple):
    """`phrase`: the reason phrase as received."""

    minor: int
    status: int
    phrase: bytes
    fields: list[Field]
    named: dict[bytes, bytes]

    def value(self, name: bytes) -> bytes | None:
        """As `RequestHead.value`."""
        line = self.named.get(name)
        return None if line is None else line[len(name) + 1 :].strip(b" \t")


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


def parse_request_head(raw: bytes) -> RequestHead:
    """A whole request head, empty line included."""
    match = _REQUEST_LINE.match(raw)
    if match is None:
        raise BadMessage("The request line is not METHOD SP target SP HTTP/1.1.")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise BadMessage("Only HTTP/1.0 and HTTP/1.1 are spoken here.", status=505)
    if len(method) > _MAX_METHOD_BYTES:
        raise BadMessage("No such method.", status=501)
    if len(target) > MAX_TARGET_BYTES:
        raise BadMessage("The request target is too long.", status=414)
    fields, named = _parse_fields(raw, match.end())
    # A higher minor version is read as 1.1 (RFC 9110 section 6.2).
    return RequestHead(method.decode(), target.decode(), min(int(minor), 1), fields, named)


def parse_response_head(raw: bytes) -> ResponseHead:
    """A whole response head, empty line included."""
    match = _STATUS_LINE.match(raw)
    if match is None:
        raise BadMessage("The status line is not HTTP/1.1 SP status.")
    fields, named = _parse_fields(raw, match.end())
    return ResponseHead(int(match[1]), int(match[2]), match[3] or b"", fields, named)


def _parse_fields(raw: bytes, start: int) -> tuple[list[Field], dict[bytes, bytes]]:
    if not _SECTION.fullmatch(raw, start):
        raise BadMessage("A header line is not `name: value`.")
    if len(raw) - start <= 2:
        return [], {}
    fields = [(line.partition(b":")[0].lower(), line) for line in raw[start:-4].split(b"\r\n")]
    if len(fields) > MAX_FIELDS:
        raise BadMessage("There are too many header lines.", Reason.HEADERS_TOO_LARGE)
    return fields, dict(fields)


def field_values(head: RequestHead | ResponseHead, name: bytes) -> list[bytes]:
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
