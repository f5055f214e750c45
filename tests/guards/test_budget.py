import pytest

from proxy.guards.amount import Estimate
from proxy.guards.budget import Ledger, Reservation
from proxy.model.call import Kind
from proxy.model.errors import Refusal
from proxy.model.reason import MEANINGS, Reason
from proxy.policy.policy import BudgetRule
from tests.fakes.clock import FakeClock
from tests.guards.rules import a_caller

HUGE_CHANGE_S = 1e6


def reserve(
    ledger: Ledger,
    rule: BudgetRule,
    run_id: str = "run-1",
    agent_id: str = "agent-1",
    kind: Kind = Kind.TOOL,
    cost_micros: int = 0,
    loop_key: int | None = None,
) -> Reservation | Refusal:
    return ledger.reserve(rule, a_caller(run_id, agent_id), kind, cost_micros, loop_key)


def granted(verdict: Reservation | Refusal) -> Reservation:
    assert isinstance(verdict, Reservation), verdict
    return verdict


def refused(verdict: Reservation | Refusal, reason: Reason) -> Refusal:
    assert isinstance(verdict, Refusal), "it was let through"
    assert verdict.reason is reason
    assert verdict.detail.endswith((".", "then."))
    assert verdict.rule
    return verdict


@pytest.mark.parametrize(
    ("rule", "kind", "reason"),
    [
        pytest.param(BudgetRule(max_steps=12), Kind.MODEL, Reason.MAX_STEPS, id="steps"),
        pytest.param(BudgetRule(max_tool_calls=12), Kind.TOOL, Reason.MAX_TOOL_CALLS, id="calls"),
        pytest.param(BudgetRule(max_tool_calls=12), Kind.MCP, Reason.MAX_TOOL_CALLS, id="mcp"),
    ],
)
def test_a_hundred_calls_at_once_get_exactly_what_there_is(
    rule: BudgetRule, kind: Kind, reason: Reason
) -> None:
    ledger = Ledger(FakeClock())
    verdicts = [reserve(ledger, rule, kind=kind) for _ in range(100)]
    assert sum(isinstance(verdict, Reservation) for verdict in verdicts) == 12
    refusal = refused(verdicts[-1], reason)
    assert "used its 12" in refusal.detail
    assert refusal.retry_after_ms is None
    assert MEANINGS[reason].stops_run


@pytest.mark.parametrize(
    ("rule", "kind"),
    [
        pytest.param(BudgetRule(max_steps=0), Kind.TOOL, id="tool calls are no steps"),
        pytest.param(BudgetRule(max_tool_calls=0), Kind.MODEL, id="steps are no tool calls"),
    ],
)
def test_steps_and_tool_calls_are_apart(rule: BudgetRule, kind: Kind) -> None:
    granted(reserve(Ledger(FakeClock()), rule, kind=kind))


def test_runs_do_not_share() -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule(max_tool_calls=1)
    granted(reserve(ledger, rule, "run-1"))
    granted(reserve(ledger, rule, "run-2"))
    refused(reserve(ledger, rule, "run-1"), Reason.MAX_TOOL_CALLS)


def test_seconds_run_from_the_first_call_and_ignore_the_wall_clock() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    rule = BudgetRule(max_seconds=60)
    first = granted(reserve(ledger, rule))
    assert first.run_deadline_s == clock.monotonic() + 60
    clock.jump_wall(-HUGE_CHANGE_S)
    clock.advance(59.999)
    assert granted(reserve(ledger, rule)).run_deadline_s == first.run_deadline_s
    clock.jump_wall(HUGE_CHANGE_S)
    clock.advance(0.001)
    refused(reserve(ledger, rule), Reason.MAX_SECONDS)
    assert granted(reserve(ledger, BudgetRule())).run_deadline_s is None


