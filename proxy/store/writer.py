"""The one thread that writes. What waits for it is merged, so it cannot pile up.

A batch that fails stays first in line and is tried again, under whatever came meanwhile. Switches
are written on their own and before everything else: a budget that cannot be written must not hold
up a kill.
"""

import threading
from collections.abc import Callable

from proxy.model.clock import Clock
from proxy.store.outcome import OnEnd
from proxy.store.store import Batch, Store, StoreError

RETRY_S = 1.0


class Writer:
    """Writes batches to `store` in the background, in order, each state of an entry at most once.

    `report` is told, in this thread, one sentence when writing begins to fail and one when it
    works again. `errors` counts failed attempts.
    """

    def __init__(
        self, store: Store, clock: Clock, report: Callable[[str], None], retry_s: float = RETRY_S
    ) -> None:
        self._store = store
        self._clock = clock
        self._report = report
        self._retry_s = retry_s
        self._wake = threading.Condition()
        self._pending = Batch()
        self._waiting: list[OnEnd] = []
        # Since when something of what waits, and of what is being written, is unwritten; monotonic.
        self._pending_s: float | None = None
        self._writing_s: float | None = None
        self._is_stopping = False
        self._is_failing = False
        self._thread = threading.Thread(target=self._run, name="toolbooth-state", daemon=True)
        self.errors = 0

    @property
    def lag_s(self) -> float:
        """How long the oldest unwritten change may have been so; 0 if there is none."""
        oldest_s = self._oldest_s()
        return 0.0 if oldest_s is None else max(0.0, self._clock.monotonic() - oldest_s)

    def _oldest_s(self) -> float | None:
        with self._wake:
            return _earlier(self._writing_s, self._pending_s)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, batch: Batch, on_end: OnEnd | None = None, since_s: float | None = None) -> None:
        """Have `batch` written soon; never waits for the disk. `on_end` is called in the writer's
        thread with the outcome of the next attempt to write the switches, which is made at once
        even if earlier ones failed. `since_s`: when the first change in it was made at the
        earliest, monotonic; now, unless given."""
        with self._wake:
            self._pending.absorb(batch)
            if on_end is not None:
                self._waiting.append(on_end)
            since_s = self._clock.monotonic() if since_s is None else since_s
            self._pending_s = _earlier(self._pending_s, since_s)
            self._wake.notify()

    def stop(self, timeout_s: float) -> bool:
        """Write what is left, trying once, and end. False if it was not all written in time."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive() and not self._pending

    @property
    def has_ended(self) -> bool:
        """The thread is over, and the store nobody's."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        is_last = False
        while not is_last:
            with self._wake:
                self._wake.wait_for(self._is_due, None if not self._is_failing else self._retry_s)
                is_last = self._is_stopping
                batch, self._pending = self._pending, Batch()
                waiting, self._waiting = self._waiting, []
                self._writing_s = _earlier(self._writing_s, self._pending_s)  # one failed, maybe
                self._pending_s = None
            error = self._write(batch, waiting)
            with self._wake:
                batch.absorb(self._pending)
                self._pending = batch
                if error is None:
                    self._writing_s = None
            self._tell(error)

    def _is_due(self) -> bool:
        if self._is_stopping or self._waiting:
            return True
        return len(self._pending) > 0 and not self._is_failing

    def _write(self, batch: Batch, waiting: list[OnEnd]) -> StoreError | None:
        """Write and empty `batch`; what failed stays in it."""
        try:
            if batch.switches is not None:
                self._store.write(Batch(switches=batch.switches))
                batch.switches = None
            while waiting:
                waiting.pop()(None)
            if batch:
                self._store.write(batch)
        except StoreError as error:
            self.errors += 1
            for on_end in waiting:
                on_end(error)
            return error
        batch.runs, batch.agents, batch.policies = {}, {}, []
        return None

    def _tell(self, error: StoreError | None) -> None:
        if error is not None and not self._is_failing:
            self._report(f"state is not being kept, a restart would forget it: {error}")
        elif error is None and self._is_failing:
            self._report("state is being kept again")
        self._is_failing = error is not None


def _earlier(one_s: float | None, other_s: float | None) -> float | None:
    return min((at_s for at_s in (one_s, other_s) if at_s is not None), default=None)
