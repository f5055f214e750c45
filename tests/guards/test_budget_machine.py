"""Any interleaving of reserve, settle, refund and add_bytes, against a model of plain sums."""

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from proxy.guards.budget import Ledger, Reservation
from proxy.model.call import Kind
from proxy.policy.policy import BudgetRule
from tests.fakes.clock import FakeClock
from tests.guards.rules import a_caller

LIMITS = BudgetRule(
    max_steps=4,
    max_tool_calls=6,
    max_spend_micros=100,
    max_bytes=1000,
    max_calls_per_hour=12,
    max_spend_micros_per_day=150,
    loop_limit=3,
)
RUNS = ("run-1", "run-2", "run-3")


class Held(NamedTuple):
    reservation: Reservation
    run_id: str
    kind: Kind
    cost_micros: int


class LedgerMachine(RuleBasedStateMachine):
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(FakeClock())
        self.open: list[Held] = []
        self.settled: list[tuple[Held, int, int]] = []
        self.byte_counts = dict.fromkeys(RUNS, 0)

    @rule(
        target=held,
        run_id=st.sampled_from(RUNS),
        kind=st.sampled_from(Kind),
        cost_micros=st.integers(0, 40),
        loop_key=st.none() | st.integers(0, 3),
    )
    def reserve(
        self, run_id: str, kind: Kind, cost_micros: int, loop_key: int | None
    ) -> Held | None:
        verdict = self.ledger.reserve(LIMITS, a_caller(run_id), kind, cost_micros, loop_key)
        if not isinstance(verdict, Reservation):
            return None
        held = Held(verdict, run_id, kind, cost_micros)
        self.open.append(held)
        return held

    @rule(
        held=consumes(held), share=st.floats(0, 1), tokens=st.integers(0, 10), again=st.booleans()
    )
    def settle(self, held: Held | None, share: float, tokens: int, again: bool) -> None:
        if held is None:
            return
        cost_micros = int(held.cost_micros * share)
        held.reservation.settle(cost_micros, tokens)
        if again:
            held.reservation.refund()
        self.open.remove(held)
        self.settled.append((held, cost_micros, tokens))

    @rule(held=consumes(held), again=st.booleans())
    def refund(self, held: Held | None, again: bool) -> None:
        if held is None:
            return
        held.reservation.refund()
        if again:
            held.reservation.settle(1000, 1000)
        self.open.remove(held)

    @rule(held=held, count=st.integers(0, 400))
    def add_bytes(self, held: Held | None, count: int) -> None:
        if held is None:
            return
        self.byte_counts[held.run_id] += count
        fits = held.reservation.add_bytes(count)
        assert fits == (self.byte_counts[held.run_id] <= 1000)

    @invariant()
    def used_is_what_is_open_and_what_was_settled_and_never_more_than_the_limits(self) -> None:
        for run_id in RUNS:
            view = self.ledger.run_view(LIMITS, run_id)
            if view is None:
                assert not any(held.run_id == run_id for held in self.open)
                continue
            mine = [held for held in self.open if held.run_id == run_id]
            done = [entry for entry in self.settled if entry[0].run_id == run_id]
            calls = [*mine, *(held for held, _, _ in done)]
            steps = sum(held.kind is Kind.MODEL for held in calls)
            assert view.used.steps == steps <= 4
            assert view.used.tool_calls == len(calls) - steps <= 6
            spend_micros = sum(held.cost_micros for held in mine) + sum(cost for _, cost, _ in done)
            assert view.used.spend_micros == spend_micros <= 100
            assert view.used.tokens == sum(tokens for _, _, tokens in done)
            assert view.used.bytes == self.byte_counts[run_id]
            assert view.in_flight == len(mine)

    @invariant()
    def an_agents_windows_are_the_sum_over_its_runs(self) -> None:
        assert len(self.open) + len(self.settled) <= 12
        spend_micros = sum(held.cost_micros for held in self.open)
        spend_micros += sum(cost for _, cost, _ in self.settled)
        assert spend_micros <= 150

    def teardown(self) -> None:
        for held in self.open:
            held.reservation.refund()
        self.open.clear()
        self.used_is_what_is_open_and_what_was_settled_and_never_more_than_the_limits()
        # What was refunded can be used: the agent has exactly the rest of its hour.
        rule_ = BudgetRule(max_calls_per_hour=12)
        rest = 12 - len(self.settled)
        for index in range(13):
            verdict = self.ledger.reserve(rule_, a_caller(f"new-{index}"), Kind.TOOL, 0, None)
            assert isinstance(verdict, Reservation) == (index < rest)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
