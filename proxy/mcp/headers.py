"""The headers that repeat what a message says, against the message (pure).

The body is what is judged; the headers are a second copy for whoever routes by them. A copy that
says something else, or is missing where the protocol promises it, means that two readers see two
requests (MCP 2026-07-28, Streamable HTTP, and SEP-2243).
"""

import base64
import binascii
import re

from proxy.mcp.message import HEADER_MISMATCH, NAME_KEYS, BadJsonRpc, Message
from proxy.wire.head import RequestHead

MODERN = "2026-07-28"  # from here on no handshake, and headers that are promised
_NO_BATCH = "2025-06-18"  # from here on one message a POST
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_VERSION, _METHOD, _NAME = b"mcp-protocol-version", b"mcp-method", b"mcp-name"
# What decides how the message is read, or repeats it.
_SINGLE = frozenset((_VERSION, _METHOD, _NAME, b"content-type", b"content-encoding"))
_ENCODED = re.compile(rb"=\?base64\?(.*)\?=")
_JSON = re.compile(rb'(?i)application/json[\t ]*(?:;[\t ]*charset="?utf-8"?[\t ]*)?')


def check_content(head: RequestHead) -> None:
    """Raise unless the content is plain JSON: a coding or a charset would be another reading."""
    _check_single(head)
    coding = head.value(b"content-encoding")
    if coding is not None and coding.lower() not in (b"", b"identity"):
        raise BadJsonRpc("Messages of MCP are sent without a content coding.", status=415)
    if not _JSON.fullmatch(head.value(b"content-type") or b""):
        raise BadJsonRpc("Messages of MCP are `Content-Type: application/json`.", status=415)


def protocol_version(head: RequestHead) -> str:
    """What `MCP-Protocol-Version` says, empty if nothing. Raises as `check_content` does."""
    _check_single(head)
    value = head.value(_VERSION) or b""
    return value.decode("ascii", "replace")


def _check_single(head: RequestHead) -> None:
    """Raise where one of the headers that count comes twice, in whatever spelling a server behind
    CGI may take for the same, or is said to be for this hop alone, so that it would not be sent."""
    seen: set[bytes] = set()
    for name, line in head.fields:
        plain = name.replace(b"_", b"-")
        if plain == b"connection":
            named = line.partition(b":")[2].lower().split(b",")
            if not _SINGLE.isdisjoint(token.strip(b" \t") for token in named):
                raise _mismatch("Connection names a header that has to reach the server.")
        if plain not in _SINGLE:
            continue
        if plain in seen or plain != name:
            raise _mismatch(f"The header {plain.decode()} stands there twice or misspelt.")
        seen.add(plain)


def is_modern(version: str) -> bool:
    """Is it 2026-07-28 or later? What is no date is not known to be."""
    return version >= MODERN if _DATE.fullmatch(version) else False


def check_headers(
    head: RequestHead, version: str, messages: tuple[Message, ...], *, is_batch: bool
) -> None:
    """Raise `BadJsonRpc` where the headers and the messages disagree."""
    if is_batch:
        if _DATE.fullmatch(version) and version >= _NO_BATCH:
            raise BadJsonRpc(f"MCP has no batches since {_NO_BATCH}.")
        if _METHOD in head.named or _NAME in head.named:
            raise _mismatch("A batch has no Mcp-Method and no Mcp-Name.")
        return
    message = messages[0]
    must = is_modern(version) and message.wants_answer
    method = head.value(_METHOD)
    if method is None:
        if must:
            raise _mismatch("The header Mcp-Method is missing.")
    elif method != message.method.encode():
        raise _mismatch("The header Mcp-Method is not the message's method.")
    if message.method in NAME_KEYS:
        _check_name(head.value(_NAME), message.name, must=must)


def _check_name(given: bytes | None, name: str | None, *, must: bool) -> None:
    if given is None:
        if must and name is not None:
            raise _mismatch("The header Mcp-Name is missing.")
    elif name is None or _decoded(given) != name:
        raise _mismatch("The header Mcp-Name is not what the message names.")


def _decoded(value: bytes) -> str | None:
    """The text a header value stands for; None where it is badly encoded. Base64 must be
    canonical, so that one text has one spelling."""
    match = _ENCODED.fullmatch(value)
    try:
        if match is None:
            return value.decode("ascii")
        raw = base64.b64decode(match[1], validate=True)
        return raw.decode() if base64.b64encode(raw) == match[1] else None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _mismatch(problem: str) -> BadJsonRpc:
    return BadJsonRpc(problem, HEADER_MISMATCH)