def test_spend_holds_the_reserved_and_charges_the_actual() -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule(max_spend_micros=1_000_000)
    first = granted(reserve(ledger, rule, cost_micros=600_000))
    refused(reserve(ledger, rule, cost_micros=400_001), Reason.MAX_SPEND_USD)
    second = granted(reserve(ledger, rule, cost_micros=400_000))
    refused(reserve(ledger, rule, cost_micros=1), Reason.MAX_SPEND_USD)
    first.settle(100_000)
    second.refund()
    refusal = refused(reserve(ledger, rule, cost_micros=900_001), Reason.MAX_SPEND_USD)
    assert "0.10 of its 1.00 USD" in refusal.detail
    granted(reserve(ledger, rule, cost_micros=900_000))


def test_a_free_call_passes_at_the_spend_limit_but_not_over_it() -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule(max_spend_micros=10)
    held = granted(reserve(ledger, rule, cost_micros=10))
    granted(reserve(ledger, rule))
    held.settle(11)
    refused(reserve(ledger, rule), Reason.MAX_SPEND_USD)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        pytest.param(99, None, id="one token left"),
        pytest.param(100, Reason.MAX_TOKENS, id="none left"),
        pytest.param(500, Reason.MAX_TOKENS, id="more than there were"),
    ],
)
def test_tokens_refuse_once_they_are_used(tokens: int, expected: Reason | None) -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule(max_tokens=100)
    granted(reserve(ledger, rule)).settle(0, tokens)
    verdict = reserve(ledger, rule)
    assert (verdict.reason if isinstance(verdict, Refusal) else None) is expected


def test_bytes_cut_the_call_that_goes_over_and_refuse_the_next() -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule(max_bytes=1000)
    first, second = granted(reserve(ledger, rule)), granted(reserve(ledger, rule))
    assert first.add_bytes(600)
    assert second.add_bytes(400)
    refused(reserve(ledger, rule), Reason.MAX_BYTES)
    assert not first.add_bytes(1)
    assert not second.add_bytes(0)
    first.refund()  # bytes that flowed, flowed
    refused(reserve(ledger, rule), Reason.MAX_BYTES)
    assert granted(reserve(ledger, BudgetRule())).add_bytes(10**9)


def test_negative_usage_hands_nothing_back() -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule()
    granted(reserve(ledger, rule, cost_micros=5)).settle(5, tokens=7)
    granted(reserve(ledger, rule, cost_micros=5)).settle(-100, tokens=-100)
    view = ledger.run_view(rule, "run-1")
    assert view is not None
    assert (view.used.spend_micros, view.used.tokens) == (5, 7)


@pytest.mark.parametrize("closings", ["ss", "sr", "rs", "rr"])
def test_a_reservation_is_closed_once(closings: str) -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule(max_calls_per_hour=9)
    held = granted(reserve(ledger, rule, cost_micros=5))
    for closing in closings:
        held.settle(3, tokens=2) if closing == "s" else held.refund()
    view = ledger.run_view(rule, "run-1")
    assert view is not None
    settled = closings[0] == "s"
    assert view.used[:2] == (0, 1 if settled else 0)
    assert view.used.spend_micros == (3 if settled else 0)
    assert view.used.tokens == (2 if settled else 0)
    assert view.in_flight == 0


def test_a_refunded_call_can_be_made_again() -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule(max_tool_calls=1, max_steps=1, loop_limit=1, max_calls_per_hour=2)
    for _ in range(5):
        granted(reserve(ledger, rule, loop_key=7)).refund()
        granted(reserve(ledger, rule, kind=Kind.MODEL)).refund()
    granted(reserve(ledger, rule, loop_key=7))


def test_limits_are_those_of_the_rule_passed_in() -> None:
    ledger = Ledger(FakeClock())
    granted(reserve(ledger, BudgetRule(max_tool_calls=1)))
    refused(reserve(ledger, BudgetRule(max_tool_calls=1)), Reason.MAX_TOOL_CALLS)
    granted(reserve(ledger, BudgetRule(max_tool_calls=2)))
    refused(reserve(ledger, BudgetRule(max_tool_calls=1)), Reason.MAX_TOOL_CALLS)


