"""The page of figures says what the last run of `make bench` found, and nothing else."""

import json
from typing import Any

import pytest

from bench.page import COST, PAGE, PICTURE, RESULT, figures_text, with_figures
from bench.picture import picture
from bench.targets import verdicts


def _whole() -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    return whole


def test_the_tables_are_those_of_the_figures() -> None:
    """Mended by `python -m bench.page`."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_figures(page, _whole(), json.loads(COST.read_text(encoding="utf-8"))) == page


def test_the_picture_is_that_of_the_figures() -> None:
    """Mended by `python -m bench.page`."""
    assert PICTURE.read_text(encoding="utf-8") == picture(_whole())


def test_every_target_is_judged() -> None:
    """A target falls out only where its part has not been run."""
    assert len(verdicts(_whole())) == 14
    assert verdicts({}) == []


def test_a_target_that_is_missed_is_said_to_be() -> None:
    whole = _whole()
    envoy = whole["calls"]["figures"]["get 32"]["envoy"]["cpu_us_per_request"]
    for share, is_met in ((0.74, True), (0.76, False)):
        own = {"cpu_us_per_request": share * envoy}
        whole["calls"]["figures"]["get 32"]["toolbooth"] |= own
        assert verdicts(whole)[0].is_met is is_met
    assert "| **no** |" in figures_text(whole, {})


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers"):
        with_figures("# Performance\n", {}, {})
