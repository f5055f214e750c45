"""Our certificate authority: a TLS server context for every host that is intercepted.

It comes into being at first need: from `TOOLBOOTH_CA_DIR`, or in memory, where a restart makes a
new one that no client trusts yet. Until then nothing of `cryptography` is imported. It never
vouches for a host that its own name constraints leave out: clients would refuse it anyway, and the
operator is told what to do instead.
"""

import os
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cachetools import TTLCache

from proxy.ca.names import Constraints, constraints_for, covers, intercepted_hosts
from proxy.model.clock import Clock, utc_timestamp
from proxy.policy.policy import Policy

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

    from proxy.ca.certificates import Ca

MAX_CONTEXTS = 1024
KEEP_CONTEXT_S = 86_400.0  # a leaf lives a week
_SOON_S = 30 * 86_400.0
_MOST_NAMED = 5


class CaView(NamedTuple):
    """What may be shown of the CA: everything but its key. `is_kept`: it survives a restart."""

    pem: str
    fingerprint: str
    not_after: str
    permitted: tuple[str, ...] | None  # None: any host
    is_kept: bool


class NoContextError(Exception):
    """There is no certificate for this host: one sentence for the operator."""


class Authority:
    """One for the process. `follow` and `context_for` belong to the event loop; `prepare` may run
    in any thread."""

    def __init__(self, directory: Path | None, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._hosts: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._ca: Ca | None = None
        self._constraints: Constraints | None = None
        self._leaf_key: EllipticCurvePrivateKey | None = None
        self._contexts: TTLCache[str, ssl.SSLContext] = TTLCache(
            MAX_CONTEXTS, KEEP_CONTEXT_S, timer=clock.wall
        )

    def follow(self, policy: Policy) -> None:
        """`policy` is in force from now on."""
        self._hosts = intercepted_hosts(policy)

    @property
    def is_needed(self) -> bool:
        """Some tool is intercepted."""
        return bool(self._hosts)

    def prepare(self) -> list[str]:
        """Load or make the CA, if the policy in force needs one; what the operator should know
        about it. Raises `NoContextError`."""
        if not self.is_needed:
            return []
        is_new = self._ca is None
        ca = self._ensure()
        notes = [] if not is_new else self._notes_on(ca)
        outside = sorted(host for host in self._hosts if not self._covers(host))
        if outside:
            shown = ", ".join(outside[:_MOST_NAMED])
            more = f" and {len(outside) - _MOST_NAMED} more" if len(outside) > _MOST_NAMED else ""
            notes.append(f"the CA may not vouch for {shown}{more}: {self._remedy()}")
        return notes

    def _notes_on(self, ca: "Ca") -> list[str]:
        notes = []
        if self._directory is None:
            notes.append(
                "the CA for interception is only in memory: clients distrust the next one after a "
                "restart; set TOOLBOOTH_CA_DIR to keep it"
            )
        if self._constraints is not None and self._constraints.is_open:
            notes.append("the CA for interception has no name constraints: guard its key")
        left_s = ca.certificate.not_valid_after_utc.timestamp() - self._clock.wall()
        if left_s < _SOON_S:
            notes.append(f"the CA for interception expires in {left_s / 86_400:.0f} days")
        return notes

    def _ensure(self) -> "Ca":
        with self._lock:
            if self._ca is None:
                self._ca = self._load_or_mint()
            return self._ca

    def _load_or_mint(self) -> "Ca":
        from proxy.ca.certificates import constraints_of, mint_ca
        from proxy.ca.keeping import CaError, load_ca, mint_into

        now_s = self._clock.wall()
        wanted = constraints_for(self._hosts)
        try:
            if self._directory is None:
                ca = mint_ca(wanted, now_s)
            else:
                ca = load_ca(self._directory, now_s) or mint_into(self._directory, wanted, now_s)
        except CaError as problem:
            raise NoContextError(str(problem)) from None
        self._constraints = constraints_of(ca.certificate)
        return ca

    def _covers(self, host: str) -> bool:
        return self._constraints is not None and covers(self._constraints, host)

    def _remedy(self) -> str:
        if self._directory is None:
            return "restart the sidecar, then give clients the new `toolbooth ca export`"
        return (
            f"remove ca.pem and ca.key from {self._directory}, restart the sidecar, then give "
            "clients the new `toolbooth ca export`"
        )

    def context_for(self, host: str) -> ssl.SSLContext:
        """The server's side of TLS for `host`, HTTP/1.1 only. Raises `NoContextError`."""
        context = self._contexts.get(host)
        if context is None:
            context = self._contexts[host] = self._make_context(host)
        return context

    def check(self, host: str) -> None:
        """Raises `NoContextError` where `context_for` would, but makes no certificate: a client
        that only asks for tunnels must not cost one for each name it thinks of."""
        ca = self._ensure()
        if not self._covers(host):
            raise NoContextError(
                f"The sidecar's CA may not vouch for {host}; the operator has to {self._remedy()}."
            )
        if ca.certificate.not_valid_after_utc.timestamp() <= self._clock.wall():
            raise NoContextError(
                f"The sidecar's CA has expired; the operator has to {self._remedy()}."
            )

    def _make_context(self, host: str) -> ssl.SSLContext:
        self.check(host)
        from proxy.ca.certificates import mint_leaf, new_leaf_key

        if self._leaf_key is None:
            self._leaf_key = new_leaf_key()
        pem = mint_leaf(self._ensure(), self._leaf_key, host, self._clock.wall())
        return _server_context(pem)

    def view(self) -> CaView | None:
        """What may be shown; None while nothing is intercepted. Raises `NoContextError`."""
        if self._ca is None and not self.is_needed:
            return None
        ca = self._ensure()
        return CaView(
            ca.pem.decode(),
            ca.fingerprint,
            utc_timestamp(ca.certificate.not_valid_after_utc.timestamp()),
            self._permitted(),
            self._directory is not None,
        )

    def _permitted(self) -> tuple[str, ...] | None:
        constraints = self._constraints
        if constraints is None or constraints.is_open:
            return None
        return (*(constraints.domains or ()), *map(str, constraints.networks or ()))


def _server_context(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    with _as_file(pem) as path:
        context.load_cert_chain(path)
    return context


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path to `content`, which holds a key, for a library that reads only files: memory where
    the system can do that, else a file of ours that is gone at once."""
    if hasattr(os, "memfd_create"):
        descriptor, path = os.memfd_create("toolbooth", os.MFD_CLOEXEC), ""
    else:
        descriptor, path = tempfile.mkstemp(prefix="toolbooth-")
    try:
        os.write(descriptor, content)
        yield path or f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
        if path:
            Path(path).unlink()