def test_a_loop_ends_the_run_for_good() -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule(loop_limit=3)
    for _ in range(3):
        granted(reserve(ledger, rule, loop_key=7))
    granted(reserve(ledger, rule, loop_key=8))
    granted(reserve(ledger, rule))
    refused(reserve(ledger, rule, loop_key=7), Reason.LOOP_DETECTED)
    refused(reserve(ledger, rule, loop_key=9), Reason.LOOP_DETECTED)
    refused(reserve(ledger, rule, kind=Kind.MODEL), Reason.LOOP_DETECTED)
    refused(reserve(ledger, BudgetRule()), Reason.LOOP_DETECTED)
    granted(reserve(ledger, rule, "run-2", loop_key=7))
    view = ledger.run_view(rule, "run-1")
    assert view is not None
    assert (view.looped, view.refusals) == (True, 4)
    assert ledger.forget("run-1")
    granted(reserve(ledger, rule, loop_key=7))


@pytest.mark.parametrize(
    ("before", "keys", "fits"),
    [
        pytest.param((), (7, 7, 7), True, id="as often as may be"),
        pytest.param((), (7, 7, 7, 7), False, id="too often at once"),
        pytest.param((), (1, 7, 7, 7, 7), False, id="not the first of them"),
        pytest.param((7, 7), (7, 8), True, id="once more"),
        pytest.param((7, 7), (8, 7, 7), False, id="too often with those before"),
        pytest.param((7, 7, 7), (8, 9), True, id="others"),
    ],
)
def test_equal_calls_in_one_count_each(
    before: tuple[int, ...], keys: tuple[int, ...], fits: bool
) -> None:
    ledger, rule = Ledger(FakeClock()), BudgetRule(loop_limit=3)
    for key in before:
        granted(reserve(ledger, rule, loop_key=key)).settle(0)
    first, *more = keys
    verdict = ledger.reserve(
        rule, a_caller(), Kind.MCP, 0, first, calls=len(keys), more_keys=tuple(more)
    )
    if not fits:
        refused(verdict, Reason.LOOP_DETECTED)
        return
    granted(verdict).refund()  # gives back what it learnt
    for key in {*keys}:
        for _ in range(3 - before.count(key)):
            granted(reserve(ledger, rule, loop_key=key)).settle(0)
    refused(reserve(ledger, rule, loop_key=first), Reason.LOOP_DETECTED)


def test_loop_keys_are_bounded_per_run_and_what_is_not_learnt_is_counted() -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule(loop_limit=1)
    for key in range(1024):
        granted(reserve(ledger, rule, loop_key=key)).settle(0)
    for _ in range(2):
        granted(reserve(ledger, rule, loop_key=5000)).refund()
    assert ledger.runs_table.loops_unlearned == 2
    refused(reserve(ledger, rule, loop_key=1023), Reason.LOOP_DETECTED)


def test_loop_keys_are_bounded_over_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.guards.runs.LOOP_KEYS_LIMIT", 2)
    ledger = Ledger(FakeClock())
    rule = BudgetRule(loop_limit=1)
    granted(reserve(ledger, rule, "run-1", loop_key=1))
    kept = granted(reserve(ledger, rule, "run-2", loop_key=1))
    granted(reserve(ledger, rule, "run-3", loop_key=1))
    assert ledger.runs_table.loops_unlearned == 1
    ledger.forget("run-1")
    kept.refund()
    for run_id in ("run-4", "run-5"):  # the room of both is free again
        granted(reserve(ledger, rule, run_id, loop_key=1))
        refused(reserve(ledger, rule, run_id, loop_key=1), Reason.LOOP_DETECTED)
    assert ledger.runs_table.loops_unlearned == 1


def test_left_names_the_limits_that_exist() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    rule = BudgetRule(max_steps=25, max_tool_calls=12, max_seconds=60, max_spend_micros=1_000_000)
    step = granted(reserve(ledger, rule, kind=Kind.MODEL, cost_micros=9_500))
    step.settle(9_500)
    call = granted(reserve(ledger, rule, cost_micros=500))
    clock.advance(2.5)
    assert call.left(clock.monotonic()) == b"steps=24, tool-calls=11, seconds=57, spend-usd=0.99"
    assert granted(reserve(ledger, BudgetRule())).left(clock.monotonic()) == b""
    other = granted(reserve(ledger, BudgetRule(max_tokens=10, max_bytes=20)))
    other.add_bytes(21)
    assert other.left(clock.monotonic()) == b"tokens=10, bytes=0"


