import pytest

from proxy.model.errors import BadMessage, Refusal, Stopped, UpstreamFailed
from proxy.model.reason import Reason


def test_what_stops_a_walk_carries_its_refusal_and_shows_only_its_code() -> None:
    """A traceback of it, wherever it ends up, holds no detail of the call."""
    refusal = Refusal(Reason.BUSY, "A sentence.", "rule", 10)
    stopped = Stopped(refusal)
    assert stopped.refusal is refusal
    assert f"{stopped}" == "busy"


def test_a_refusal_has_the_status_of_its_reason_unless_it_says_otherwise() -> None:
    assert Refusal(Reason.BUSY, ".").status == 0
    assert Refusal(Reason.BUSY, ".").retry_after_ms is None


@pytest.mark.parametrize("problem", [BadMessage("Odd."), BadMessage("Odd.", status=0)])
def test_a_bad_message_is_a_bad_request_unless_it_says_otherwise(problem: BadMessage) -> None:
    assert (f"{problem}", problem.reason, problem.status) == ("Odd.", Reason.BAD_REQUEST, 0)
    other = BadMessage("Odd.", Reason.HEADERS_TOO_LARGE, status=414)
    assert (other.reason, other.status) == (Reason.HEADERS_TOO_LARGE, 414)


def test_a_failed_attempt_may_have_sent_something_unless_it_says_otherwise() -> None:
    """Only an attempt that surely sent nothing may be repeated whatever it was."""
    assert not UpstreamFailed(Reason.UPSTREAM_RESET, "It hung up.").unsent
    assert UpstreamFailed(Reason.UPSTREAM_RESET, "It hung up.", unsent=True).unsent
