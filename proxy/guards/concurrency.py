"""How many calls of one tool may be under way at once.

Full means refused, never queued: a queue in front of a slow upstream only adds waiting to the
waiting, and every waiter holds a connection.
"""

from proxy.model.errors import Refusal
from proxy.model.reason import Reason

RETRY_AFTER_MS = 1000


class Slots:
    """Calls in flight by tool. A tool with none takes no room."""

    __slots__ = ("_in_flight",)

    def __init__(self) -> None:
        self._in_flight: dict[str, int] = {}

    def acquire(self, tool: str, limit: int) -> Refusal | None:
        """Take one of the `limit` places of `tool`, or say why not. None obliges to `release`."""
        count = self._in_flight.get(tool, 0)
        if count >= limit:
            return Refusal(
                Reason.BUSY,
                f"{count} calls of {tool} are under way, the most allowed at once; try again in a"
                " moment.",
                "tools.concurrency",
                RETRY_AFTER_MS,
            )
        self._in_flight[tool] = count + 1
        return None

    def release(self, tool: str) -> None:
        """Give the place back. Raises KeyError if none was taken: a place given back twice would
        let one call too many in, for ever."""
        count = self._in_flight[tool]
        if count == 1:
            del self._in_flight[tool]
        else:
            self._in_flight[tool] = count - 1

    def in_flight(self, tool: str) -> int:
        """Calls of `tool` under way now."""
        return self._in_flight.get(tool, 0)
