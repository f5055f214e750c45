"""Runs a table of patterns over a text, in linear time and with few steps where nothing is found.

One RE2 of all patterns answers the common case (no hit). Only on a hit does an RE2 set tell which
patterns to apply. The set gives up silently when it runs out of memory, the single expression
does not (it falls back to a slower automaton); so when the two disagree, every pattern is applied.
"""

from collections.abc import Sequence

import re2

from proxy.telemetry.personal import Span
from proxy.telemetry.vendors import Shape

_MEMORY_BYTES = 8 << 20
_CUSTOM_MEMORY_BYTES = 1 << 20
_LONGEST_CUSTOM = 1000
_MOST_CUSTOM = 100
_LARGEST_CUSTOM_STEPS = 60_000  # of RE2's programs, together: what still builds in a second
_PROBES = ("", "a", "a 1", "A-1\n")


def _options(memory_bytes: int, never_capture: bool = False) -> re2.Options:
    options = re2.Options()
    options.log_errors = False  # RE2 would print the text of the pattern to stderr
    options.max_mem = memory_bytes
    options.never_capture = never_capture
    return options


def custom_patterns(expressions: Sequence[str]) -> tuple[Shape, ...]:
    """The policy's own expressions as patterns of kind `custom`.

    Raises ValueError, naming the expression by its place, for one that RE2 does not take
    (look-around, back references, too large) or that matches nothing at all: it would put a
    marker between any two characters. Also for expressions that are too large together, since
    each body runs through all of them.
    """
    if len(expressions) > _MOST_CUSTOM:
        raise ValueError(f"at most {_MOST_CUSTOM} redaction patterns, got {len(expressions)}")
    steps = 0
    for place, expression in enumerate(expressions):
        if not expression or len(expression) > _LONGEST_CUSTOM:
            raise ValueError(
                f"redaction pattern {place} must have 1 to {_LONGEST_CUSTOM} characters"
            )
        try:
            compiled = re2.compile(expression, _options(_CUSTOM_MEMORY_BYTES))
        except (re2.error, UnicodeEncodeError) as error:
            raise ValueError(
                f"redaction pattern {place} is not an RE2 expression: {error}"
            ) from None
        if any(m.start() == m.end() for probe in _PROBES for m in compiled.finditer(probe)):
            raise ValueError(f"redaction pattern {place} matches the empty text")
        steps += compiled.programsize
        if steps > _LARGEST_CUSTOM_STEPS:
            raise ValueError(
                f"the redaction patterns up to {place} are too large together: {steps} steps of "
                f"{_LARGEST_CUSTOM_STEPS}"
            )
    return tuple(Shape("custom", expression) for expression in expressions)


class Matcher:
    """Masks what a fixed table of patterns finds."""

    __slots__ = ("_any", "_compiled", "_patterns", "_set")

    def __init__(self, patterns: Sequence[Shape]) -> None:
        self._patterns = tuple(patterns)
        self._compiled = [re2.compile(p.regex, _options(_MEMORY_BYTES)) for p in patterns]
        bare = _options(_MEMORY_BYTES, never_capture=True)
        self._any = re2.compile("|".join(f"(?:{p.regex})" for p in patterns), bare)
        self._set = re2.Set.SearchSet(_options(_MEMORY_BYTES))
        for pattern in patterns:
            self._set.Add(pattern.regex)
        self._set.Compile()

    def masked(self, text: str) -> str:
        """`text` with every finding replaced by `[redacted:kind]`. `text` must be encodable."""
        if self._any.search(text.encode()) is None:  # of bytes it works out no places of characters
            return text
        for index in sorted(self._set.Match(text) or range(len(self._patterns))):
            text = self._apply(index, text)
        return text

    def finds_nothing(self, text: str) -> bool:
        """Would `masked` leave `text` as it is?"""
        return self.masked(text) == text

    def _apply(self, index: int, text: str) -> str:
        kind, _, check = self._patterns[index]
        pieces: list[str] = []
        done = 0
        spans: list[Span] = []
        for found in self._compiled[index].finditer(text):
            spans.extend(check(found))
        for start, end in sorted(spans):
            if end <= start or start < done:
                continue
            pieces += text[done:start], f"[redacted:{kind}]"
            done = end
        if not pieces:
            return text
        pieces.append(text[done:])
        return "".join(pieces)
