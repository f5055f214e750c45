"""The lines of the audit log and the chain they form (pure).

A line is one JSON object. It says in `prev` which line it follows and in `hash` what it is itself,
so that a line that was changed, removed, moved or put in between does not fit its neighbours. With
a key it also says in `mac` that whoever wrote it knew the key. What is hashed are the bytes of the
line itself, up to the hash: there is no second form of a line that two programs could disagree on.

Never decides what is worth a line, and never opens a file.
"""

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

import orjson

from proxy.telemetry.visible import visible_json

MAX_LINE_BYTES = 16_384
_MAX_TEXT_CHARS = 2_000
_OURS = frozenset(("seq", "prev", "mac", "hash"))
_ESSENTIAL = ("ts", "event", "actor", "role", "action", "key", "outcome")
_LINE = re.compile(
    rb'\{"seq":([1-9][0-9]{0,17}),(?:.*,)?"prev":"([0-9a-f]{64})"'
    rb'(?:,"mac":"([0-9a-f]{64})")?,"hash":"([0-9a-f]{64})"\}'
)

Entry = Mapping[str, object]


class Head(NamedTuple):
    """Where a chain ends: the number and the hash of its last line."""

    seq: int
    hash: str


GENESIS = Head(0, "0" * 64)


class Line(NamedTuple):
    """A line as it was found. `is_true`: its hash is that of its content. `body`: what the mac
    is about. `mac`: empty without one."""

    seq: int
    prev: str
    mac: str
    hash: str
    is_true: bool
    body: bytes

    @property
    def head(self) -> Head:
        """The chain ends here, if this line is its last."""
        return Head(self.seq, self.hash)

    def is_by(self, key: bytes) -> bool:
        """Was it written with `key`?"""
        return hmac.compare_digest(self.mac, mac_of(key, self.body))

    def entry(self) -> dict[str, object]:
        """What the line says; empty where it is no JSON after all."""
        try:
            found = orjson.loads(self.body + b"}")
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}


# Of each essential field of an entry that is too long, and of one that still is: a character
# outside of the basic plane takes twelve bytes where it is not printable.
_ESSENTIAL_CHARS = (2_000, 150)


def sealed(entry: Entry, after: Head, key: bytes | None) -> tuple[bytes, Head]:
    """`entry` as the line that follows `after`, with its newline, and the head it makes.

    Whatever the entry holds, the line is printable, at most `MAX_LINE_BYTES` long and in one
    piece; an entry too long for it keeps its essential fields and says so (`cut`).
    """
    seq = after.seq + 1
    body = _body(seq, entry, after.hash)
    for longest in _ESSENTIAL_CHARS:
        if len(body) <= MAX_LINE_BYTES - 200:
            break
        essential = {name: str(entry[name])[:longest] for name in _ESSENTIAL if name in entry}
        body = _body(seq, {**essential, "cut": True}, after.hash)
    if key is not None:
        body += b',"mac":"%b"' % mac_of(key, body).encode()
    digest = sha256(body).hexdigest()
    return body + b',"hash":"%b"}\n' % digest.encode(), Head(seq, digest)


def read_line(raw: bytes) -> Line | None:
    """The line without its newline; None if it does not even look like one of ours."""
    found = _LINE.fullmatch(raw)
    if found is None or len(raw) > MAX_LINE_BYTES:
        return None
    hashed = raw[: found.start(4) - len(b',"hash":"')]
    mac = found[3] or b""
    body = hashed[: found.start(3) - len(b',"mac":"')] if mac else hashed
    digest = found[4].decode()
    is_true = hmac.compare_digest(sha256(hashed).hexdigest(), digest)
    return Line(int(found[1]), found[2].decode(), mac.decode(), digest, is_true, body)


def mac_of(key: bytes, body: bytes) -> str:
    """HMAC-SHA256 (RFC 2104), in hexadecimal."""
    return hmac.new(key, body, sha256).hexdigest()


def _body(seq: int, entry: Entry, prev: str) -> bytes:
    fields = {
        _bounded_text(name): _bounded(value) for name, value in entry.items() if name not in _OURS
    }
    whole = {"seq": seq, **fields, "prev": prev}
    text = orjson.dumps(whole, default=repr)
    return visible_json(text.decode()).encode()[:-1]


def _bounded(value: object) -> object:
    """What JSON cannot hold, as text; and all text bounded."""
    if isinstance(value, str):
        return _bounded_text(value)
    if isinstance(value, int) and value.bit_length() > 63:
        return str(value)
    if isinstance(value, Mapping):
        return {_bounded_text(str(name)): _bounded(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bounded(item) for item in value]
    return value


def _bounded_text(text: str) -> str:
    """Cut, and with half characters, which UTF-8 cannot hold, shown escaped."""
    return text[:_MAX_TEXT_CHARS].encode("utf-8", "backslashreplace").decode()
