"""An event loop whose time jumps to the next timer, so that waiting takes no time.

Deterministic: time moves only when nothing is left to run, and exactly to the next timer (plus a
microsecond a turn, since a clock that stands still never reaches a timer set a rounding error
ahead).
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from proxy.model.clock import Clock

_T = TypeVar("_T")
_TURN_S = 1e-6


class _InstantSelector(selectors.SelectSelector):
    time_s = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and nothing will ever wake it")
        self.time_s += max(timeout, 0.0) + _TURN_S
        return super().select(0)


class InstantLoop(asyncio.SelectorEventLoop, Clock):
    """Also a `Clock`, so that the code under test and its loop see the same time."""

    def __init__(self) -> None:
        self._instant = _InstantSelector()
        super().__init__(self._instant)

    def time(self) -> float:
        return self._instant.time_s

    def monotonic(self) -> float:
        return self._instant.time_s

    def wall(self) -> float:
        return self._instant.time_s

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        try:
            return self.run_until_complete(coroutine)
        finally:
            self.close()
