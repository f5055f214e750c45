"""Answers of pure functions, kept because they will be asked for again."""

from typing import Final, Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_PATIENCE: Final = 8  # how many times what fits is turned away before a full memory starts anew


class Memory(Generic[_Key, _Value]):
    """At most `most` answers. Look into `known`; never put anything there but by `keep`.

    A full one lets nothing in for a while, then forgets everything and starts anew: that costs less
    than to keep an order, and where more is asked for in turn than fits, the part that is here goes
    on being found. Letting everybody in would push each out before it is asked for again. Safe from
    several threads, which at worst work an answer out twice.
    """

    __slots__ = ("_most", "_turned_away", "generation", "known")

    def __init__(self, most: int) -> None:
        self.known: dict[_Key, _Value] = {}
        self.generation = 0  # counts the times it has started anew
        self._most = most
        self._turned_away = 0

    def keep(self, key: _Key, value: _Value) -> bool:
        """Keep one more answer, if there is room. Is it kept?"""
        known = self.known
        if len(known) >= self._most:
            self._turned_away += 1
            if self._turned_away < _PATIENCE * self._most:
                return False
            self.forget()
        known[key] = value
        return True

    def forget(self) -> None:
        """Start anew."""
        self._turned_away = 0
        self.generation += 1
        self.known.clear()
