"""Takes finished records from the event loop and gets them into the log.

The event loop formats what is light, a few microseconds each, and appends to a queue. A thread
looks into it every 50 ms (waking a thread per record costs more than the record), redacts and
formats what is heavy, and writes. Light records are not left to the thread: two threads that both
compute take the interpreter from each other, which costs several times what the line does. When
the log cannot keep up, bodies go first and records second; both are counted, and no call ever
waits.
"""

import errno
import threading
import time
from collections import deque
from typing import Final

from proxy.model.record import CallRecord
from proxy.telemetry.captures import CaptureBudget, captured_size
from proxy.telemetry.line import minimal_line, record_line
from proxy.telemetry.pending import PendingLines
from proxy.telemetry.redact import Redactor
from proxy.telemetry.sinks import Sink

DEFAULT_LIMIT_RECORDS: Final = 10_000
_WAKE_S: Final = 0.05
# A thread that computes keeps the interpreter for up to 5 ms at a time, and every call waits. So
# it formats a few records, or one with bodies, then sleeps for a moment.
_RECORDS_PER_TURN: Final = 64
_REST_S: Final = 0.0005
_LINES_PER_WRITE: Final = 256
_BYTES_PER_WRITE: Final = 256 * 1024  # formatted lines are held beside the queue, so they are few
_BASE_BYTES: Final = 1024  # about what a record without captures and path takes
_LONGEST_LIGHT_PATH: Final = 512
_HOPELESS: Final = frozenset(
    (errno.EPIPE, errno.EBADF, errno.ENOTCONN, errno.ECONNRESET, errno.ENXIO)
)

_Heavy = tuple[CallRecord, Redactor, int]  # ..., bytes of captures
_Entry = tuple[bytes | _Heavy, int]  # a line, or what has to become one; bytes without captures


