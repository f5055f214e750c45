"""Two counters over the last ten seconds.

The circuit breaker and the retry budget both ask "how many of how many, lately?". Ten buckets of
one second: exact to a second, constant memory, no timestamp per event.
"""

from typing import Final

WINDOW_S: Final = 10


class RollingWindow:
    """`total` events, `marked` of them marked, in the last ten seconds.

    Times are monotonic seconds; they must not go back. An event is forgotten between nine and ten
    seconds after it happened.
    """

    __slots__ = ("_marks", "_tick", "_totals", "marked", "total")

    def __init__(self) -> None:
        self._totals = [0] * WINDOW_S
        self._marks = [0] * WINDOW_S
        self._tick = 0
        self.total = 0
        self.marked = 0

    def add(self, now_s: float, total: int, marked: int) -> None:
        """Count `total` events, and `marked` marked ones, at `now_s`."""
        if int(now_s) != self._tick:
            self.roll(now_s)
        place = self._tick % WINDOW_S
        self._totals[place] += total
        self._marks[place] += marked
        self.total += total
        self.marked += marked

    def roll(self, now_s: float) -> None:
        """Forget what is too old at `now_s`; call before reading `total` and `marked`."""
        tick = int(now_s)
        behind = tick - self._tick
        if behind <= 0:
            return
        for step in range(1, min(behind, WINDOW_S) + 1):
            place = (self._tick + step) % WINDOW_S
            self.total -= self._totals[place]
            self.marked -= self._marks[place]
            self._totals[place] = self._marks[place] = 0
        self._tick = tick
