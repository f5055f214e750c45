"""What the audit of the locked packages makes of pip-audit's answer; asks nobody."""

import pytest

from tests.repo.audit import Audit, read_report, verdict

_FLAW = {"id": "PYSEC-1", "fix_versions": ["1.1"], "aliases": [], "description": ""}
REPORT = {
    "dependencies": [
        {"name": "good", "version": "1.0", "vulns": []},
        {"name": "bad", "version": "1.0", "vulns": [_FLAW]},
        {"name": "unknown", "skip_reason": "Dependency not found on PyPI"},
    ],
    "fixes": [],
}


def test_what_a_report_says() -> None:
    assert read_report(REPORT) == Audit(2, ["bad 1.0: PYSEC-1, fixed in 1.1"], ["unknown"])


@pytest.mark.parametrize(
    ("audit", "alone", "in_check", "words"),
    [
        pytest.param(Audit(9, [], []), 0, 0, "9 packages, nothing known", id="clean"),
        pytest.param(Audit(9, ["bad 1.0: X"], []), 1, 1, "bad 1.0: X", id="vulnerable"),
        pytest.param(Audit(8, ["bad 1.0: X"], ["u"]), 1, 1, "NOT AUDITED: u", id="both"),
        pytest.param(Audit(8, [], ["u"]), 2, 0, "NOT AUDITED: u", id="one nobody knows"),
        pytest.param(Audit(0, [], ["u"]), 2, 0, "no advisory service answered", id="none known"),
        pytest.param(None, 2, 0, "no advisory service answered", id="no answer"),
    ],
)
def test_what_was_not_audited_is_never_called_clean(
    audit: Audit | None, alone: int, in_check: int, words: str
) -> None:
    code, lines = verdict({"requirements.txt": audit}, where_reachable=False)
    assert code == alone
    assert any(words in line for line in lines)
    assert ("nothing known" in "".join(lines)) is (words == "9 packages, nothing known")
    assert verdict({"requirements.txt": audit}, where_reachable=True) == (in_check, lines)
