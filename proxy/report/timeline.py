"""Calls over time in a bounded number of slots (pure).

How long the records reach is not known before the last one, so slots begin at a second and are
merged into wider ones when there are too many: the sums stay exact, only the grain changes.
"""

from proxy.report.outcome import Outcome

MOST_SLOTS = 240
# Each a multiple of the one before, so that slots merge whole.
_WIDTHS_S = (1, 5, 15, 60, 300, 900, 3600, 14_400, 43_200, 86_400, 604_800)
_OUTCOMES = tuple(Outcome)


class Timeline:
    """Counts by outcome in slots of `width_s` seconds."""

    __slots__ = ("_first", "_last", "_slots", "width_s")

    def __init__(self) -> None:
        self.width_s = _WIDTHS_S[0]
        self._slots: dict[int, list[int]] = {}
        self._first = self._last = 0

    def add(self, at_s: float, outcome: Outcome) -> None:
        """One call, in any order of time."""
        slot = int(at_s // self.width_s)
        if not self._slots:
            self._first = self._last = slot
        elif not self._first <= slot <= self._last:
            self._first, self._last = min(self._first, slot), max(self._last, slot)
            while self._last - self._first >= MOST_SLOTS:
                self._widen()
            slot = int(at_s // self.width_s)
        counts = self._slots.get(slot)
        if counts is None:
            counts = self._slots[slot] = [0] * len(_OUTCOMES)
        counts[_OUTCOMES.index(outcome)] += 1

    def _widen(self) -> None:
        wider_s = next((w for w in _WIDTHS_S if w > self.width_s), self.width_s * 2)
        factor = wider_s // self.width_s
        merged: dict[int, list[int]] = {}
        for slot, counts in self._slots.items():
            into = merged.setdefault(slot // factor, [0] * len(_OUTCOMES))
            for place, count in enumerate(counts):
                into[place] += count
        self._slots, self.width_s = merged, wider_s
        self._first, self._last = self._first // factor, self._last // factor

    def slots(self) -> list[tuple[float, dict[Outcome, int]]]:
        """(begin in Unix seconds, calls by outcome) from the first slot to the last, empty ones
        included."""
        if not self._slots:
            return []
        empty = [0] * len(_OUTCOMES)
        return [
            (
                float(slot * self.width_s),
                dict(zip(_OUTCOMES, self._slots.get(slot, empty), strict=True)),
            )
            for slot in range(self._first, self._last + 1)
        ]
