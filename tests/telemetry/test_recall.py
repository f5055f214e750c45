"""Recall and precision on the labelled corpus, with floors that neither a redactor of everything
nor one of nothing can hold."""

import re

import pytest

from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor
from tests.telemetry.labelled import cases, score
from tests.telemetry.labelled.cases import Case
from tests.telemetry.labelled.score import Score

# Part, its cases, and the floors: recall of credentials and of personal data, precision.
PARTS = [
    pytest.param(cases.tuned(), 0.98, 0.98, 0.98, id="worked on"),
    pytest.param(cases.held_out(), 0.97, 0.95, 0.97, id="held out"),
    pytest.param(cases.sealed(), 0.88, 0.95, 0.97, id="sealed"),
]


def _report(result: dict[str, Score]) -> str:
    return "\n".join(
        f"{name:20} {one.found}/{one.secrets} recall {one.recall:.3f}  "
        f"{one.false_alarms}/{one.look_alikes} alarms  precision {one.precision:.3f}"
        for name, one in result.items()
    )


@pytest.mark.parametrize(("part", "credentials", "personal", "precision"), PARTS)
def test_recall_and_precision_hold_their_floors(
    part: tuple[Case, ...], credentials: float, personal: float, precision: float
) -> None:
    result = score.scores(part, score.ours())
    print(_report(result))  # noqa: T201 - shown with -s, and when a floor breaks
    assert result["credentials"].recall >= credentials
    assert result["personal data"].recall >= personal
    assert result["all"].precision >= precision
    assert result["all"].overshot <= 0.01 * result["all"].secrets


def test_the_corpus_is_large_and_of_all_kinds() -> None:
    parts = (cases.tuned(), cases.held_out(), cases.sealed())
    every = [case for part in parts for case in part]
    assert sum(1 for case in every if case.secrets) >= 800
    assert sum(1 for case in every if not case.secrets) >= 800
    assert len(score.kinds(every)) >= 45
    media = {case.media.partition(" ")[0] for case in every}
    assert {"text", "path", "header", "application/json", "text/event-stream"} <= media


def test_the_parts_share_no_text() -> None:
    texts = [{case.text for case in part.values[0]} for part in PARTS]  # type: ignore[union-attr]
    assert texts[0] & texts[1] == texts[0] & texts[2] == texts[1] & texts[2] == set()


@pytest.mark.parametrize("part", [part.values[0] for part in PARTS])
def test_the_labels_are_sound(part: tuple[Case, ...]) -> None:
    """As the text stands, every secret can be read and all the surroundings are there."""
    unsound = [
        case
        for case in part
        if case.secrets and (not score.leaks(case, case.text) or score.damaged(case, case.text))
    ]
    assert unsound == []


def test_masking_nothing_recalls_nothing() -> None:
    result = score.scores(cases.tuned(), lambda case: case.text)
    assert result["all"].recall == 0.0
    assert result["all"].false_alarms == 0


def test_masking_everything_is_not_precise() -> None:
    result = score.scores(cases.tuned(), lambda _: "[redacted]")
    assert result["all"].recall == 1.0
    assert result["all"].precision < 0.1


def test_masking_every_word_with_a_digit_is_not_precise() -> None:
    """A cheap way to a high recall."""

    def show(case: Case) -> str:
        return re.sub(r"\S*[0-9]\S*", "[redacted]", case.text)

    assert score.scores(cases.tuned(), show)["all"].precision < 0.7


def test_a_redactor_without_its_patterns_falls_through_the_floor() -> None:
    redactor = Redactor(RedactRule(), 1 << 20)
    redactor._matcher._patterns = tuple(
        p._replace(check=lambda _: ()) for p in redactor._matcher._patterns
    )
    result = score.scores(cases.tuned(), score.shown_by(redactor))
    assert result["credentials"].recall < 0.5


def test_a_prefix_of_a_secret_that_stays_is_a_leak() -> None:
    case = Case("token", "text", "abcdefghij", ("abcdefghijklmnopqrst",))
    assert score.leaks(case, "is abcdefgh[redacted]")
    assert not score.leaks(case, "is abcdefg[redacted]")
    assert score.leaks(case, "is abcd%65fgh")
