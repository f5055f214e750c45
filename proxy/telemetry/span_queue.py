"""Takes finished traces from the event loop and gets their spans exported.

The event loop only appends to a queue and hardly ever wakes a thread. The thread builds the spans
and hands them to `export`, which may take as long as it likes: meanwhile the queue fills, and what
does not fit any more is dropped and counted. No call ever waits.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from proxy.model.trace import Trace
from proxy.telemetry.redact import Redactor
from proxy.telemetry.spans import SpanView, span_views

# A thread that computes keeps the interpreter for up to 5 ms at a time, and every call waits. So
# it builds a few spans, then sleeps for a moment.
_TRACES_PER_TURN = 32
_REST_S = 0.0005
_STOP_WAIT_S = 0.5

# The spans of one batch -> how many of them the receiver did not take. All of them, if it raises.
Export = Callable[[Sequence[SpanView]], int]


class SpanQueue:
    """`submit` on the event loop; `start` and `stop` around it.

    The defaults are those of the OpenTelemetry batch span processor. `limit_spans` bounds what
    waits; as many as `batch_spans` go out at once, at the latest `delay_s` after the first of
    them came. Each counter is written by one thread only and may be read from any.
    """

    def __init__(
        self,
        export: Export,
        *,
        limit_spans: int = 2048,
        batch_spans: int = 512,
        delay_s: float = 5.0,
    ) -> None:
        self.exported = 0  # thread
        self.failures = 0  # thread: batches that were lost
        self._dropped_full = 0  # event loop
        self._dropped_export = 0  # thread
        self._format_errors = 0  # thread
        self._dropped_shutdown = 0  # whoever stops
        self._spans_in = 0  # event loop
        self._spans_out = 0  # thread
        self._under_way = 0  # thread: spans taken out and not yet counted
        self._queue: deque[tuple[Trace, Redactor]] = deque()
        self._export = export
        self._limit = limit_spans
        self._batch = batch_spans
        self._delay_s = delay_s
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._abandoned = False
        self._worker = threading.Thread(target=self._run, name="spans", daemon=True)

    # --- on the event loop ---------------------------------------------------------------------

    def submit(self, trace: Trace, redactor: Redactor) -> None:
        """Queue a finished trace; never blocks, never raises."""
        count = 1 + len(trace.attempts)
        waiting = self._spans_in - self._spans_out + count
        if waiting > self._limit:
            self._dropped_full += count
            return
        self._spans_in += count
        self._queue.append((trace, redactor))
        if waiting >= self._batch and not self._wake.is_set():
            self._wake.set()

    # --- from anywhere -------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """Spans that wait, those on their way to the receiver not included."""
        return self._spans_in - self._spans_out

    def dropped(self) -> dict[str, int]:
        """Spans lost, by reason."""
        return {
            "queue_full": self._dropped_full,
            "export_failed": self._dropped_export,
            "format_error": self._format_errors,
            "shutdown": self._dropped_shutdown,
        }

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def stop(self, timeout_s: float, shut_down: Callable[[], None] = lambda: None) -> None:
        """Export what is queued, for at most `timeout_s`, then call `shut_down`, which should make
        an export under way give up; count what is left. Blocks."""
        self._stop.set()
        self._wake.set()
        is_started = self._worker.ident is not None
        if is_started:
            self._worker.join(timeout_s)
        self._abandoned = True
        shut_down()
        if is_started:
            self._worker.join(_STOP_WAIT_S)  # longer than that only a receiver that hangs takes
        self._dropped_shutdown += self.depth
        if self._worker.is_alive():
            self._dropped_shutdown += self._under_way

    # --- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(self._delay_s)
            self._wake.clear()
            self._export_all()
        self._export_all()

    def _export_all(self) -> None:
        while self._queue and not self._abandoned:
            views = self._take_batch()
            if views:
                self._send(views)

    def _take_batch(self) -> list[SpanView]:
        """The spans of as many traces as fit a batch, one trace at least."""
        views: list[SpanView] = []
        turn = 0
        while self._queue and not self._abandoned:
            count = 1 + len(self._queue[0][0].attempts)
            if views and len(views) + count > self._batch:
                break
            trace, redactor = self._queue.popleft()
            self._spans_out += count
            try:
                views += span_views(trace, redactor)
            except Exception:  # noqa: BLE001 - whatever it is, it must cost one trace, not the rest
                self._format_errors += count
            self._under_way = len(views)
            turn += 1
            if turn % _TRACES_PER_TURN == 0:
                time.sleep(_REST_S)
        return views

    def _send(self, views: list[SpanView]) -> None:
        try:
            lost = min(self._export(views), len(views))
        except Exception:  # noqa: BLE001 - an exporter's bug costs its batch, not the thread
            lost = len(views)
        self._under_way = 0
        self.failures += lost > 0
        self._dropped_export += lost
        self.exported += len(views) - lost
