"""Which open files are for whom: clients run out first, upstreams next, operators never.

The system gives out the lowest free number, so the number of a new connection says that at least
so many files are open: one comparison, and nothing has to be counted.
"""

import sys
from typing import NamedTuple

RESERVED = 192  # the listeners, the log, look-ups, and what both operator ports may hold


class Descriptors(NamedTuple):
    """The first numbers that are not for a client's connection, not even for saying no to one,
    and not for a connection to an upstream."""

    clients: int = sys.maxsize
    answers: int = sys.maxsize
    upstreams: int = sys.maxsize


def share_out(limit: int) -> Descriptors:
    """Three quarters of what is not reserved are for clients, as a call takes two descriptors and
    a connection without one takes one. Those who are told to come back hold theirs for a moment,
    so they have a bound too. A small limit reserves a quarter of it."""
    upstreams = limit - min(RESERVED, limit // 4)
    clients = upstreams - upstreams // 4
    return Descriptors(clients, (clients + upstreams) // 2, upstreams)
