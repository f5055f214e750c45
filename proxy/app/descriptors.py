"""How many files the process may have open: as many as the system lets it."""

import resource

from proxy.guards.descriptors import Descriptors, share_out

_UNLIMITED = 1_000_000  # no kernel gives a process more by itself


def all_descriptors() -> Descriptors:
    """Raise the soft limit to the hard one and share it out."""
    return share_out(raised_limit())


def raised_limit() -> int:
    """The soft limit exists for programs that cannot handle large numbers (`select`)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return _UNLIMITED if hard == resource.RLIM_INFINITY else hard
