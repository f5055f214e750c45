"""Figures of one tool."""

import pytest

from proxy.model.reason import Reason
from proxy.telemetry.tool_figures import BOUNDS_MS, ToolFigures


def with_buckets(**counts: int) -> ToolFigures:
    figures = ToolFigures()
    for place, count in counts.items():
        figures.buckets[int(place[1:])] = count
    return figures


@pytest.mark.parametrize(
    ("figures", "share", "expected"),
    [
        pytest.param(ToolFigures(), 0.5, None, id="no calls, no percentile"),
        pytest.param(with_buckets(b0=10), 0.5, 2.5, id="half way into the first bucket"),
        pytest.param(with_buckets(b0=10), 1.0, 5.0, id="its upper bound"),
        pytest.param(with_buckets(b0=50, b4=50), 0.5, 5.0, id="exactly at a bound"),
        pytest.param(with_buckets(b0=50, b4=50), 0.75, 75.0, id="half way from 50 to 100"),
        pytest.param(with_buckets(b13=1), 0.5, 60_000.0, id="beyond the last bound"),
    ],
)
def test_percentiles(figures: ToolFigures, share: float, expected: float | None) -> None:
    assert figures.percentile_ms(share) == expected


def test_buckets_add_up_to_all_calls() -> None:
    cumulated = with_buckets(b0=1, b3=2, b13=4).cumulated()
    assert len(cumulated) == len(BOUNDS_MS) + 1
    assert [cumulated[i] for i in (0, 3, -1)] == [("0.005", 1), ("0.05", 3), ("+Inf", 7)]


def test_refusals_and_errors_are_told_apart() -> None:
    figures = ToolFigures()
    figures.codes = {
        Reason.OK: 100, Reason.CLIENT_GONE: 10, Reason.TIMEOUT: 3, Reason.UPSTREAM_DNS: 2,
        Reason.INTERNAL_ERROR: 1, Reason.RATE_LIMITED: 20, Reason.TOOL_NOT_ALLOWED: 30,
        Reason.CIRCUIT_OPEN: 5,
    }  # fmt: skip
    summary = figures.summary()
    assert (summary["calls"], summary["errors"], summary["refusals"]) == (171, 6, 55)
