"""The checklist and its tests belong together, and the page says what they say."""

from tests.conformance.checklist import CHECKLIST, conformance_page, counts, titles
from tests.repo.tree import ROOT


def test_every_requirement_is_there_once_and_has_tests() -> None:
    numbers = [requirement.number for requirement in CHECKLIST]
    assert numbers == list(range(1, 72))
    assert sorted(counts()) == numbers


def test_every_test_names_its_requirement() -> None:
    """A title that is not `R01: ...` would count for nothing."""
    assert sum(counts().values()) == len(titles())
    assert len(set(titles())) == len(titles())


def test_a_deviation_has_a_reason() -> None:
    deviations = [requirement for requirement in CHECKLIST if requirement.deviation]
    assert all(len(requirement.deviation.split()) > 5 for requirement in deviations)
    assert not any(requirement.does for requirement in deviations)


def test_the_page_is_what_the_checklist_says() -> None:
    """Mended by `make docs`."""
    page = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert page == conformance_page()
