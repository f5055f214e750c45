"""More is shown of some calls, for a while."""

import pytest

from proxy.policy.policy import ObservabilityRule
from proxy.telemetry.spotlight import MOST_BEAMS, Beam, Spotlight
from tests.control.desk import Desk

POLICY = Desk().policy


def rate(spotlight: Spotlight, run_id: str, tool: str, now_s: float) -> float:
    return spotlight.shown(POLICY, run_id, tool, now_s).observability.result_sample_rate


def lit(*beams: Beam) -> Spotlight:
    spotlight = Spotlight()
    for beam in beams:
        assert spotlight.turn_on(beam, 0.0)
    return spotlight


@pytest.mark.parametrize(
    ("run_id", "tool", "expected"),
    [
        pytest.param("r1", "t1", 0.3, id="its run, before its tool"),
        pytest.param("r2", "t1", 0.2, id="its tool, before all"),
        pytest.param("r2", "t2", 0.1, id="all"),
    ],
)
def test_the_narrowest_decides(run_id: str, tool: str, expected: float) -> None:
    spotlight = lit(
        Beam("all", 0.1, None, 10), Beam("tool:t1", 0.2, None, 10), Beam("run:r1", 0.3, None, 10)
    )
    assert rate(spotlight, run_id, tool, 0.0) == expected


@pytest.mark.parametrize(
    ("now_s", "expected"),
    [pytest.param(9.999, 0.5, id="just before"), pytest.param(10.0, 0.01, id="at its end")],
)
def test_it_falls_back_by_itself(now_s: float, expected: float) -> None:
    spotlight = lit(Beam("all", 0.5, None, 10.0))
    assert rate(spotlight, "r", "t", now_s) == expected
    assert spotlight.is_on == (now_s < 10)


def test_one_that_is_over_uncovers_the_wider_one() -> None:
    spotlight = lit(Beam("run:r1", 1.0, None, 5), Beam("all", 0.5, None, 10))
    assert [rate(spotlight, "r1", "t", now_s) for now_s in (4, 5, 10)] == [1.0, 0.5, 0.01]


def test_only_what_was_asked_for_changes() -> None:
    """And without a setting the policy is the very same."""
    spotlight = lit(Beam("tool:t", None, 99, 10))
    shown = spotlight.shown(POLICY, "r", "t", 0.0)
    assert shown.observability == ObservabilityRule(max_result_bytes=99)
    assert shown.tools is POLICY.tools
    assert spotlight.shown(POLICY, "r", "t", 1.0) is shown, "made once, not for each call"
    assert spotlight.shown(POLICY, "r", "other", 0.0) is POLICY
    newer = Desk().policy
    assert spotlight.shown(newer, "r", "t", 0.0).tools is newer.tools


def test_settings_are_bounded_and_can_be_ended() -> None:
    spotlight = lit(*(Beam(f"run:{number}", 1.0, None, 10) for number in range(MOST_BEAMS)))
    assert not spotlight.turn_on(Beam("all", 1.0, None, 10), 0.0)
    assert spotlight.turn_on(Beam("run:0", 0.5, None, 10), 0.0), "one of these is replaced"
    assert spotlight.turn_on(Beam("all", 1.0, None, 20), 10.0), "the expired made room"
    assert [beam.scope for beam in spotlight.beams(10.0)] == ["all"]
    assert spotlight.turn_off() == 1
    assert not spotlight.is_on
