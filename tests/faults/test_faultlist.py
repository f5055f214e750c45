"""The list and its tests belong together, and the page says what they say."""

from proxy.model.reason import Reason
from tests.faults.faultlist import all_faults, counts, faults_page, titles
from tests.repo.tree import ROOT


def test_every_fault_is_there_once_and_has_tests() -> None:
    numbers = [fault.number for fault in all_faults()]
    assert numbers == list(range(1, 73))
    assert sorted(counts()) == numbers


def test_every_test_names_its_fault() -> None:
    """A title that is not `F01: ...` would count for nothing."""
    assert sum(counts().values()) == len(titles())
    assert len(set(titles())) == len(titles())


def test_every_code_is_a_code() -> None:
    assert {code for fault in all_faults() for code in fault.codes} - set(Reason) == set()


def test_the_page_is_what_the_list_says() -> None:
    """Mended by `make docs`."""
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert page == faults_page()
