"""Hides texts that are known, as opposed to texts that look like something.

The secrets of gateways have no shape that could be told, but they are known, and whoever was sent
one may send it back: in a header, an error message, compressed, escaped for JSON or for a URL, cut
in half by the end of a capture. So each character is matched in every spelling it may have.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import re2

_MARK = "[redacted:secret]"
_MEMORY_BYTES = 64 << 20
_CHARS_PER_EXPRESSION = 4096  # secrets are grouped, so that no expression outgrows its memory
_SHORT_ESCAPES = {'"': r"\"", "\\": r"\\", "/": r"\/"}
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}


def spellings(char: str) -> list[str]:
    """How one character may stand in JSON, a URL, a form or HTML, itself first; all to be compared
    without regard to case."""
    found = [char]
    if not char.isalnum():  # nobody escapes letters and digits without being asked
        found += [_SHORT_ESCAPES.get(char, ""), _ENTITIES.get(char, ""), "+" * (char == " ")]
        found += [f"&#{ord(char)};", f"&#x{ord(char):x};"]
    code = ord(char)
    found.append(f"\\u{code:04x}")
    for raw in {char.encode("utf-8"), char.encode("latin-1", "replace")}:
        once = "".join(f"%{byte:02x}" for byte in raw)
        found += [once, once.replace("%", "%25")]
    return [spelling for spelling in found if spelling]


class Literals:
    """Masks each of `texts`, in any spelling. Pure."""

    __slots__ = ("_expressions", "_texts")

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [[spellings(char) for char in text] for text in texts if text]
        # The longest first: a password must not be masked out of the pair it is part of.
        self._texts.sort(key=len, reverse=True)
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
        lowered = text.lower()
        for text_chars in self._texts:
            longest = sum(max(map(len, options)) for options in text_chars)
            for start in range(max(0, len(lowered) - longest), len(lowered)):
                if _is_beginning(lowered, start, text_chars):
                    return text[:start] + _MARK
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
    for options in chars:
        if start >= len(text):
            return True
        fitting = [option for option in options if text.startswith(option.lower(), start)]
        if not fitting:
            rest = text[start:]
            return any(option.lower().startswith(rest) for option in options)
        start += max(map(len, fitting))
    return start >= len(text)


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
