"""Formatted lines on their way into a sink, and the half line between two writes.

Kept apart from the recorder because here is the one subtle thing about writing: after a partial
write the rest of that line must come first, or two records share a line.
"""

from collections import deque

from proxy.telemetry.sinks import Sink


class PendingLines:
    """Lines not yet written. One thread only."""

    __slots__ = ("_generation", "_lines", "_offset", "_sink", "size_bytes")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lines: deque[bytes] = deque()
        self._offset = 0  # bytes of the first line that are already out
        self._generation = sink.generation
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: bytes) -> None:
        """Queue one line, newline included."""
        self._lines.append(line)
        self.size_bytes += len(line)

    def write(self, wait_s: float) -> tuple[int, int]:
        """One write of everything pending: (lines finished, lines lost). OSError passes through;
        what is pending stays. A line is lost when the sink moved on between its two halves."""
        data = memoryview(b"".join(self._lines))[self._offset :]
        taken = self._sink.write(data, wait_s)
        lost = 0
        if self._sink.generation != self._generation:
            self._generation = self._sink.generation
            if self._offset:
                self.size_bytes -= len(self._lines.popleft())
                self._offset = 0
                lost = 1
            return 0, lost
        return self._advance(taken), lost

    def _advance(self, taken: int) -> int:
        finished = 0
        left = self._offset + taken
        while self._lines and left >= len(self._lines[0]):
            size = len(self._lines.popleft())
            left -= size
            self.size_bytes -= size
            finished += 1
        self._offset = left
        return finished

    def drop(self) -> int:
        """Forget everything pending: how many lines that were."""
        count = len(self._lines)
        self._lines.clear()
        self.size_bytes = 0
        self._offset = 0
        return count
