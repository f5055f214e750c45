import pytest

from proxy.model.reason import MEANINGS, Reason
from proxy.report.outcome import Outcome, Stopper, ends_run, outcome_of, stopper_of
from proxy.telemetry.tool_figures import ERRORS


@pytest.mark.parametrize(
    ("code", "outcome", "stopper"),
    [
        pytest.param("tool_unknown", Outcome.REFUSED, Stopper.POLICY, id="the policy"),
        pytest.param("all_disabled", Outcome.REFUSED, Stopper.SWITCH, id="a switch"),
        pytest.param("run_stopped", Outcome.REFUSED, Stopper.SWITCH, id="a switch that ends a run"),
        pytest.param("max_tool_calls", Outcome.REFUSED, Stopper.BUDGET, id="a budget"),
        pytest.param("loop_detected", Outcome.REFUSED, Stopper.BUDGET, id="a loop"),
        pytest.param("rate_limited", Outcome.REFUSED, Stopper.LIMIT, id="a limit"),
        pytest.param("bad_request", Outcome.REFUSED, Stopper.OTHER, id="the request itself"),
        pytest.param("timeout", Outcome.FAILED, Stopper.UPSTREAM, id="no answer in time"),
        pytest.param("upstream_dns", Outcome.FAILED, Stopper.UPSTREAM, id="no name"),
        pytest.param("internal_error", Outcome.FAILED, Stopper.OTHER, id="ourselves"),
        pytest.param("client_gone", Outcome.GONE, Stopper.CLIENT, id="the client"),
        pytest.param("upstream_later", Outcome.FAILED, Stopper.UPSTREAM, id="of a later version"),
        pytest.param("max_later", Outcome.REFUSED, Stopper.BUDGET, id="a later budget"),
        pytest.param("later", Outcome.REFUSED, Stopper.OTHER, id="something of a later version"),
    ],
)  # fmt: skip
def test_a_code_says_how_it_ended_and_by_whom(
    code: str, outcome: Outcome, stopper: Stopper
) -> None:
    assert (outcome_of(code), stopper_of(code)) == (outcome, stopper)


def test_it_agrees_with_the_figures_and_the_answers_about_every_code() -> None:
    for reason in Reason:
        assert (outcome_of(str(reason)) is Outcome.FAILED) == (reason in ERRORS), reason
        assert ends_run(str(reason)) == MEANINGS[reason].stops_run, reason
    assert outcome_of("ok") is Outcome.OK
