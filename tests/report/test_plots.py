import re

import pytest

from proxy.report.outcome import Outcome
from proxy.report.plots import bars, calls_over_time, durations
from proxy.report.summary import Chart


def counts(ok: int = 0, refused: int = 0, failed: int = 0, gone: int = 0) -> dict[Outcome, int]:
    return dict(zip(Outcome, (ok, refused, failed, gone), strict=True))


def rects(markup: str, kind: str) -> list[tuple[float, float]]:
    """(y, height) of the bars of a kind."""
    found = re.findall(
        rf'<rect class="{kind}" x="[\d.]+" y="([\d.]+)" \S+ height="([\d.]+)"', markup
    )
    return [(float(y), float(height)) for y, height in found]


def test_outcomes_are_stacked_to_the_scale() -> None:
    plot = calls_over_time(Chart(60, [(0.0, counts(ok=30, refused=10)), (60.0, counts())], []))
    assert ">40<" in plot
    assert rects(plot, "ok") == [(25.0, 75.0)]
    assert rects(plot, "refused") == [(0.0, 25.0)]
    assert rects(plot, "failed") == []
    assert "01-01 00:00: 30 let through, 10 refused" in plot
    assert "let through 30" in plot
    assert 'viewBox="0 0 24 100"' in plot  # two slots are not two walls


@pytest.mark.parametrize(
    ("most", "top"),
    [(1, 2), (2, 2), (3, 4), (5, 6), (7, 10), (10, 10), (11, 20), (61, 100), (601, 1000)],
)
def test_the_scale_ends_at_a_round_number_above(most: int, top: int) -> None:
    plot = calls_over_time(Chart(1, [(0.0, counts(ok=most))], []))
    assert f'class="scale"><span>{top}</span><span>{top // 2}</span>' in plot


@pytest.mark.parametrize(
    ("slot_s", "shown"), [(5, "02-03 04:05:06"), (60, "02-03 04:05"), (86_400, "1970-02-03")]
)
def test_times_are_as_fine_as_the_slots(slot_s: int, shown: str) -> None:
    at_s = 33 * 86_400 + 4 * 3600 + 5 * 60 + 6.0
    assert f"<span>{shown}</span>" in calls_over_time(Chart(slot_s, [(at_s, counts(ok=1))], []))


def test_tools_share_one_scale_of_durations() -> None:
    octaves = [("a", [(1.0, 4), (2.0, 2)]), ("b", [(8.0, 1)]), ("never called", [])]
    plot = durations(Chart(1, [], octaves), {"a": "six & more"})
    assert plot.count('viewBox="0 0 4 100"') == 2
    assert plot.count("<span>8ms</span>") == 2
    assert "six &amp; more" in plot
    assert rects(plot, "ok") == [(0.0, 100.0), (50.0, 50.0), (0.0, 100.0)]
    assert "4ms to 8ms: 1 calls" in plot
    assert "never called" not in plot
    assert durations(Chart(1, [], [("never called", [])]), {}) == ""


def test_bars_are_as_long_as_their_share_of_the_longest() -> None:
    plot = bars([("<b>", 4.0, "four"), ("c", 1.0, "one"), ("d", 0.0, "none")], "refused")
    assert re.findall(r"width: ([\d.]+)%", plot) == ["100.00", "25.00", "0.00"]
    assert "<b>" not in plot
    assert bars([]) == '<div class="bars"></div>'