class Recorder:
    """`submit` on the event loop; `start` and `stop` around it.

    Bounds: `limit_records` records, `limit_bytes` for them without captures, and the capture
    budget for bodies. Each counter is written by one thread only and may be read from any.
    """

    def __init__(
        self,
        sink: Sink,
        budget: CaptureBudget | None = None,
        limit_records: int = DEFAULT_LIMIT_RECORDS,
        limit_bytes: int = 4 * _BASE_BYTES * DEFAULT_LIMIT_RECORDS,
    ) -> None:
        self.budget = budget if budget is not None else CaptureBudget()
        self.submitted = 0
        self.written = 0
        self.captures_dropped = 0
        self.sink_errors = 0
        self._dropped_full = 0  # event loop
        self._dropped_bytes = 0  # event loop
        self._dropped_sink = 0  # writer
        self._dropped_rotation = 0  # writer
        self._format_errors = 0  # writer
        self._format_errors_light = 0  # event loop
        self._dropped_shutdown = 0  # whoever stops
        self._limit_records = limit_records
        self._limit_bytes = limit_bytes
        self._bytes_in = 0  # event loop
        self._bytes_out = 0  # writer
        self._queue: deque[_Entry] = deque()
        self._sink = sink
        self._pending = PendingLines(sink)
        self._stop = threading.Event()
        self._abandoned = False
        self._worker = threading.Thread(target=self._run, name="recorder", daemon=True)

    # --- on the event loop ---------------------------------------------------------------------

    def submit(self, record: CallRecord, redactor: Redactor, taken_bytes: int = 0) -> None:
        """Queue a record; never blocks, never raises. The record must not change afterwards.

        `taken_bytes` is what the call took from the capture budget for this record's captures;
        giving it back is the recorder's business from here on.
        """
        self.submitted += 1
        size = _BASE_BYTES + len(record.path)
        full = len(self._queue) >= self._limit_records
        if full or self._bytes_in - self._bytes_out + size > self._limit_bytes:
            self._dropped_full += full
            self._dropped_bytes += not full
            if taken_bytes:
                self.budget.give(taken_bytes)
            return
        self._bytes_in += size
        has_captures = record.request is not None or record.result is not None
        if has_captures or taken_bytes or size > _BASE_BYTES + _LONGEST_LIGHT_PATH:
            self._queue.append(((record, redactor, self._settle(record, taken_bytes)), size))
            return
        line, failed = _formatted(record, redactor)
        self._format_errors_light += failed
        self._queue.append((line, size))

    def _settle(self, record: CallRecord, taken_bytes: int) -> int:
        """Hold exactly what the captures take, or drop them."""
        need = captured_size(record)
        if need <= taken_bytes:
            self.budget.give(taken_bytes - need)
            return need
        if self.budget.take(need - taken_bytes):
            return need
        self.budget.give(taken_bytes)
        record.request = record.result = None
        self.captures_dropped += 1
        return 0

    # --- from anywhere -------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Records queued, not counting formatted lines under way."""
        return len(self._queue)

    @property
    def reopen_errors(self) -> int:
        """Failed attempts to follow the log's file where it was rotated; 0 where it is none."""
        return getattr(self._sink, "reopen_errors", 0)

    def dropped(self) -> dict[str, int]:
        """Records lost, by reason. `format_error` ones left a minimal line."""
        return {
            "queue_full": self._dropped_full,
            "queue_bytes": self._dropped_bytes,
            "sink_closed": self._dropped_sink,
            "rotated": self._dropped_rotation,
            "format_error": self._format_errors + self._format_errors_light,
            "shutdown": self._dropped_shutdown,
        }

    def start(self) -> None:
        """Start the writer thread."""
        self._worker.start()

    def stop(self, timeout_s: float) -> None:
        """Write what is queued, for at most `timeout_s`; count what is left. Blocks: call it when
        no calls are served any more, or from another thread."""
        self._stop.set()
        if self._worker.ident is not None:
            self._worker.join(timeout_s)
        self._abandoned = True
        if self._worker.is_alive():  # ends within one write; touches no queue after that
            self._worker.join(2 * _WAKE_S)
        self._dropped_shutdown += len(self._pending) + len(self._queue)
        if not self._worker.is_alive():  # else stuck in the kernel: leave it what it holds
            self._sink.close()

    # --- in the writer thread ------------------------------------------------------------------

    def _run(self) -> None:
        while not self._abandoned:
            stopping = self._stop.is_set()
            self._drain()
            if stopping and not self._queue and not self._pending:
                return
            if stopping:
                continue  # `_write` waits for the sink, this does not spin
            self._stop.wait(_WAKE_S)

    def _drain(self) -> None:
        """Format and write until the queue is empty or the sink takes no more. Lines pending from
        before go first; while they are stuck nothing more is taken from the queue, so what is
        lost then is counted where the queue is bounded."""
        while not self._abandoned:
            if self._pending and not self._write():
                return
            if not self._format():
                return

    def _format(self) -> bool:
        """Turn queued records into pending lines; were there any?"""
        for count in range(_LINES_PER_WRITE):
            enough = self._pending.size_bytes >= _BYTES_PER_WRITE
            if self._abandoned or enough or not self._queue:
                return bool(self._pending)
            entry, size = self._queue.popleft()
            self._bytes_out += size
            if isinstance(entry, bytes):
                self._pending.add(entry)
                continue
            record, redactor, held_bytes = entry
            line, failed = _formatted(record, redactor)
            self._format_errors += failed
            self._pending.add(line)
            if held_bytes:
                self.budget.give(held_bytes)
            if held_bytes or count % _RECORDS_PER_TURN == _RECORDS_PER_TURN - 1:
                self._stop.wait(_REST_S)
        return True

    def _write(self) -> bool:
        """Write pending lines; is everything out?"""
        try:
            finished, lost = self._pending.write(_WAKE_S)
        except OSError as error:
            self.sink_errors += 1
            if error.errno in _HOPELESS:
                self._dropped_sink += self._pending.drop()
                return True
            if self._stop.is_set():
                time.sleep(_WAKE_S)  # a full disk fails at once: do not spin on it
            return False
        self.written += finished
        self._dropped_rotation += lost
        return not self._pending


def _formatted(record: CallRecord, redactor: Redactor) -> tuple[bytes, bool]:
    """The line, and whether it is only what is left to say where the whole one failed."""
    try:
        return record_line(record, redactor), False
    except Exception:  # noqa: BLE001 - whatever it is, it must cost one record, not call or log
        return minimal_line(record), True
