"""What kind of end a call came to, by its code (pure).

The codes of this version have their meaning from one table; one of a later version is told by its
name as far as that goes, and never an error: a report reads old and new records side by side.
"""

from enum import StrEnum

from proxy.model.reason import MEANINGS, Reason
from proxy.telemetry.tool_figures import ERRORS


class Outcome(StrEnum):
    """One of four; they add up to all calls."""

    OK = "ok"
    REFUSED = "refused"  # somebody said no
    FAILED = "failed"  # nobody could say yes
    GONE = "gone"  # the client did not wait


class Stopper(StrEnum):
    """Who said no."""

    POLICY = "policy"
    SWITCH = "switch"
    BUDGET = "budget"
    LIMIT = "limit"  # not now
    OTHER = "other"  # the request itself, or the sidecar's own state
    UPSTREAM = "upstream"  # nobody: there was no answer
    CLIENT = "client"  # it did not wait


_STOPPERS: dict[Stopper, frozenset[Reason]] = {
    Stopper.POLICY: frozenset(
        (Reason.TOOL_UNKNOWN, Reason.TOOL_NOT_ALLOWED, Reason.ADDRESS_DENIED)
    ),
    Stopper.SWITCH: frozenset(
        (
            Reason.TOOL_DISABLED,
            Reason.WRITES_DISABLED,
            Reason.ALL_DISABLED,
            Reason.RUN_STOPPED,
            Reason.AGENT_DISABLED,
        )
    ),
    Stopper.LIMIT: frozenset((Reason.RATE_LIMITED, Reason.BUSY, Reason.CIRCUIT_OPEN)),
}
_BY_CODE = {str(reason): who for who, reasons in _STOPPERS.items() for reason in reasons}
_STOPPING = frozenset(str(reason) for reason, meaning in MEANINGS.items() if meaning.stops_run)
_FAILED = frozenset(str(reason) for reason in ERRORS)


def outcome_of(code: str) -> Outcome:
    """The end of a call with this code."""
    if code == "ok":
        return Outcome.OK
    if code == "client_gone":
        return Outcome.GONE
    if code in _FAILED or code.startswith("upstream_"):
        return Outcome.FAILED
    return Outcome.REFUSED


def stopper_of(code: str) -> Stopper:
    """Who said no with this code."""
    found = _BY_CODE.get(code)
    if found is not None:
        return found
    if ends_run(code):
        return Stopper.BUDGET
    outcome = outcome_of(code)
    if outcome is Outcome.GONE:
        return Stopper.CLIENT
    is_theirs = code.startswith("upstream_") or code == Reason.TIMEOUT
    return Stopper.UPSTREAM if is_theirs else Stopper.OTHER


def ends_run(code: str) -> bool:
    """Can no further call of the run succeed?"""
    return code in _STOPPING or code.startswith("max_")
