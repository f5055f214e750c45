"""Answers of a pure function of a short text, remembered as long as they are few."""

from collections.abc import Callable

from proxy.model.remember import Memory

_MOST = 4096
_LONGEST_CHARS = 256


class Memo:
    """Remembers at most 4,096 answers, of texts up to 256 characters."""

    __slots__ = ("_answer", "_memory")

    def __init__(self, answer: Callable[[str], str]) -> None:
        self._answer = answer
        self._memory: Memory[str, str] = Memory(_MOST)

    def of(self, text: str) -> str:
        """What the function says of `text`."""
        known = self._memory.known.get(text)
        if known is None:
            known = self._answer(text)
            if len(text) <= _LONGEST_CHARS:
                self._memory.keep(text, known)
        return known
