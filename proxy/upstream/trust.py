"""Who may vouch for an upstream: the system's roots, or the CAs in a tool's `trust_file`.

One TLS context for each file, made anew when the file changes. What is missing or cannot be read
trusts nobody: the attempt fails, it is never made unverified.
"""

import os
import ssl
from collections.abc import Callable

from cachetools import LRUCache

from proxy.model.errors import UpstreamFailed
from proxy.model.reason import Reason

MAX_FILES = 256

_Stamp = tuple[int, int, int]


class TrustStore:
    """`make` gives a context for the system's roots, or for those in the file it is handed; it may
    raise `OSError` (which `ssl.SSLError` is)."""

    def __init__(self, make: Callable[[str | None], ssl.SSLContext]) -> None:
        self._make = make
        self._system: ssl.SSLContext | None = None
        self._files: LRUCache[str, tuple[_Stamp, ssl.SSLContext]] = LRUCache(MAX_FILES)

    def context(self, trust_file: str | None) -> ssl.SSLContext:
        """The context that verifies against `trust_file` as it is now; None: the system's roots.
        Raises `UpstreamFailed(upstream_tls)`."""
        if trust_file is None:
            if self._system is None:
                self._system = self._make(None)  # loading them takes 20 ms: only if needed
            return self._system
        try:
            found = os.stat(trust_file)  # noqa: PTH116 - on the way of every call: no Path
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            known = self._files.get(trust_file)
            if known is not None and known[0] == stamp:
                return known[1]
            context = self._make(trust_file)
        except OSError as error:
            raise UpstreamFailed(
                Reason.UPSTREAM_TLS,
                f"The tool's trust_file cannot be used: {_words(error)}; tell the operator.",
                unsent=True,
            ) from None
        self._files[trust_file] = (stamp, context)
        return context

    def is_current(self, context: ssl.SSLContext | None, trust_file: str | None) -> bool:
        """Would a connection of today be verified as one with `context` was?"""
        try:
            return context is self.context(trust_file)
        except UpstreamFailed:
            return False


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "it holds no certificate in PEM"
    return os.strerror(error.errno).lower() if error.errno else "it cannot be read"