def test_the_operator_sees_used_left_and_activity_latest_first() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    rule = BudgetRule(max_tool_calls=1, max_seconds=60)
    reserve(ledger, rule, "old", cost_micros=5)
    clock.advance(10)
    reserve(ledger, rule, "new")
    reserve(ledger, rule, "new")
    clock.advance(1)
    views = ledger.runs(rule, 10)
    assert [view.run_id for view in views] == ["new", "old"]
    assert [view.run_id for view in ledger.runs(rule, 1)] == ["new"]
    new, old = views
    assert (new.refusals, new.in_flight, new.idle_s, new.left.tool_calls) == (1, 1, 1, 0)
    assert (old.age_s, old.used.spend_micros, old.left.seconds, old.left.steps) == (11, 5, 49, None)
    assert ledger.run_view(rule, "unknown") is None
    assert not ledger.forget("unknown")


def test_a_run_is_forgotten_after_its_retention_and_not_before() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    rule = BudgetRule(max_tool_calls=1, run_retention_s=100)
    granted(reserve(ledger, rule)).settle(0)
    clock.advance(99)
    refused(reserve(ledger, rule), Reason.MAX_TOOL_CALLS)  # a refused call is a call
    clock.advance(99.999)
    refused(reserve(ledger, rule), Reason.MAX_TOOL_CALLS)
    clock.advance(100)
    granted(reserve(ledger, rule))


def test_a_call_in_flight_keeps_its_run_past_the_retention() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    rule = BudgetRule(max_tool_calls=1, run_retention_s=100)
    granted(reserve(ledger, rule))
    clock.advance(1000)
    refused(reserve(ledger, rule), Reason.MAX_TOOL_CALLS)


def test_the_run_unused_longest_makes_room_even_if_others_are_older() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    rule = BudgetRule(max_tool_calls=1, run_retention_s=100, max_runs=2)
    granted(reserve(ledger, rule, "a")).settle(0)
    clock.advance(10)
    granted(reserve(ledger, rule, "b")).settle(0)
    clock.advance(40)
    refused(reserve(ledger, rule, "a"), Reason.MAX_TOOL_CALLS)
    clock.advance(60)
    granted(reserve(ledger, rule, "c"))
    refused(reserve(ledger, rule, "a"), Reason.MAX_TOOL_CALLS)


def test_a_run_with_a_call_in_flight_is_not_forgotten() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    rule = BudgetRule(max_tool_calls=1, run_retention_s=100, max_runs=2)
    held = granted(reserve(ledger, rule, "long"))
    clock.advance(1000)
    granted(reserve(ledger, rule, "other"))
    refused(reserve(ledger, rule, "third"), Reason.STATE_UNAVAILABLE)
    refused(reserve(ledger, rule, "long"), Reason.MAX_TOOL_CALLS)
    clock.advance(50)
    held.settle(0)
    clock.advance(99.999)
    refused(reserve(ledger, rule, "long"), Reason.MAX_TOOL_CALLS)


def test_a_full_table_refuses_new_runs_and_keeps_the_old_ones() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    rule = BudgetRule(max_tool_calls=2, max_runs=3, run_retention_s=100)
    for run_id in ("a", "b", "c"):
        granted(reserve(ledger, rule, run_id)).settle(0)
    refusal = refused(reserve(ledger, rule, "d"), Reason.STATE_UNAVAILABLE)
    assert refusal.retry_after_ms is not None
    assert MEANINGS[refusal.reason].retryable
    assert "full" in refusal.detail
    assert ledger.refused_full == 1
    granted(reserve(ledger, rule, "a")).settle(0)
    refused(reserve(ledger, rule, "a"), Reason.MAX_TOOL_CALLS)
    clock.advance(100)
    granted(reserve(ledger, rule, "d"))
    assert len(ledger.runs_table) <= 3


