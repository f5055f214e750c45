"""What an audit entry says about an act of an operator, done or refused.

Entries of acts that were done are never dropped. Those of refused attempts are limited in rate,
since anybody who reaches the port can cause them; what is left out is counted in the next one.
"""

from collections.abc import Callable
from typing import Protocol
from urllib.parse import unquote

from proxy.control.access import NOBODY, Visitor
from proxy.control.problem import Problem
from proxy.model.clock import Clock, utc_timestamp
from proxy.telemetry.visible import visible_line

Entry = dict[str, object]
Audit = Callable[[Entry], None]

REFUSED_PER_SECOND = 4
_LONGEST_KEY = 300
_ACTS = (
    ("PUT", "/v1/switches/", "switch.engage"),
    ("DELETE", "/v1/switches/", "switch.release"),
    ("PATCH", "/v1/runs/", "run.limit"),
    ("DELETE", "/v1/runs/", "run.forget"),
    ("PUT", "/v1/policy", "policy.put"),
    ("PATCH", "/v1/observability", "observability.raise"),
    ("DELETE", "/v1/observability", "observability.reset"),
)


class Trail(Protocol):
    """Where entries go. What becomes of an act whose entry cannot be written is the choice of the
    way in."""

    def note(self, entry: Entry) -> None:
        """Something that was done whatever happens to the entry: it is kept until it can be
        written. Never waits, never fails."""

    def offer(self, entry: Entry) -> None:
        """A refused attempt, which may be dropped and counted. Never waits, never fails."""

    async def require(self, entry: Entry) -> None:
        """Return once the entry is safe; only then may its act be done. Raises `StoreError`."""

    async def settle(self) -> bool:
        """Wait a little for what was noted to be safe; False: it is not yet."""


def audit_entry(
    wall_s: float, visitor: Visitor | None, action: str, key: str, reason: str, outcome: str
) -> dict[str, object]:
    """`outcome` is `done` or the code of the refusal. `actor` is what the visitor calls itself,
    `role` what it has proven. `reason` is the operator's; a refused attempt has none that anybody
    checked."""
    return {
        "ts": utc_timestamp(wall_s),
        "event": "admin",
        "actor": visitor.actor if visitor else NOBODY,
        "role": visitor.role.value if visitor else NOBODY,
        "action": action,
        "key": key,
        "reason": reason,
        "outcome": outcome,
    }


class RefusedAttempts:
    """Hands refused attempts to the audit, at most `REFUSED_PER_SECOND`. `suppressed_total`
    counts the rest."""

    def __init__(self, audit: Audit, clock: Clock) -> None:
        self._audit = audit
        self._clock = clock
        self._window_started_s = float("-inf")
        self._in_window = 0
        self._suppressed = 0
        self.suppressed_total = 0

    def tell(self, visitor: Visitor | None, method: str, target: str, problem: Problem) -> None:
        """One attempt of `method` on the raw `target`; its query is left out, it may hold
        anything."""
        now_s = self._clock.monotonic()
        if now_s - self._window_started_s >= 1.0:
            self._window_started_s, self._in_window = now_s, 0
        self._in_window += 1
        if self._in_window > REFUSED_PER_SECOND:
            self._suppressed += 1
            self.suppressed_total += 1
            return
        action, key = _act_of(method, target.partition("?")[0])
        entry = audit_entry(self._clock.wall(), visitor, action, key, "", outcome=problem.code)
        entry["detail"] = problem.detail
        if self._suppressed:
            entry["suppressed"] = self._suppressed
            self._suppressed = 0
        self._audit(entry)


def _act_of(method: str, path: str) -> tuple[str, str]:
    for verb, prefix, action in _ACTS:
        if method == verb and path.startswith(prefix):
            kind = "run:" if action.startswith("run.") else ""
            return action, _shown(kind + unquote(path.removeprefix(prefix)))
    return _shown(method), _shown(path)


def _shown(text: str) -> str:
    return visible_line(text[:_LONGEST_KEY])
