"""The text of a body with its secrets masked, by the body's structure (pure).

JSON, lines of JSON, event streams and forms are taken apart and masked by key; the leaves and all
other text go through the patterns. What claims to be JSON and does not parse, because it was cut
or because it is broken, is searched for keys instead: a lenient reader may still understand it.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote_plus

import orjson
import re2

from proxy.telemetry.content import Content
from proxy.telemetry.sensitive import MASK

_DEEPEST = 40
_DEEPEST_EMBEDDED = 3  # JSON in a string of JSON, as tools like to answer
_MOST_PAIRS = 256
_KEYS_REMEMBERED = 1024
_LONGEST_KEY = 64
_LARGEST_PLAIN_NUMBER = 999_999_999  # shorter numbers are no card and no phone
_CUT = "[redacted:cut]"

# Each of the standard library's expressions here is linear: no two ways to match the same text.
# What may be half a secret at the end of a cut text: a run of digits, or a word.
_TAIL = re2.compile(r"(?:[0-9][0-9 .()+-]*|[^\s\"'<>,;&{}\[\]]+)\\*\z")
_KEY = re.compile(r'"((?:[^"\\]|\\[\s\S]){0,200})"\s*:\s*')
_STRING = re.compile(r'"(?:[^"\\]|\\[\s\S])*"?')
_SCALAR = re.compile(r"[^,}\]\s\"]+")
_ESCAPED = re.compile(r"\\u00([2-7][0-9a-fA-F])")
_JSON_LINES_TEXT = (
    "application/x-ndjson application/ndjson application/jsonl application/json-lines "
    "application/json-seq"
)
_JSON_LINES = frozenset(_JSON_LINES_TEXT.split())


class BodyText:
    """Masks by structure. `text` masks by shape; `is_sensitive` judges a key."""

    __slots__ = ("_is_sensitive", "_key", "_text")

    def __init__(self, text: Callable[[str], str], is_sensitive: Callable[[str], bool]) -> None:
        self._text = text
        self._is_sensitive = is_sensitive
        # Documents repeat their keys: judging each once makes a list of objects twice as fast.
        self._key = lru_cache(_KEYS_REMEMBERED)(self._judged)

    def _judged(self, key: str) -> tuple[str, bool]:
        """What to show of a key, and whether its value must be hidden."""
        return self._text(key), self._is_sensitive(key)

    def shown(self, content: Content) -> str:
        """What may be shown of a body that is text."""
        text = content.text or ""
        if content.truncated and content.media_type != "application/x-www-form-urlencoded":
            text = self._without_tail(text)
        if content.media_type == "text/event-stream":
            return self._events(text)
        if content.media_type == "application/x-www-form-urlencoded":
            return self._form(text, content.truncated)
        if content.media_type in _JSON_LINES:
            return "\n".join(self._json_or_text(line) for line in text.split("\n"))
        return self._json_or_text(text)

    def _without_tail(self, text: str) -> str:
        """`text` with the last word, or half of it, masked."""
        if not text.isascii():
            text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        tail = _TAIL.search(text)
        return text[: tail.start()] + _CUT if tail else text

    def _json_or_text(self, text: str) -> str:
        if text.lstrip(" \t\r\n\x1e")[:1] not in ("{", "[", '"'):
            return self._text(text)
        try:
            value = orjson.loads(text.strip("\x1e \t\r\n"))
            return orjson.dumps(self._value(value, 0, 0)).decode("utf-8")
        except (ValueError, TypeError):  # orjson: cannot read; cannot write
            return self._text(self._scanned(text))

    def _value(self, value: object, depth: int, embedded: int) -> object:
        """A parsed value, masked. `embedded` counts JSON inside of strings."""
        if isinstance(value, str):
            return self._string(value, depth, embedded)
        if depth > _DEEPEST and isinstance(value, (dict, list)):
            return "[redacted:depth]"
        if isinstance(value, dict):
            return self._object(value, depth, embedded)
        if isinstance(value, list):
            return [self._value(item, depth + 1, embedded) for item in value]
        if isinstance(value, int) and abs(value) > _LARGEST_PLAIN_NUMBER:
            digits = str(value)
            masked = self._text(digits)
            return value if masked == digits else masked
        return value

    def _string(self, value: str, depth: int, embedded: int) -> str:
        if value[:1] in ("{", "[") and embedded < _DEEPEST_EMBEDDED:
            try:
                inner = orjson.loads(value)
                return orjson.dumps(self._value(inner, depth + 1, embedded + 1)).decode("utf-8")
            except (ValueError, TypeError):
                return self._text(self._scanned(value))
        return self._text(value)

    def _object(self, value: dict[str, object], depth: int, embedded: int) -> dict[str, object]:
        hide_value = self._names_a_secret(value)
        secret_object = value.get("kind") == "Secret"  # of Kubernetes: base64 under any key
        result: dict[str, object] = {}
        for key, item in value.items():
            shown, sensitive = self._key(key) if len(key) <= _LONGEST_KEY else self._judged(key)
            hidden = sensitive or (hide_value and key in ("value", "Value"))
            hidden = hidden or (secret_object and key in ("data", "stringData"))
            if hidden and item is not None and not isinstance(item, bool):
                result[shown] = MASK
            else:
                result[shown] = self._value(item, depth + 1, embedded)
        return result

    def _names_a_secret(self, value: dict[str, object]) -> bool:
        """`{"name": "password", "value": ...}`, as lists of settings are written."""
        for key in ("name", "key", "Name", "Key"):
            named = value.get(key)
            if isinstance(named, str) and self._is_sensitive(named):
                return True
        return False

    def _scanned(self, text: str) -> str:
        """JSON that does not parse: values behind sensitive keys, found without structure."""
        text = _ESCAPED.sub(_unescape, text)
        if not text.isascii():
            text = text.encode("utf-8", "backslashreplace").decode("utf-8")
        pieces: list[str] = []
        done = 0
        for key in _KEY.finditer(text):
            if key.start() < done or not self._is_sensitive(key.group(1)):
                continue
            pieces += text[done : key.end()], f'"{MASK}"'
            done = _end_of_value(text, key.end())
        return "".join([*pieces, text[done:]])

    def _events(self, text: str) -> str:
        """An event stream: the data lines of one event are one document, other lines are text."""
        events = text.replace("\r\n", "\n").replace("\r", "\n").split("\n\n")
        return "\n\n".join(self._event(event) for event in events)

    def _event(self, event: str) -> str:
        lines: list[str] = []
        data: list[str] = []
        for line in event.split("\n"):
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            else:
                lines.append(self._text(line))
        if data:
            masked = self._json_or_text("\n".join(data))
            lines += [f"data: {part}" for part in masked.split("\n")]
        return "\n".join(lines)

    def _form(self, text: str, truncated: bool) -> str:
        """`key=value&...`: decoded where something was found, as sent elsewhere."""
        pairs = text.split("&", _MOST_PAIRS)
        cut = truncated or len(pairs) > _MOST_PAIRS
        shown = [self._pair(pair) for pair in (pairs[:-1] if cut else pairs)]
        return "&".join([*shown, _CUT] if cut else shown)

    def _pair(self, pair: str) -> str:
        key, equals, value = pair.partition("=")
        plain_key, plain = unquote_plus(key), unquote_plus(value)
        shown_key = self._text(plain_key)
        if equals and value and self._is_sensitive(plain_key):
            return f"{shown_key}={MASK}"
        masked = self._json_or_text(plain)
        if shown_key != plain_key or masked != plain:
            return f"{shown_key}{equals}{masked}"
        return pair


def _unescape(match: re.Match[str]) -> str:
    char = chr(int(match.group(1), 16))
    return match.group() if char in '"\\\x7f' else char


def _end_of_value(text: str, start: int) -> int:
    """Where the value that starts here ends. A container runs to the end of the text: telling
    where a broken one ends is what could not be done in the first place."""
    if text[start : start + 1] in ("{", "["):
        return len(text)
    shape = _STRING if text[start : start + 1] == '"' else _SCALAR
    found = shape.match(text, start)
    return found.end() if found else start