def test_a_flood_of_run_ids_does_not_grow_the_table() -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule(max_tool_calls=1, max_calls_per_hour=5, max_runs=100)
    victim = granted(reserve(ledger, rule, "victim", "owner"))
    victim.settle(0)
    for index in range(20_000):
        reserve(ledger, rule, f"flood-{index}", f"agent-{index}")
    assert len(ledger.runs_table) == 100
    assert len(ledger.agents_table) == 100
    assert ledger.refused_full == 20_000 - 99
    refused(reserve(ledger, rule, "victim", "owner"), Reason.MAX_TOOL_CALLS)


def test_a_long_flood_over_time_forgets_as_fast_as_it_learns() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    rule = BudgetRule(max_runs=10_000, run_retention_s=100)
    for index in range(2_000):
        clock.advance(1)
        granted(reserve(ledger, rule, f"run-{index}")).settle(0)
    assert len(ledger.runs_table) == 100


def test_refused_calls_do_not_start_runs() -> None:
    ledger = Ledger(FakeClock())
    for index in range(10):
        refused(reserve(ledger, BudgetRule(max_tool_calls=0), f"{index}"), Reason.MAX_TOOL_CALLS)
    granted(reserve(ledger, BudgetRule(max_calls_per_hour=1), "first"))
    rule = BudgetRule(max_calls_per_hour=1)
    for index in range(10):
        refused(reserve(ledger, rule, f"{index}"), Reason.MAX_CALLS_PER_HOUR)
    assert len(ledger.runs_table) == 1


def test_a_run_forgotten_with_a_call_in_flight_starts_anew() -> None:
    ledger = Ledger(FakeClock())
    rule = BudgetRule(max_spend_micros=10, loop_limit=5)
    before = granted(reserve(ledger, rule, cost_micros=10, loop_key=1))
    ledger.forget("run-1")
    granted(reserve(ledger, rule, cost_micros=10, loop_key=1))
    before.settle(10)
    before.refund()
    view = ledger.run_view(rule, "run-1")
    assert view is not None
    assert (view.used.spend_micros, view.used.tool_calls, view.in_flight) == (10, 1, 1)


# --- several calls at once, and what only the answer tells ------------------------------------


def test_several_calls_in_one_are_held_together_or_not_at_all() -> None:
    ledger, rule = Ledger(FakeClock()), BudgetRule(max_tool_calls=3, max_calls_per_hour=3)
    caller = a_caller()
    granted(ledger.reserve(rule, caller, Kind.MCP, 0, None, calls=2))
    refused(ledger.reserve(rule, caller, Kind.MCP, 0, None, calls=2), Reason.MAX_TOOL_CALLS)
    last = granted(ledger.reserve(rule, caller, Kind.MCP, 0, None, calls=1))
    last.refund()
    granted(ledger.reserve(rule, caller, Kind.MCP, 0, None, calls=1)).settle(0)


def test_what_passes_free_uses_nothing_and_starts_no_run() -> None:
    ledger, rule = Ledger(FakeClock()), BudgetRule(max_tool_calls=0, max_seconds=1)
    free = granted(ledger.pass_free(rule, a_caller()))
    assert free.run_deadline_s is None
    free.settle(0)
    assert ledger.run_view(rule, a_caller().run_id) is None


def test_bytes_of_what_passes_free_count_from_the_first_one_on() -> None:
    ledger, rule = Ledger(FakeClock()), BudgetRule(max_bytes=10)
    for count in (6, 4):
        free = granted(ledger.pass_free(rule, a_caller()))
        assert free.add_bytes(count)
        free.settle(0)
    refused(ledger.pass_free(rule, a_caller()), Reason.MAX_BYTES)
    refused(reserve(ledger, rule), Reason.MAX_BYTES)
    granted(ledger.pass_free(rule, a_caller("run-2")))


