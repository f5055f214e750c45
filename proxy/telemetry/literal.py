"""Hides texts that are known, as opposed to texts that look like something.

The secrets of gateways have no shape that could be told, but they are known, and whoever was sent
one may send it back: in a header, an error message, compressed, escaped for JSON or for a URL, cut
in half by the end of a capture. So each character is matched in every spelling it may have, and the
whole in hex and in base64, also as a part of something longer that was encoded. What is encoded
twice, reversed, encrypted or spread out is not found.
"""

import base64
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import re2

_MARK = "[redacted:secret]"
_MEMORY_BYTES = 64 << 20
# Secrets are grouped, so that no expression outgrows its memory.
_SPELLINGS_PER_EXPRESSION = 40_960
_MAX_ENCODED_CHARS = 512  # of a secret looked for in base64 and hex
_MIN_ENCODED_BYTES = 8  # a shorter one would be found in what it is not in
_MIN_HALF_CHARS = 6  # of base64 or hex, to be taken for a beginning: any letter is one
_SHORT_ESCAPES = {'"': r"\"", "\\": r"\\", "/": r"\/"}
_LONGEST_SPELLING = 20
# What is left of a character of UTF-8 whose last bytes were cut off.
_HALF_A_CHARACTER = re.compile(r"(?:\\x[0-9a-f]{2}){1,3}\Z")
_IN_BASE64 = {
    "+": ["+", "-", "%2b", "\\u002b"],
    "/": ["/", "_", "%2f", "\\/", "\\u002f"],
}
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}


def spellings(char: str) -> list[str]:
    """How one character may stand in JSON, JSON in JSON, a URL, a form or HTML, itself first; to be
    compared without regard to case."""
    code = ord(char)
    in_json = [f"\\u{code:04x}"]
    found = [char]
    if not char.isalnum():  # nobody escapes letters and digits in these ways
        in_json.append(_SHORT_ESCAPES.get(char, ""))
        found += [_ENTITIES.get(char, ""), "+" * (char == " "), f"&#{code};", f"&#x{code:x};"]
    found += in_json
    found += [escaped.replace("\\", "\\\\").replace('"', '\\"') for escaped in in_json]
    for raw in {char.encode("utf-8"), char.encode("latin-1", "replace")}:
        once = "".join(f"%{byte:02x}" for byte in raw)
        found += [once, once.replace("%", "%25")]
    return [spelling.lower() for spelling in found if spelling]


def encoded(text: str) -> list[list[list[str]]]:
    """The text in hex and base64, as spellings of each of its characters; none for what is too
    short or too long. Of base64 there are three, by where in a longer text it stands: the letters
    that depend on its neighbours are left out."""
    found: dict[str, None] = {}
    for raw in {text.encode("utf-8"), text.encode("latin-1", "replace")}:
        if len(text) > _MAX_ENCODED_CHARS or len(raw) < _MIN_ENCODED_BYTES:
            continue
        found[raw.hex()] = None
        for before in range(3):
            letters = base64.b64encode(bytes(before) + raw).decode("ascii")
            found[letters[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]] = None
    return [[_IN_BASE64.get(char, [char.lower()]) for char in letters] for letters in found]


class Literals:
    """Masks each of `texts`, in any spelling. Pure."""

    __slots__ = ("_expressions", "_halves")

    def __init__(self, texts: Iterable[str]) -> None:
        texts = [text for text in texts if text]
        plain = [[spellings(char) for char in text] for text in texts]
        coded = [letters for text in texts for letters in encoded(text)]
        # The longest first: a password must not be masked out of the pair it is part of.
        plain.sort(key=len, reverse=True)
        coded.sort(key=len, reverse=True)
        self._expressions = [
            _compiled("|".join(map(_expression, group))) for group in _groups(plain + coded)
        ]
        # Where one may begin; looking ahead, so that no place is skipped.
        self._halves = [(chars, _start(chars[:1])) for chars in plain]
        self._halves += [(chars, _start(chars[:_MIN_HALF_CHARS])) for chars in coded]

    def masked(self, text: str, *, is_cut: bool = False) -> str:
        """`text` without them. `is_cut`: it may end in the middle of one. `text` must be
        encodable."""
        for expression in self._expressions:
            text = expression.sub(_MARK, text)
        return self._without_half(text) if is_cut else text

    def _without_half(self, text: str) -> str:
        """`text` without a beginning of a secret at its end."""
        text = _HALF_A_CHARACTER.sub("", text)
        lowered = text.lower()
        if len(lowered) != len(text):  # a letter whose small form is two: places would differ
            lowered = text
        end = len(text)  # the earliest: one letter may begin one secret and end half of another
        for chars, first in self._halves:
            longest = len(chars) * _LONGEST_SPELLING
            for found in first.finditer(lowered, max(0, len(lowered) - longest)):
                if found.start() >= end:
                    break
                if _is_beginning(lowered, found.start(), chars):
                    end = found.start()
                    break
        return text if end == len(text) else text[:end] + _MARK


@lru_cache(maxsize=64)
def _compiled(expression: str) -> Any:
    """Remembered: where one secret of many changes, the others need not be compiled again."""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.case_sensitive = False
    options.max_mem = _MEMORY_BYTES
    return re2.compile(expression, options)


def _is_beginning(text: str, start: int, chars: list[list[str]]) -> bool:
    """Is the rest of `text` from `start` a beginning of the secret, the last escape cut or not?"""
    places = {start}  # where the next character may begin; one may be read in several ways
    for options in chars:
        after = set()
        for place in places:
            rest = text[place : place + _LONGEST_SPELLING]
            if place + len(rest) >= len(text) and any(o.startswith(rest) for o in options):
                return True
            after |= {place + len(o) for o in options if rest.startswith(o)}
        places = after
        if not places:
            return False
    return len(text) in places


def _start(chars: list[list[str]]) -> re.Pattern[str]:
    return re.compile(f"(?={_expression(chars)})")


def _expression(chars: list[list[str]]) -> str:
    return "".join("(?:" + "|".join(map(re2.escape, options)) + ")" for options in chars)


def _groups(texts: list[list[list[str]]]) -> list[list[list[list[str]]]]:
    groups: list[list[list[list[str]]]] = []
    room = 0
    for text in texts:
        size = sum(map(len, text))
        if size > room:
            groups.append([])
            room = max(_SPELLINGS_PER_EXPRESSION, size)
        groups[-1].append(text)
        room -= size
    return groups
