"""The tables of `docs/redaction.md`, computed from the labelled corpus.

`python -m tests.repo.write_docs` writes them; `test_redaction_page.py` compares.
"""

from tests.telemetry.labelled import cases, score
from tests.telemetry.labelled.score import Score

BEGIN = "<!-- scores: begin, written by `python -m tests.repo.write_docs` -->"
END = "<!-- scores: end -->"
PARTS = (("worked on", cases.tuned), ("held out", cases.held_out), ("sealed", cases.sealed))
_FAMILIES = ("credentials", "personal data", "all")
_NOTHING = Score()


def scores_text() -> str:
    """The block between the two markers of the page."""
    results = {name: score.scores(part(), score.ours()) for name, part in PARTS}
    lines = [
        BEGIN,
        "",
        "| part | kinds | secrets | recall | look-alikes | false alarms | precision |",
    ]
    lines.append("| --- | --- | --: | --: | --: | --: | --: |")
    for name, result in results.items():
        lines += [f"| {name} | {family} | {_figures(result[family])} |" for family in _FAMILIES]
    every = [case for _, part in PARTS for case in part()]
    together = score.scores(every, score.ours())
    lines += ["", "By kind, the three parts together:", ""]
    lines.append("| kind | secrets | recall | look-alikes | false alarms | precision |")
    lines.append("| --- | --: | --: | --: | --: | --: |")
    lines += [
        f"| {kind} | {_figures(together.get(kind, _NOTHING))} |" for kind in score.kinds(every)
    ]
    return "\n".join([*lines, "", END])


def _figures(one: Score) -> str:
    return (
        f"{one.secrets} | {one.recall:.3f} | {one.look_alikes} | {one.false_alarms} "
        f"| {one.precision:.3f}"
    )


def with_scores(page: str) -> str:
    """`page` with the block between the markers written anew."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has lost its score markers")
    return before + scores_text() + after
