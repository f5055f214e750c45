"""Durations of many calls in a fixed number of buckets (pure).

Bounds grow by a quarter of an octave, so a percentile is right to within a tenth wherever it lies,
and a million calls take no more room than ten.
"""

from math import log2

_STEPS = 4  # buckets an octave
_SHORTEST_MS = 0.125
_MOST = 4 * 30  # up to a day and a half; what is longer goes into the last


class Durations:
    """A sparse histogram in milliseconds."""

    __slots__ = ("_counts", "count", "longest_ms")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        self.longest_ms = 0.0

    def add(self, ms: float) -> None:
        """One call."""
        place = 0
        if ms > _SHORTEST_MS:
            place = min(_MOST, int(_STEPS * log2(ms / _SHORTEST_MS)) + 1)
        self._counts[place] = self._counts.get(place, 0) + 1
        self.count += 1
        self.longest_ms = max(self.longest_ms, ms)

    def percentile_ms(self, share: float) -> float | None:
        """About the duration that `share` of the calls stay under; None without calls."""
        if not self.count:
            return None
        passed = 0
        for place in sorted(self._counts):
            passed += self._counts[place]
            if passed >= share * self.count:
                return min(self.longest_ms, _middle_ms(place))
        return self.longest_ms

    def octaves(self) -> list[tuple[float, int]]:
        """(upper bound in ms, calls below it and above the one before), one for each octave between
        the first with calls and the last."""
        counts: dict[int, int] = {}
        for place, count in self._counts.items():
            octave = (place + _STEPS - 1) // _STEPS
            counts[octave] = counts.get(octave, 0) + count
        if not counts:
            return []
        return [
            (_SHORTEST_MS * 2**octave, counts.get(octave, 0))
            for octave in range(min(counts), max(counts) + 1)
        ]


def _middle_ms(place: int) -> float:
    return _SHORTEST_MS * 2 ** ((place - 0.5) / _STEPS) if place else _SHORTEST_MS
