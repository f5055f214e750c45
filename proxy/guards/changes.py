"""Which entries of a table changed since somebody last asked.

What is written behind has to be found without walking the table, and noting it stands on the way
of every call. So an entry carries a flag, and only the first change after it was taken is noted.
"""

from typing import Generic, Protocol, TypeVar


class Entry(Protocol):
    """`is_dirty`: it is noted already, or nobody watches."""

    is_dirty: bool


_E = TypeVar("_E", bound=Entry)


class Changes(Generic[_E]):
    """Entries that changed and keys that were forgotten. Keeps nothing until `watch`, so a process
    without a store pays one attribute look-up.

    Bounded by who takes: at most every entry of the table, and every key forgotten meanwhile.
    """

    __slots__ = ("_changed", "_gone", "_is_watched")

    def __init__(self) -> None:
        self._is_watched = False
        self._changed: list[_E] = []
        self._gone: set[str] = set()

    def __len__(self) -> int:
        return len(self._changed) + len(self._gone)

    def watch(self) -> None:
        """Note what changes from now on; before the first entry is added or restored."""
        self._is_watched = True

    def note(self, entry: _E) -> None:
        """`entry` changed. Callers look at `is_dirty` first, which is what makes it cheap."""
        entry.is_dirty = True
        if self._is_watched:
            self._changed.append(entry)

    def forget(self, key: str) -> None:
        """The entry under `key` is gone."""
        if self._is_watched:
            self._gone.add(key)

    def take(self, limit: int) -> tuple[list[_E], set[str]]:
        """At most `limit` changed entries, the first noted first, and all keys forgotten. A key
        may be among both: an entry that was forgotten and begun anew."""
        taken = self._changed[:limit]
        del self._changed[:limit]
        for entry in taken:
            entry.is_dirty = False
        gone, self._gone = self._gone, set()
        return taken, gone
