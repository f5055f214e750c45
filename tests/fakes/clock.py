"""A clock that moves only when told."""

from proxy.model.clock import Clock


class FakeClock(Clock):
    def __init__(self, monotonic: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Both clocks move together, as they mostly do."""
        self._monotonic += seconds
        self._wall += seconds

    def jump_wall(self, seconds: float) -> None:
        """Only the wall clock moves: NTP, or an operator."""
        self._wall += seconds
