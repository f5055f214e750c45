import pytest

from proxy.guards.breaker import BreakerKey, Breakers, State, counts_as_failure
from proxy.model.reason import Reason
from proxy.policy.policy import BreakerRule
from tests.fakes.clock import FakeClock

KEY: BreakerKey = ("search", "api.example", 443)
RULE = BreakerRule(error_rate=0.5, min_requests=4, open_s=10)


def opened(clock: FakeClock) -> Breakers:
    breakers = Breakers(clock)
    for _ in range(4):
        breakers.record(KEY, RULE, ok=False)
    return breakers


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        pytest.param("fff", State.CLOSED, id="too few requests to judge"),
        pytest.param("ffff", State.OPEN, id="enough requests, all failed"),
        pytest.param("ooff", State.OPEN, id="exactly at the error rate"),
        pytest.param("oooff", State.CLOSED, id="just under the error rate"),
        pytest.param("ffoo", State.CLOSED, id="a success opens nothing"),
    ],
)
def test_it_opens_at_the_error_rate_of_enough_requests(verdicts: str, expected: State) -> None:
    breakers = Breakers(FakeClock())
    for verdict in verdicts:
        breakers.record(KEY, RULE, ok=verdict == "o")
    assert breakers.state(KEY) is expected


def test_old_failures_do_not_count() -> None:
    clock = FakeClock()
    breakers = Breakers(clock)
    for _ in range(3):
        breakers.record(KEY, RULE, ok=False)
    clock.advance(10)
    breakers.record(KEY, RULE, ok=False)
    assert breakers.state(KEY) is State.CLOSED


def test_open_refuses_and_says_when_it_half_opens() -> None:
    clock = FakeClock()
    breakers = opened(clock)
    clock.advance(4)
    refusal = breakers.refuse(KEY, RULE)
    assert refusal is not None
    assert (refusal.reason, refusal.retry_after_ms) == (Reason.CIRCUIT_OPEN, 6000)
    assert breakers.refuse(("search", "other.example", 443), RULE) is None
    assert breakers.refuse(("search", "api.example", 8443), RULE) is None
    clock.advance(5.999)
    assert breakers.refuse(KEY, RULE) is not None


def test_half_open_lets_one_probe_through_at_a_time() -> None:
    clock = FakeClock()
    breakers = opened(clock)
    assert not breakers.probing(KEY)
    clock.advance(10)
    assert breakers.state(KEY) is State.HALF_OPEN
    assert breakers.refuse(KEY, RULE) is None
    assert breakers.probing(KEY)
    refusal = breakers.refuse(KEY, RULE)
    assert refusal is not None
    assert refusal.retry_after_ms == 1000


def test_a_probe_that_succeeds_closes_with_a_clean_slate() -> None:
    clock = FakeClock()
    breakers = Breakers(clock)
    rule = BreakerRule(error_rate=0.5, min_requests=4, open_s=1)
    for _ in range(4):
        breakers.record(KEY, rule, ok=False)
    clock.advance(1)
    breakers.refuse(KEY, rule)
    breakers.record(KEY, rule, ok=True)
    assert breakers.state(KEY) is State.CLOSED
    for _ in range(3):  # one short of min_requests: what opened it is not counted again
        assert breakers.refuse(KEY, rule) is None
        breakers.record(KEY, rule, ok=False)
    assert breakers.state(KEY) is State.CLOSED
    breakers.record(KEY, rule, ok=False)
    assert breakers.state(KEY) is State.OPEN


def test_a_probe_that_fails_opens_again_for_the_whole_time() -> None:
    clock = FakeClock()
    breakers = opened(clock)
    clock.advance(10)
    breakers.refuse(KEY, RULE)
    breakers.record(KEY, RULE, ok=False)
    clock.advance(9.999)
    assert breakers.refuse(KEY, RULE) is not None
    clock.advance(0.001)
    assert breakers.refuse(KEY, RULE) is None


def test_an_abandoned_probe_gives_its_place_to_the_next_call() -> None:
    clock = FakeClock()
    breakers = opened(clock)
    clock.advance(10)
    breakers.refuse(KEY, RULE)
    breakers.abandon(KEY)
    assert breakers.state(KEY) is State.HALF_OPEN
    assert breakers.refuse(KEY, RULE) is None
    assert breakers.refuse(KEY, RULE) is not None


def test_a_probe_that_is_never_heard_of_again_loses_its_place_after_a_minute() -> None:
    clock = FakeClock()
    breakers = opened(clock)
    clock.advance(10)
    breakers.refuse(KEY, RULE)
    clock.advance(59.999)
    assert breakers.refuse(KEY, RULE) is not None
    clock.advance(0.001)
    assert not breakers.probing(KEY)
    assert breakers.refuse(KEY, RULE) is None
    assert breakers.refuse(KEY, RULE) is not None


