"""The process's own messages on stderr, written by a thread: whoever stops reading them must not
stop the calls."""

import logging
import queue
import threading

from proxy.telemetry.sinks import write_some

_LIMIT_LINES = 1_000  # waiting to be written
_LOOK_EVERY_S = 0.2


class ProcessLog(logging.Handler):
    """`dropped` counts messages that found no room; the next one that does tells how many."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.dropped = 0
        self._fd = fd
        self._told = 0  # of those dropped
        self._lines: queue.Queue[bytes | None] = queue.Queue(_LIMIT_LINES)
        self._thread = threading.Thread(target=self._write, name="process-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging, one message at a time."""
        line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
        if self.dropped > self._told:
            line = b"toolbooth: %d messages were left out\n" % (self.dropped - self._told) + line
        try:
            self._lines.put_nowait(line)
            self._told = self.dropped
        except queue.Full:
            self.dropped += 1

    def stop(self, wait_s: float) -> None:
        """Write what waits, if somebody reads it."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(wait_s)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            rest = memoryview(line)
            while rest:
                try:
                    rest = rest[write_some(self._fd, rest, _LOOK_EVERY_S) :]
                except OSError:
                    break  # stderr is closed, and there is nobody to tell
