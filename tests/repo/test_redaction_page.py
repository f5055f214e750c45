"""`docs/redaction.md` shows what the redactor does today."""

import re

from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor
from tests.repo.redaction_page import with_scores
from tests.repo.tree import ROOT

_PAGE = (ROOT / "docs" / "redaction.md").read_text(encoding="utf-8")


def test_the_scores_on_the_page_are_the_scores_of_the_code() -> None:
    """Mended by `python -m tests.repo.write_docs`."""
    assert with_scores(_PAGE) == _PAGE


def test_the_markers_on_the_page_are_the_markers_of_the_code() -> None:
    kinds = {pattern.kind for pattern in Redactor(RedactRule())._matcher._patterns} | {"custom"}
    table = _PAGE.partition("## Markers")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`([a-z_]+)`", table))
    assert kinds <= listed
    assert listed - kinds <= {"cut", "depth", "redact", "pii", "patterns"}
