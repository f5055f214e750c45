"""The last calls, and those to come, for the operator's console.

Holds records without bodies; redaction happens when somebody looks, so a call pays for one append.
Event loop only.
"""

import asyncio
from collections import deque
from typing import Final

from proxy.model.reason import Reason
from proxy.model.record import CallRecord
from proxy.telemetry.line import record_view
from proxy.telemetry.redact import Redactor

_LONGEST_PATH: Final = 2048
_MOST_SUBSCRIBERS: Final = 32

Entry = tuple[CallRecord, Redactor]


def without_bodies(record: CallRecord) -> CallRecord:
    """The record itself if it is light, else a copy without captures and with its path cut to
    2048: the recorder still needs the original."""
    if record.request is None and record.result is None and len(record.path) <= _LONGEST_PATH:
        return record
    copy = record.copy()
    copy.request = copy.result = None
    if len(copy.path) > _LONGEST_PATH:
        kept = copy.path[:_LONGEST_PATH]  # cut where the redactor can still tell the parts apart
        copy.path = kept.rpartition("&" if "?" in kept else "/")[0]
    return copy


class Subscription:
    """One live tail: a bounded queue of records. A reader that is too slow loses records, counted
    in `dropped`; it never slows a call."""

    __slots__ = ("_owner", "_queue", "dropped")

    def __init__(self, owner: "RecentCalls", limit: int) -> None:
        self._owner = owner
        self._queue: asyncio.Queue[Entry] = asyncio.Queue(limit)
        self.dropped = 0

    def offer(self, entry: Entry) -> None:
        """Queue a record, or count it as dropped."""
        if self._queue.full():
            self.dropped += 1
        else:
            self._queue.put_nowait(entry)

    async def next(self) -> dict[str, object]:
        """Wait for the next call and return its redacted view."""
        record, redactor = await self._queue.get()
        return record_view(record, redactor, with_captures=False)

    def close(self) -> None:
        """Stop receiving."""
        self._owner.forget(self)


class RecentCalls:
    """A ring of the last `limit` calls and the live tails fed from it. `turned_away` counts the
    tails there was no room for."""

    __slots__ = ("_dropped_before", "_ring", "_subscribers", "limit", "turned_away")

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self._ring: deque[Entry] = deque(maxlen=limit)
        self._subscribers: list[Subscription] = []
        self._dropped_before = 0  # by tails that are gone
        self.turned_away = 0

    def add(self, record: CallRecord, redactor: Redactor) -> None:
        """Remember a finished call and offer it to every tail."""
        entry = (without_bodies(record), redactor)
        self._ring.append(entry)
        for subscription in self._subscribers:
            subscription.offer(entry)

    def find(
        self,
        tool: str | None = None,
        code: Reason | None = None,
        run: str | None = None,
        limit: int = 100,
    ) -> list[dict[str, object]]:
        """Redacted views of the calls that match every given criterion, newest first, at most
        `limit`. `run` is compared with the run id as the agent said it."""
        found: list[dict[str, object]] = []
        for record, redactor in reversed(self._ring):
            if len(found) >= limit:
                break
            if tool is not None and record.tool != tool:
                continue
            if code is not None and record.code != code:
                continue
            if run is not None and (record.caller is None or record.caller.run_id != run):
                continue
            found.append(record_view(record, redactor, with_captures=False))
        return found

    def subscribe(self, limit: int = 256) -> Subscription | None:
        """A live tail from now on; None if there are 32 already. Whoever takes it closes it."""
        if len(self._subscribers) >= _MOST_SUBSCRIBERS:
            self.turned_away += 1
            return None
        subscription = Subscription(self, limit)
        self._subscribers.append(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """Stop feeding a tail; no harm if it is gone already."""
        if subscription in self._subscribers:
            self._subscribers.remove(subscription)
            self._dropped_before += subscription.dropped

    def dropped(self) -> int:
        """Records that tails were too slow for, since the start."""
        return self._dropped_before + sum(tail.dropped for tail in self._subscribers)
