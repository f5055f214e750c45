"""How much memory bodies kept for the log may take, in flight and queued together.

Sampling every call of a busy proxy with a blocked log would otherwise keep every body there is.
"""

import threading

from proxy.model.record import CallRecord, Capture

DEFAULT_LIMIT_BYTES = 32 * 1024 * 1024
_FIELD_OVERHEAD_BYTES = 150  # a tuple, two bytes objects and a list slot
_CAPTURE_OVERHEAD_BYTES = 200


def capture_size(capture: Capture | None) -> int:
    """About how many bytes of memory a capture holds."""
    if capture is None:
        return 0
    size = _CAPTURE_OVERHEAD_BYTES + len(capture.body)
    for name, value in capture.fields:
        size += _FIELD_OVERHEAD_BYTES + len(name) + len(value)
    return size


def captured_size(record: CallRecord) -> int:
    """About how many bytes of memory the record's captures hold."""
    return capture_size(record.request) + capture_size(record.result)


class CaptureBudget:
    """A count of bytes with a limit. `take` before keeping, `give` back what was taken.

    Used from the event loop and the writer thread; the lock is held for one addition, so nobody
    waits on it for longer than that.
    """

    __slots__ = ("_lock", "limit_bytes", "refused", "used_bytes")

    def __init__(self, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.refused = 0
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> bool:
        """Reserve `size_bytes`; False, and nothing reserved, if they do not fit."""
        with self._lock:
            if self.used_bytes + size_bytes > self.limit_bytes:
                self.refused += 1
                return False
            self.used_bytes += size_bytes
            return True

    def give(self, size_bytes: int) -> None:
        """Give back what was taken. Never below zero: too much given back is a bug, but one that
        must not open the limit for good."""
        with self._lock:
            self.used_bytes = max(0, self.used_bytes - size_bytes)
