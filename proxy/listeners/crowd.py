"""How many clients there are, and whether there is room for one more."""

from collections import Counter
from typing import TYPE_CHECKING

from proxy.model.errors import Refusal
from proxy.model.reason import Reason

if TYPE_CHECKING:
    from proxy.listeners.front import FrontLimits

_RETRY_AFTER_MS = 1000


class Crowd:
    """Connections of clients by address, tunnels among them."""

    __slots__ = ("_by_address", "_total")

    def __init__(self) -> None:
        self._by_address: Counter[str] = Counter()
        self._total = 0

    def refuse(self, address: str, descriptor: int, limits: "FrontLimits") -> Refusal | None:
        """Why a connection of `address`, which is open file `descriptor`, cannot be taken in."""
        if self._total >= limits.max_connections:
            return _busy("The sidecar has too many connections.", "TOOLBOOTH_MAX_CONNECTIONS")
        if self._by_address[address] >= limits.max_per_client:
            return _busy(
                "The sidecar has too many connections of your address; close some.",
                "TOOLBOOTH_MAX_CONNECTIONS_PER_CLIENT",
            )
        if descriptor >= limits.descriptors.clients:
            return _busy("The sidecar has too many open files.", "RLIMIT_NOFILE")
        return None

    def enter(self, address: str) -> None:
        """One more."""
        self._total += 1
        self._by_address[address] += 1

    def leave(self, address: str) -> None:
        """One less. Only addresses with connections are remembered."""
        self._total -= 1
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]


def _busy(detail: str, rule: str) -> Refusal:
    return Refusal(Reason.BUSY, detail, rule, _RETRY_AFTER_MS)
