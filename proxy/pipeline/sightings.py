"""What the clients that ask the probe host show of themselves, remembered for a short while.

`toolbooth doctor` sends each client of a container to the probe host with a nonce of its own, and
then asks what was seen of that nonce. It believes no client about itself: only what arrived here
has gone through the booth.
"""

from dataclasses import dataclass, field

from cachetools import TTLCache

from proxy.model.call import Caller
from proxy.model.clock import Clock

MAX_NONCES = 1024
KEEP_S = 120.0


@dataclass(slots=True)
class Sighting:
    """Who came with one nonce. Keys of `callers`: `http` for a request in the clear, `tunnel` for
    a CONNECT to port 443, `https` for a request read inside such a tunnel."""

    user_agent: str = ""
    callers: dict[str, Caller] = field(default_factory=dict)


class Sightings:
    """Bounded in number and time. A full table takes no new nonce, so that whoever floods it
    cannot make a doctor who is at work believe that a client went around."""

    def __init__(self, clock: Clock) -> None:
        self._seen: TTLCache[str, Sighting] = TTLCache(MAX_NONCES, KEEP_S, timer=clock.monotonic)

    def __len__(self) -> int:
        return len(self._seen)

    def note(self, nonce: str, way: str, caller: Caller, user_agent: str) -> bool:
        """Someone came with `nonce`; False if there is no room to remember it."""
        sighting = self._seen.get(nonce)
        if sighting is None:
            if len(self._seen) >= MAX_NONCES:
                return False
            sighting = self._seen[nonce] = Sighting()
        sighting.callers[way] = caller
        sighting.user_agent = user_agent or sighting.user_agent
        return True

    def of(self, nonce: str) -> Sighting:
        """What was seen; empty where nothing was."""
        return self._seen.get(nonce) or Sighting()
