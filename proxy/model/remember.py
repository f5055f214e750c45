"""Answers of pure functions, kept because they will be asked for again."""

from typing import TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def remember(known: dict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """Keep one more answer in `known`, which never holds more than `most`: a full one starts anew,
    since one clearing now and then is cheaper than keeping an order. Safe from several threads,
    which at worst work an answer out twice."""
    if len(known) >= most:
        known.clear()
    known[key] = value