def test_abandoning_an_unknown_origin_changes_nothing() -> None:
    breakers = Breakers(FakeClock())
    breakers.abandon(KEY)
    assert (len(breakers), breakers.probing(KEY)) == (0, False)


def test_a_late_verdict_of_a_call_sent_before_changes_nothing_while_open() -> None:
    clock = FakeClock()
    breakers = opened(clock)
    clock.advance(5)
    breakers.record(KEY, RULE, ok=True)
    assert breakers.state(KEY) is State.OPEN
    breakers.record(KEY, RULE, ok=False)
    clock.advance(5)
    assert breakers.state(KEY) is State.HALF_OPEN


def test_worst_is_the_worst_of_the_tools_origins() -> None:
    clock = FakeClock()
    breakers = opened(clock)
    breakers.record(("search", "fine.example", 443), RULE, ok=True)
    breakers.record(("other", "fine.example", 443), RULE, ok=True)
    assert breakers.worst("search") is State.OPEN
    assert breakers.worst("other") is State.CLOSED
    assert breakers.worst("unheard of") is State.CLOSED
    clock.advance(10)
    assert breakers.worst("search") is State.HALF_OPEN


def an_origin(index: int) -> BreakerKey:
    return ("search", f"{index}.example", 443)


def test_a_flood_of_origins_stays_in_bounds_and_never_closes_an_open_circuit() -> None:
    clock = FakeClock()
    breakers = Breakers(clock, limit=16)
    for _ in range(4):
        breakers.record(KEY, RULE, ok=False)
    for index in range(1000):
        breakers.record(an_origin(index), RULE, ok=True)
    assert len(breakers) == 16
    assert breakers.dropped == 985
    assert breakers.state(KEY) is State.OPEN


def test_idle_closed_origins_go_first_and_are_no_loss() -> None:
    clock = FakeClock()
    breakers = Breakers(clock, limit=2)
    breakers.record(an_origin(1), RULE, ok=True)
    clock.advance(10)
    breakers.record(an_origin(2), RULE, ok=True)
    breakers.record(an_origin(3), RULE, ok=True)
    assert (len(breakers), breakers.dropped) == (2, 0)


def test_when_all_are_open_a_new_origin_goes_unwatched_and_is_counted() -> None:
    clock = FakeClock()
    breakers = Breakers(clock, limit=2)
    for index in (1, 2):
        for _ in range(4):
            breakers.record(an_origin(index), RULE, ok=False)
    breakers.record(an_origin(3), RULE, ok=False)
    assert (breakers.untracked, len(breakers)) == (1, 2)
    assert breakers.refuse(an_origin(3), RULE) is None
    clock.advance(70)  # half-open for a minute, nobody asked
    breakers.record(an_origin(3), RULE, ok=False)
    assert (breakers.untracked, len(breakers)) == (1, 1)


def test_closed_origins_behind_many_open_ones_are_found_next_time() -> None:
    breakers = Breakers(FakeClock(), limit=10)
    for index in range(9):
        for _ in range(4):
            breakers.record(an_origin(index), RULE, ok=False)
    breakers.record(an_origin(9), RULE, ok=True)
    breakers.record(an_origin(10), RULE, ok=True)
    breakers.record(an_origin(10), RULE, ok=True)
    assert (breakers.untracked, breakers.dropped) == (1, 1)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(None, True, id="no answer"),
        pytest.param(200, False, id="a success"),
        pytest.param(404, False, id="not found"),
        pytest.param(429, False, id="a rate limit is no illness"),
        pytest.param(499, False, id="just under 500"),
        pytest.param(500, True, id="a server error"),
        pytest.param(501, False, id="not implemented speaks of the method"),
        pytest.param(502, True, id="a bad gateway"),
        pytest.param(503, True, id="overload"),
        pytest.param(504, True, id="a gateway timeout"),
        pytest.param(505, False, id="version not supported speaks of the request"),
        pytest.param(599, True, id="an unregistered server error"),
    ],
)
def test_what_counts_as_a_failure(status: int | None, expected: bool) -> None:
    assert counts_as_failure(status) is expected


def test_open_circuits_are_counted() -> None:
    """Only origins that are cut off right now count."""
    clock = FakeClock()
    breakers = Breakers(clock)
    for _ in range(RULE.min_requests):
        breakers.record(("a", "h", 80), RULE, ok=False)
    breakers.record(("b", "h", 80), RULE, ok=True)
    assert breakers.open_count() == 1
    clock.advance(RULE.open_s)
    assert breakers.open_count() == 0


def test_the_worst_of_every_tool_in_one_pass() -> None:
    clock = FakeClock()
    breakers = opened(clock)
    breakers.record(("search", "other.example", 443), RULE, ok=True)
    breakers.record(("files", "api.example", 443), RULE, ok=True)
    assert breakers.worst_by_tool() == {"search": 2, "files": 0}
    clock.advance(10)
    assert breakers.worst_by_tool() == {"search": 1, "files": 0}
