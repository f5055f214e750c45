"""The first bytes a client sends through a tunnel: what protocol is it, and for whom?

A tunnel is judged by its authority alone, so what is inside must not contradict it: the server
name of a TLS ClientHello has to be that host, and plain HTTP is not tunnelled at all but governed
as HTTP. Pure; looks at no more than `MAX_OPENING_BYTES`.
"""

from enum import Enum

from proxy.model.errors import BadMessage
from proxy.wire.target import canonical_host

MAX_OPENING_BYTES = 16 * 1024 + 5  # one TLS record
_MAX_RECORDS = 64  # a ClientHello in more pieces than this only wants to be read again and again

# These are told by their name alone, before the line is whole.
_METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND",
     "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "PURGE", "LINK",
     "UNLINK", "QUERY")
)  # fmt: skip
_HTTP2_PREFACE = "PRI * HTTP/2.0"
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME, _ECH = 22, 1, 0, 0xFE0D


class Opening(Enum):
    """What the first bytes are."""

    UNDECIDED = "more bytes are needed"
    HTTP = "an HTTP/1 request"
    HTTP2 = "HTTP/2 with prior knowledge"
    TLS = "a TLS handshake"
    OTHER = "some other protocol"


def classify(data: bytes) -> Opening:
    """Decide from a prefix; the verdict for a longer prefix never contradicts a decided one.

    Origins are lenient, so this errs on the side of HTTP, which is then read strictly: the known
    methods are compared without case, white space before and between the words may be of any
    kind, and any other first word counts where its line says `HTTP/`. But nothing is held back for
    an unknown word alone: protocols that greet with one must not hang, so a request whose unknown
    method comes in a piece of its own passes as some other protocol. What stays undecided beyond
    `MAX_OPENING_BYTES` is HTTP too, so no more than that is ever held.
    """
    if not data:
        return Opening.UNDECIDED
    if data[0] == _HANDSHAKE:
        if len(data) < 2:
            return Opening.UNDECIDED
        return Opening.TLS if data[1] == 3 else Opening.OTHER
    opening = _classify_line(data[:MAX_OPENING_BYTES].decode("latin-1").lstrip())
    if opening is Opening.UNDECIDED and len(data) > MAX_OPENING_BYTES:
        return Opening.HTTP
    return opening


def _classify_line(text: str) -> Opening:
    """`text` begins with the first word."""
    line, newline, _ = text.partition("\n")
    words = line.split()
    if not words:
        return Opening.UNDECIDED
    word, method = words[0], words[0].upper()
    if line.rstrip("\r") == word:  # it may go on; a line of one word is no request
        may_become = any(known.startswith(method) for known in (*_METHODS, "PRI"))
        return Opening.UNDECIDED if may_become and not newline else Opening.OTHER
    if method in _METHODS:
        return Opening.HTTP
    if method == "PRI" and _HTTP2_PREFACE.startswith(text[: len(_HTTP2_PREFACE)]):
        return Opening.HTTP2 if len(text) >= len(_HTTP2_PREFACE) else Opening.UNDECIDED
    if any(later.upper().startswith("HTTP/") for later in words[2:]):
        return Opening.HTTP
    looks_like_a_target = len(words) > 1 and words[1].lower().startswith(("/", "*", "http"))
    return Opening.UNDECIDED if looks_like_a_target and not newline else Opening.OTHER


class Hello:
    """What a ClientHello says about its destination. `server_name`: canonical host, or None where
    there is none. `encrypted`: it also carries an encrypted ClientHello, whose true name we cannot
    see."""

    __slots__ = ("encrypted", "server_name")

    def __init__(self, server_name: str | None, *, encrypted: bool) -> None:
        self.server_name = server_name
        self.encrypted = encrypted


class _Cursor:
    """Reads big-endian fields and refuses to run past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) < count:
            raise BadMessage("The TLS ClientHello is cut short.")
        self._at += count
        return part

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def block(self, length_bytes: int) -> "_Cursor":
        return _Cursor(self.take(self.number(length_bytes)))

    def take_all(self) -> bytes:
        return self.take(len(self._data) - self._at)

    @property
    def is_empty(self) -> bool:
        return self._at >= len(self._data)


def read_hello(data: bytes) -> Hello | None:
    """Read the ClientHello (RFC 8446 section 4.1.2, RFC 6066 section 3) that `data` starts with.

    None while it has not all come. It may span several records. Raises `BadMessage` for what is
    not a ClientHello.
    """
    handshake = b""
    at = records = 0
    while len(handshake) < 4 or len(handshake) < 4 + int.from_bytes(handshake[1:4], "big"):
        if records == _MAX_RECORDS:
            raise BadMessage("The TLS ClientHello is in too many records.")
        if len(data) < at + 5:
            return None
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        if data[at] != _HANDSHAKE or not 0 < size <= 16384 + 256:
            raise BadMessage("The TLS record is not a handshake.")
        if len(data) < at + 5 + size:
            return None
        handshake += data[at + 5 : at + 5 + size]
        if handshake[0] != _CLIENT_HELLO:
            raise BadMessage("The first TLS message is not a ClientHello.")
        at += 5 + size
        records += 1
    return _read_body(_Cursor(handshake[4 : 4 + int.from_bytes(handshake[1:4], "big")]))


def _read_body(cursor: _Cursor) -> Hello:
    cursor.take(2 + 32)  # legacy_version, random
    cursor.block(1)  # legacy_session_id
    cursor.block(2)  # cipher_suites
    cursor.block(1)  # legacy_compression_methods
    name: str | None = None
    encrypted = False
    extensions = _Cursor(b"") if cursor.is_empty else cursor.block(2)
    while not extensions.is_empty:
        kind = extensions.number(2)
        content = extensions.block(2)
        if kind == _SERVER_NAME:
            if name is not None:
                raise BadMessage("The ClientHello names two servers.")
            name = _read_server_name(content)
        encrypted = encrypted or kind == _ECH
    return Hello(name, encrypted=encrypted)


def _read_server_name(cursor: _Cursor) -> str:
    names = cursor.block(2)
    if names.number(1) != 0:
        raise BadMessage("The ClientHello's server name is not a host name.")
    raw = names.block(2).take_all()
    if not names.is_empty:
        raise BadMessage("The ClientHello names two servers.")
    try:
        return canonical_host(raw.decode("ascii"))
    except UnicodeDecodeError:
        raise BadMessage("The ClientHello's server name is not ASCII.") from None
