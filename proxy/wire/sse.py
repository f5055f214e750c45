"""Server-sent events: bytes to events, and an event's data back to bytes (WHATWG HTML 9.2).

For whoever has to read a stream while it passes. Incremental, each byte looked at once, and
bounded: what is held is never more than one event of at most `limit_bytes`.
"""

import re
from typing import NamedTuple

_END_OF_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event. `raw`: its bytes, the empty line that ends it included. `data`: the value of its
    `data` fields, joined by line feeds; None where it has none (a comment, a retry)."""

    raw: bytes
    name: bytes
    data: bytes | None

    def with_data(self, data: bytes) -> bytes:
        """The event's bytes with other data (one line), its other fields and comments kept."""
        lines = _END_OF_LINE.split(self.raw.removeprefix(_BOM).rstrip(b"\r\n"))
        kept = [line for line in lines if line.partition(b":")[0] != b"data"]
        return b"\n".join([*kept, b"data: " + data, b"", b""])


class EventTooLargeError(Exception):
    """An event has more than `limit_bytes`. The reader's `held` is then all it was fed and did not
    give back."""


class EventReader:
    """Feed it the stream's bytes; it gives back whole events."""

    __slots__ = ("_held", "_limit_bytes", "_line_at", "_skip_lf")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held = bytearray()  # of the event that is not over yet
        self._line_at = 0  # where in it the line begins that is not over yet
        self._skip_lf = False  # a CR ended the last event: an LF that follows belongs to it

    @property
    def held(self) -> bytes:
        """What has come of an event that is not over; readers drop it if the stream ends here."""
        return bytes(self._held)

    @property
    def is_empty(self) -> bool:
        """No event is under way."""
        return not self._held

    def feed(self, data: bytes) -> list[Event]:
        """The events that are over now. Raises `EventTooLargeError`; the reader is then spent."""
        if self._skip_lf and data:
            self._skip_lf = False
            data = data.removeprefix(b"\n")
        events: list[Event] = []
        held = self._held
        searched = max(self._line_at, len(held) - 1)  # a CR at the end may be a CRLF's half
        held += data
        begin, line_at = 0, self._line_at
        while (end := _END_OF_LINE.search(held, searched)) is not None:
            is_cr_at_end = end.end() == len(held) and end[0] == b"\r"
            if end.start() == line_at:
                events.append(_event(bytes(held[begin : end.end()])))
                begin = end.end()
                self._skip_lf = is_cr_at_end
            elif is_cr_at_end:
                break
            line_at = searched = end.end()
        if len(held) - begin > self._limit_bytes:
            raise EventTooLargeError
        del held[:begin]
        self._line_at = line_at - begin
        return events


def _event(raw: bytes) -> Event:
    name, data = b"", []
    for line in _END_OF_LINE.split(raw.removeprefix(_BOM)):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return Event(raw, name, b"\n".join(data) if data else None)
