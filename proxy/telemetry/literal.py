"""Hides texts that are known, as opposed to texts that look like something.

The secrets of gateways have no shape that could be told, but they are known, and whoever was sent
one may send it back: in a header, an error message, compressed, escaped for JSON or for a URL, cut
in half by the end of a capture. So each character is matched in every spelling it may have.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import re2

_MARK = "[redacted:secret]"
_MEMORY_BYTES = 64 << 20
_CHARS_PER_EXPRESSION = 4096  # secrets are grouped, so that no expression outgrows its memory
_SHORT_ESCAPES = {'"': r"\"", "\\": r"\\", "/": r"\/"}
_LONGEST_SPELLING = 20
# What is left of a character of UTF-8 whose last bytes were cut off.
_HALF_A_CHARACTER = re.compile(r"(?:\\x[0-9a-f]{2}){1,3}\Z")
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


class Literals:
    """Masks each of `texts`, in any spelling. Pure."""

    __slots__ = ("_expressions", "_firsts", "_texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [[spellings(char) for char in text] for text in texts if text]
        # The longest first: a password must not be masked out of the pair it is part of.
        self._texts.sort(key=len, reverse=True)
        # Where one may begin; looking ahead, so that no place is skipped.
        self._firsts = [re.compile(f"(?={_expression(chars[:1])})") for chars in self._texts]
        self._expressions = [
            _compiled("|".join(map(_expression, group))) for group in _groups(self._texts)
        ]

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
        for chars, first in zip(self._texts, self._firsts, strict=True):
            longest = len(chars) * _LONGEST_SPELLING
            for found in first.finditer(lowered, max(0, len(lowered) - longest)):
                if _is_beginning(lowered, found.start(), chars):
                    return text[: found.start()] + _MARK
        return text


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


def _expression(chars: list[list[str]]) -> str:
    return "".join("(?:" + "|".join(map(re2.escape, options)) + ")" for options in chars)


def _groups(texts: list[list[list[str]]]) -> list[list[list[list[str]]]]:
    groups: list[list[list[list[str]]]] = []
    room = 0
    for text in texts:
        if len(text) > room:
            groups.append([])
            room = max(_CHARS_PER_EXPRESSION, len(text))
        groups[-1].append(text)
        room -= len(text)
    return groups