def test_a_run_that_only_used_bytes_has_all_its_seconds_and_is_forgotten_like_any_other() -> None:
    clock = FakeClock()
    ledger, rule = Ledger(clock), BudgetRule(max_bytes=10, max_seconds=5, run_retention_s=60)
    granted(ledger.pass_free(rule, a_caller())).settle(0)
    clock.advance(50)
    free = granted(ledger.pass_free(rule, a_caller()))
    assert b"seconds=5" in free.left(clock.monotonic())
    free.settle(0)
    clock.advance(50)
    call = granted(reserve(ledger, rule))
    assert call.run_deadline_s == clock.monotonic() + 5
    call.refund()
    clock.advance(5)
    granted(ledger.pass_free(rule, a_caller())).settle(0)
    refused(reserve(ledger, rule), Reason.MAX_SECONDS)
    clock.advance(60)
    granted(reserve(ledger, rule))


def test_what_passes_free_finds_no_room_in_a_full_table() -> None:
    ledger, rule = Ledger(FakeClock()), BudgetRule(max_bytes=10, max_runs=1)
    granted(ledger.pass_free(rule, a_caller()))
    refused(ledger.pass_free(rule, a_caller("run-2")), Reason.STATE_UNAVAILABLE)
    assert ledger.refused_full == 1
    assert len(ledger.runs_table) == 1


def test_bytes_of_what_passes_free_count_for_a_run_that_is_known() -> None:
    ledger, rule = Ledger(FakeClock()), BudgetRule(max_bytes=10)
    granted(reserve(ledger, rule)).settle(0)
    free = granted(ledger.pass_free(rule, a_caller()))
    assert free.add_bytes(10)
    assert not free.add_bytes(1)
    refused(reserve(ledger, rule), Reason.MAX_BYTES)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        pytest.param(BudgetRule(max_spend_micros=100), Reason.MAX_SPEND_USD, id="spend"),
        pytest.param(BudgetRule(max_tokens=100), Reason.MAX_TOKENS, id="tokens"),
        pytest.param(
            BudgetRule(max_spend_micros_per_day=100), Reason.MAX_SPEND_USD_PER_DAY, id="a day"
        ),
    ],
)
def test_calls_at_once_do_not_count_on_the_same_rest(rule: BudgetRule, reason: Reason) -> None:
    """An estimate larger than what is left refuses nothing by itself, but holds all of it."""
    ledger, caller, guess = Ledger(FakeClock()), a_caller(), Estimate(150, 150)
    first = granted(ledger.reserve(rule, caller, Kind.MODEL, 0, None, estimate=guess))
    refused(ledger.reserve(rule, caller, Kind.MODEL, 0, None, estimate=guess), reason)
    first.settle(40, tokens=40)
    second = granted(ledger.reserve(rule, caller, Kind.MODEL, 0, None, estimate=guess))
    second.settle(60, tokens=60)
    refused(ledger.reserve(rule, caller, Kind.MODEL, 0, None, estimate=guess), reason)


def test_what_is_estimated_is_kept_as_used() -> None:
    """A crash must not hand back what a call under way may be using."""
    ledger, rule = Ledger(FakeClock()), BudgetRule(max_tokens=100)
    ledger.watch()
    granted(ledger.reserve(rule, a_caller(), Kind.MODEL, 0, None, estimate=Estimate(7, 9)))
    kept = ledger.take_changes(10).runs[a_caller().run_id]
    assert kept is not None
    assert (kept.spend_micros, kept.tokens) == (7, 9)


def test_shares_are_those_of_the_last_call_of_runs_called_lately() -> None:
    clock = FakeClock()
    ledger = Ledger(clock)
    rule = BudgetRule(max_tool_calls=10, max_seconds=60)
    for name, calls in (("long ago", 1), ("half", 5), ("all", 10)):
        for _ in range(calls):
            granted(reserve(ledger, rule, name)).settle(0)
        clock.advance(200)
    assert ledger.shares(rule, 10, within_s=450) == [1.0, 0.5]
    assert ledger.shares(rule, 1, within_s=450) == [1.0]
    assert ledger.limit("half", {"max_tool_calls": 50})
    assert ledger.shares(rule, 10, within_s=450) == [1.0, 0.1]
    assert ledger.shares(BudgetRule(), 10, within_s=450) == [0.0, 0.1]
