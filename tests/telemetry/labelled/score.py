"""Recall and precision of a redactor on labelled cases.

Nothing is gained by masking everything: a look-alike must come out byte for byte, and what stands
around a secret must stay.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote

from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor
from tests.telemetry.labelled.cases import PERSONAL, Case

_UNICODE = re.compile(r"\\u([0-9a-fA-F]{4})")
_LONGEST_VISIBLE = 8  # characters of a secret that may be seen in a row, at most one less

Show = Callable[[Case], str]


def shown_by(redactor: Redactor) -> Show:
    """What our redactor shows of a case, through the door that its medium comes by."""

    def show(case: Case) -> str:
        if case.media == "text" and not case.cut:
            return redactor.text(case.text)
        if case.media == "path":
            return redactor.path(case.text)
        if case.media.startswith("header "):
            name = case.media.removeprefix("header ")
            return str(redactor.fields([(name.encode(), case.text.encode())])[name])
        kind = "text/plain" if case.media == "text" else case.media
        return redactor.body(case.text.encode(), kind, "", case.cut)

    return show


def ours() -> Show:
    """The redactor as the sidecar has it without any setting."""
    return shown_by(Redactor(RedactRule(), body_limit_bytes=1 << 20))


def leaks(case: Case, shown: str) -> bool:
    """Eight characters in a row of the secret can be read (half of a short one), as they stand
    or under the escapes of JSON and URLs."""
    readable = _UNICODE.sub(lambda m: chr(int(m[1], 16)), shown)
    seen = "\0".join((shown, readable, unquote(shown)))
    for secret in case.secrets:
        size = min(_LONGEST_VISIBLE, max(4, len(secret) // 2))
        if any(secret[i : i + size] in seen for i in range(len(secret) - size + 1)):
            return True
    return False


def damaged(case: Case, shown: str) -> bool:
    """More than the secret is gone."""
    return any(part not in shown for part in case.keep) if case.secrets else shown != case.text


@dataclass(slots=True)
class Score:
    """Counts: secrets, those found, those found whose surroundings were hit too; look-alikes and
    those that were masked."""

    secrets: int = 0
    found: int = 0
    overshot: int = 0
    look_alikes: int = 0
    false_alarms: int = 0
    failures: list[tuple[Case, str]] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Of the secrets, the share of which nothing can be read."""
        return self.found / self.secrets if self.secrets else 1.0

    @property
    def precision(self) -> float:
        """Of all that was masked, the share that was right: a look-alike masked, or more masked
        than the secret, is wrong."""
        masked = self.found + self.false_alarms
        return (self.found - self.overshot) / masked if masked else 1.0

    def add(self, case: Case, shown: str) -> None:
        """Count one case."""
        wrong = damaged(case, shown)
        if not case.secrets:
            self.look_alikes += 1
            self.false_alarms += wrong
        else:
            leaked = leaks(case, shown)
            self.secrets += 1
            self.found += not leaked
            self.overshot += wrong and not leaked
            wrong |= leaked
        if wrong:
            self.failures.append((case, shown))


def scores(cases: Iterable[Case], show: Show) -> dict[str, Score]:
    """By kind, and under `credentials`, `personal data` and `all` together."""
    result: dict[str, Score] = {}
    for case in cases:
        family = "personal data" if case.kind in PERSONAL else "credentials"
        families = (case.kind, "all") if case.kind == "other" else (case.kind, family, "all")
        shown = show(case)
        for name in families:
            result.setdefault(name, Score()).add(case, shown)
    return result


def kinds(cases: Iterable[Case]) -> list[str]:
    """Every kind of a secret, in order of first appearance."""
    return list(Counter(case.kind for case in cases if case.secrets))
