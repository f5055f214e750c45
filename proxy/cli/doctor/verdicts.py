"""What the doctor can say of one thing, and what it makes of all of it."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from proxy.cli.exit_codes import DONE, FAILED


class Verdict(StrEnum):
    """`bypass`: goes around the booth, or can. `broken`: reaches nothing, though it should.
    `warning`: goes through, but not as it should. `unchecked`: is there, but cannot be tried."""

    OK = "ok"
    WARNING = "warning"
    BYPASS = "bypass"
    BROKEN = "broken"
    UNCHECKED = "unchecked"
    NOT_FOUND = "not found"


class Group(StrEnum):
    """What a check is about, in the order in which they are shown."""

    VARIABLES = "variables"
    SIDECAR = "sidecar"
    NO_PROXY = "no_proxy"
    CLIENTS = "clients"
    EGRESS = "egress"


class Check(NamedTuple):
    """One thing looked at. `detail` is a sentence; `lines` are what to set, ready for a shell."""

    group: Group
    name: str
    verdict: Verdict
    detail: str
    lines: tuple[str, ...] = ()


def overall(checks: Iterable[Check]) -> Verdict:
    """The worst of them, bypass first: `ok`, `bypass` or `broken`."""
    verdicts = {check.verdict for check in checks}
    return next((v for v in (Verdict.BYPASS, Verdict.BROKEN) if v in verdicts), Verdict.OK)


def exit_code(verdict: Verdict) -> int:
    """0 only where nothing bypasses and nothing that was found is broken."""
    return DONE if verdict is Verdict.OK else FAILED


def listing(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = list(names) or [""]
    return f"{', '.join(most)} and {last}" if most else last
