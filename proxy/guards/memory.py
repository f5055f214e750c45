"""A soft mark of memory: above it calls are refused, before the system's limit ends the process.

What is under way goes on. Where little is, a call is let in now and then, so that memory which
does not shrink (a heap in pieces) makes the sidecar slow and not dead.
"""

from proxy.model.errors import Refusal
from proxy.model.reason import Reason

FEW_CALLS = 16
ONE_EVERY_S = 0.25
_BACK_BELOW = 0.95  # of the mark: refusing ends a little below where it began

_BUSY = Refusal(
    Reason.BUSY,
    "The sidecar is short of memory; try again in a moment, with fewer calls at once.",
    "TOOLBOOTH_MEMORY_SOFT_MIB",
    1000,
)


class MemoryMark:
    """`mark_bytes` 0: there is none. `refused` counts calls."""

    __slots__ = ("_let_in_s", "is_over", "mark_bytes", "refused")

    def __init__(self, mark_bytes: int = 0) -> None:
        self.mark_bytes = mark_bytes
        self.is_over = False
        self.refused = 0
        self._let_in_s = float("-inf")

    def note(self, resident_bytes: int) -> None:
        """So much memory the process has now."""
        if self.mark_bytes:
            mark = self.mark_bytes * (_BACK_BELOW if self.is_over else 1)
            self.is_over = resident_bytes >= mark

    def refuse(self, under_way: int, now_s: float) -> Refusal | None:
        """May one more call begin, beside the `under_way` that have? An answer that nobody reads
        holds memory when its call is over, so that few are under way does not suffice."""
        if not self.is_over:
            return None
        if under_way < FEW_CALLS and now_s - self._let_in_s >= ONE_EVERY_S:
            self._let_in_s = now_s
            return None
        self.refused += 1
        return _BUSY
