"""Bytes that leave when a turn of the event loop is over.

A turn reads from many connections, and what it writes wakes whoever reads that: written one by one,
a client or an upstream is woken for each message, handles it and falls asleep again before the next
one comes. Written together it is woken once. Why that is worth it, and what it costs:
docs/decisions/0010-writes-at-the-end-of-a-turn.md.
"""

import asyncio
from typing import Final

MOST_HELD_BYTES: Final = 16 * 1024  # a larger piece is written at once


class Outbox:
    """One for the transports of one event loop, or of some of its connections. Whoever does
    anything else to one of them than writing (closes it, gives it away) calls `flush` before."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.Transport, bytes]] = []

    def write(
        self, transport: asyncio.Transport, data: bytes, loop: asyncio.AbstractEventLoop
    ) -> None:
        """Write, in order with everything else that goes through here; bytes for a transport that
        is closing by then are dropped."""
        if len(data) > MOST_HELD_BYTES:
            self.flush()
            if not transport.is_closing():
                transport.write(data)
            return
        if not self._waiting:
            loop.call_soon(self.flush)
        self._waiting.append((transport, data))

    def write_together(
        self, transport: asyncio.Transport, head: bytes, content: bytes | memoryview,
        loop: asyncio.AbstractEventLoop,
    ) -> None:  # fmt: skip
        """The same with a head and its content. Much content is not copied behind the head."""
        if len(content) <= MOST_HELD_BYTES:
            self.write(transport, head + content, loop)
            return
        self.flush()
        if not transport.is_closing():
            transport.writelines((head, content))

    def close(self, transport: asyncio.Transport) -> None:
        """Close it behind what was written."""
        try:
            self.flush()
        finally:
            transport.close()

    def abort(self, transport: asyncio.Transport) -> None:
        """Close it at once; what was written may have left, as it may in any case."""
        try:
            self.flush()
        finally:
            transport.abort()

    def flush(self) -> None:
        """Write what waits, now. An error of one is raised; the others behind it leave in a turn of
        their own."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        done = 0
        try:
            for transport, data in waiting:
                done += 1
                if not transport.is_closing():
                    transport.write(data)
        finally:
            if done < len(waiting):
                self._waiting = waiting[done:] + self._waiting
                asyncio.get_running_loop().call_soon(self.flush)
