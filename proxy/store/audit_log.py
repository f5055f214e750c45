"""The audit log as the running process uses it: entries in, from the event loop; lines on the disk,
by one thread.

Three ways in, by what is to happen when the disk is full. An act that can wait is written before it
is done, or not done (`require`). What is done in any case, a kill before all, is kept in memory
until it can be written (`note`). What anybody can cause is let go and counted (`offer`). What was
lost is told in the log itself, as soon as there is one again.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from proxy.model.clock import Clock, utc_timestamp
from proxy.store.audit_chain import Entry, Head
from proxy.store.audit_check import CHECKPOINT
from proxy.store.audit_file import AuditFile
from proxy.store.outcome import OnEnd, expect_outcome
from proxy.store.store import StoreError

RETRY_S = 1.0
WAIT_S = 5.0  # an operator's command gives up after ten
SETTLE_S = 2.0  # a kill has taken hold already
QUEUE_LIMIT = 1_000  # entries that wait for the disk
CHECKPOINT_ENTRIES = 100
CHECKPOINT_S = 600.0


class _Way(Enum):
    """What happens to an entry that cannot be written now."""

    REFUSED = "its act is not done"
    KEPT = "tried again"
    DROPPED = "counted"


@dataclass(slots=True, eq=False)
class _Waiting:
    entry: Entry
    way: _Way
    on_end: OnEnd | None = None
    is_given_up: bool = False  # whoever asked for it waits no longer
    is_over: bool = False
    error: StoreError | None = None


class AuditLog:
    """Writes to `file` in the background, in the order entries came in.

    `report` is told, in the writer's thread, one sentence when writing begins to fail and one when
    it works again; `anchor` every checkpoint, so that it can be noted where whoever can write to
    the file cannot. `written`, `lost` and `errors` count entries, entries and failed attempts.
    """

    def __init__(
        self, file: AuditFile, clock: Clock, report: Callable[[str], None],
        anchor: Callable[[Head], None] = lambda _: None, *,
        retry_s: float = RETRY_S, limit: int = QUEUE_LIMIT,
    ) -> None:  # fmt: skip
        self._file = file
        self._clock = clock
        self._report = report
        self._anchor = anchor
        self._retry_s = retry_s
        self._limit = limit
        self._wake = threading.Condition()
        self._queue: deque[_Waiting] = deque()
        self._at_work = 0  # entries in the writer's hands
        self._has_news = False  # something came in since the last attempt
        self._is_stopping = False
        self._is_failing = False
        self._untold = 0  # lost, and not yet told in the log
        self._has_started = False
        self._since_checkpoint = 0
        self._checkpoint_s = clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="toolbooth-audit", daemon=True)
        self.written = 0
        self.lost = 0
        self.errors = 0

    @property
    def pending(self) -> int:
        """Entries that wait for the disk."""
        return len(self._queue) + self._at_work

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def note(self, entry: Entry) -> None:
        """Something that happened, whatever the disk says. Never waits."""
        self._put(_Waiting(entry, _Way.KEPT))

    def offer(self, entry: Entry) -> None:
        """Something that may be let go and counted. Never waits."""
        if self._is_failing:
            with self._wake:
                self._lose(1)
            return
        self._put(_Waiting(entry, _Way.DROPPED))

    async def require(self, entry: Entry) -> None:
        """Return once `entry` is on the disk. Raises `StoreError` if it is not, or not in time;
        should the disk take it after all, a second entry says that the act was not done."""
        await self._written(_Waiting(entry, _Way.REFUSED), WAIT_S)

    async def settle(self) -> bool:
        """Wait until what was noted so far was written, or tried once; False: it is still kept in
        memory."""
        try:
            await self._written(_Waiting({}, _Way.REFUSED), SETTLE_S)
        except StoreError:
            return False
        return True

    def stop(self, timeout_s: float) -> bool:
        """Write what is left and a last checkpoint, trying once, and end. False if not all of it
        was written in time."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        self._file.close()
        return not self._queue and not self._is_failing

    async def _written(self, item: _Waiting, wait_s: float) -> None:
        outcome, item.on_end = expect_outcome()
        if not self._put(item):
            raise StoreError(f"{self._limit} entries of the audit log wait for the disk already.")
        try:
            async with asyncio.timeout(wait_s):
                error = await outcome
        except TimeoutError:
            late = StoreError(f"the disk has not answered for {wait_s:g} s.")
            error = late if self._give_up(item) else item.error
        except asyncio.CancelledError:
            if not self._give_up(item):
                self._note_not_done(item)
            raise
        if error is not None:
            raise error

    def _put(self, item: _Waiting) -> bool:
        with self._wake:
            # What anybody can cause leaves room for what was done.
            limit = self._limit - (self._limit // 4 if item.way is _Way.DROPPED else 0)
            if self.pending >= limit:
                if item.way is not _Way.REFUSED:
                    self._lose(1)
                return False
            self._queue.append(item)
            self._has_news = True
            self._wake.notify()
            return True

    def _give_up(self, item: _Waiting) -> bool:
        """False: it is over already, see its `error`."""
        with self._wake:
            if item.is_over:
                return False
            item.is_given_up = True
            with suppress(ValueError):  # the writer has it already, and will look
                self._queue.remove(item)
            return True

    def _lose(self, count: int) -> None:
        self.lost += count
        self._untold += count

    def _run(self) -> None:
        is_last = False
        while not is_last:
            with self._wake:
                self._wake.wait_for(self._is_due, self._retry_s)
                is_last = self._is_stopping
                items = list(self._queue)
                self._queue.clear()
                self._at_work = len(items)
                self._has_news = False
                untold = self._untold
            self._write(items, untold, is_last=is_last)
            if is_last and self._queue and not self._is_failing:
                is_last = False  # what came in meanwhile

    def _is_due(self) -> bool:
        return self._is_stopping or self._has_news or (bool(self._queue) and not self._is_failing)

    def _write(self, items: list[_Waiting], untold: int, *, is_last: bool) -> None:
        entries = [item.entry for item in items if item.entry]
        if untold:
            entries.append(self._line("lost", count=untold))
        checkpoint = self._checkpoint(len(entries), is_last=is_last)
        error = None
        if entries or checkpoint is not None:
            error = self._append(entries, checkpoint)
            self._tell(error)
        if error is None:
            self.written += len(entries)
        self._end(items, 0 if error else untold, error)

    def _append(self, entries: list[Entry], checkpoint: Entry | None) -> StoreError | None:
        try:
            self._file.append(entries if checkpoint is None else [*entries, checkpoint])
        except StoreError as error:
            self.errors += 1
            return error
        self._since_checkpoint += len(entries)
        if checkpoint is not None:
            self._since_checkpoint, self._checkpoint_s = 0, self._clock.monotonic()
            self._has_started = True
            self._anchor(self._file.head)
        return None

    def _checkpoint(self, coming: int, *, is_last: bool) -> Entry | None:
        count = self._since_checkpoint + coming
        age_s = self._clock.monotonic() - self._checkpoint_s
        if is_last:
            return self._line(CHECKPOINT, why="stop", count=count)
        if count and not self._has_started:
            return self._line(CHECKPOINT, why="start", count=count)
        if count >= CHECKPOINT_ENTRIES or (count and age_s >= CHECKPOINT_S):
            return self._line(CHECKPOINT, why="regular", count=count)
        return None

    def _line(self, action: str, **more: object) -> Entry:
        return {"ts": self._ts(), "event": "audit", "action": action, **more}

    def _ts(self) -> str:
        return utc_timestamp(self._clock.wall())

    def _end(self, items: list[_Waiting], told: int, error: StoreError | None) -> None:
        """After an attempt. What failed and is kept goes back to the front, in order; those who
        wait are told."""
        kept = [item for item in items if error and item.way is _Way.KEPT]
        with self._wake:
            self._untold -= told
            if error:
                self._lose(sum(item.way is _Way.DROPPED for item in items))
            self._queue.extendleft(reversed(kept))
            self._at_work = 0
            for item in items:
                item.is_over, item.error = True, error
        for item in items:
            if self._file.is_unsure if error else item.is_given_up:
                self._note_not_done(item)
            if item.on_end is not None:
                item.on_end(error)

    def _note_not_done(self, item: _Waiting) -> None:
        """The log may say of an act that was refused that it was done."""
        is_told = item.error is None or self._file.is_unsure
        if item.entry and item.way is _Way.REFUSED and is_told:
            self.note({**item.entry, "ts": self._ts(), "outcome": "not_done"})

    def _tell(self, error: StoreError | None) -> None:
        if error is not None and not self._is_failing:
            self._report(f"the audit log is not being written: {error}")
        elif error is None and self._is_failing:
            self._report("the audit log is being written again")
        self._is_failing = error is not None
