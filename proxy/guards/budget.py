"""The ledger: reserve before the call, settle after it, refund what was refused later on.

What is reserved counts as used, in the same step that judges it. So a hundred calls at once
cannot each see the last place free, and a budget is never oversold.

State outlives policy: every call is judged by the rule it brings, so a limit that is raised or
lowered holds from the next call on. Limits set for a single run are kept with the run and laid
over that rule.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from proxy.guards.agents import Agent, AgentTable
from proxy.guards.allowance import (
    Amounts,
    left_amounts,
    left_text,
    used_amounts,
    used_share,
    warning_text,
)
from proxy.guards.amount import FREE, NO_ESTIMATE, Amount, Estimate
from proxy.guards.kept import KeptAgent, KeptRun, instant
from proxy.guards.run_limits import RunLimits
from proxy.guards.runs import Run, RunTable, run_table_full
from proxy.model.call import Caller, Kind
from proxy.model.clock import Clock
from proxy.model.errors import Refusal
from proxy.policy.policy import BudgetRule


class RunView(NamedTuple):
    """One run, for the operator. `age_s` since its first call, `idle_s` since its last one."""

    run_id: str
    used: Amounts
    left: Amounts
    age_s: float
    idle_s: float
    in_flight: int
    refusals: int
    looped: bool
    limits: Mapping[str, int | float]  # set by an operator, by name of the BudgetRule field


class LedgerChanges(NamedTuple):
    """Runs and agents by id, as they are now; None: forgotten."""

    runs: dict[str, KeptRun | None]
    agents: dict[str, KeptAgent | None]


class Ledger:
    """The budgets of all runs and agents, in this process.

    `refused_full` and `agents.refused_full` count the refusals of full tables,
    `runs.loops_unlearned` the calls that loop detection had no room for.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.runs_table = RunTable()
        self.agents_table = AgentTable(clock)
        self.refused_full = 0

    def reserve(
        self,
        rule: BudgetRule,
        caller: Caller,
        kind: Kind,
        cost_micros: int,
        loop_key: int | None,
        *,
        calls: int = 1,
        estimate: Estimate = NO_ESTIMATE,
        more_keys: tuple[int, ...] = (),
    ) -> "Reservation | Refusal":
        """Hold `calls` calls and `cost_micros` (of all of them) of the run and the agent, or say
        which limit is in the way. Refused calls count nothing and never start a run.

        `loop_key` None: this call takes no part in loop detection. `more_keys`: those of the other
        calls, where it is several. The run's clock starts at its first reserved call, and goes on
        if that one is refunded.
        """
        now_s = self._clock.monotonic()
        run = self.runs_table.find(caller.run_id, now_s, rule.run_retention_s)
        is_new = run is None
        if run is None:
            if not self.runs_table.has_room(now_s, rule):
                self.refused_full += 1
                return run_table_full()
            run = Run(caller.run_id, now_s)
        elif run.limits is not None:
            rule = run.limits.over(rule)
        if run.is_waiting:
            run.started_s = now_s
        amount = Amount(
            is_step=kind is Kind.MODEL, calls=calls, cost_micros=cost_micros, estimate=estimate
        )
        refusal = run.refuse(rule, amount, now_s)
        if refusal is None and loop_key is not None:
            refusal = run.refuse_loop(rule, loop_key, more_keys)
        verdict: Agent | Refusal | None = refusal
        if verdict is None and rule.limits_agents:
            verdict = self.agents_table.judge(caller.agent_id, rule, amount, now_s)
        if isinstance(verdict, Refusal):
            run.refusals += 1
            return verdict
        run.is_waiting = False
        if is_new:
            self.runs_table.add(run)
        return Reservation(self, rule, run, verdict, amount, loop_key, now_s, more_keys)

    def pass_free(self, rule: BudgetRule, caller: Caller) -> "Reservation | Refusal":
        """A place for what has to pass whatever the run has used, such as the messages without
        which a protocol cannot be spoken. It uses nothing but bytes, so only a limit of bytes
        refuses it, and only under one does it make the run known; the run's seconds begin with its
        first call all the same."""
        now_s = self._clock.monotonic()
        run = self.runs_table.find(caller.run_id, now_s, rule.run_retention_s)
        if run is None:
            run = Run(caller.run_id, now_s)
            run.is_waiting = True
            if rule.max_bytes is not None:
                if not self.runs_table.has_room(now_s, rule):
                    self.refused_full += 1
                    return run_table_full()
                self.runs_table.add(run)
        elif run.limits is not None:
            rule = run.limits.over(rule)
        if run.is_waiting:
            run.started_s = now_s
        refusal = run.refuse_bytes(rule)
        if refusal is not None:
            run.refusals += 1
            return refusal
        return Reservation(self, rule, run, None, FREE, None, now_s)

    def run_view(self, rule: BudgetRule, run_id: str) -> RunView | None:
        """One run, or None if it is unknown."""
        run = self.runs_table.peek(run_id)
        return None if run is None else _view(run, rule, self._clock.monotonic())

    def runs(self, rule: BudgetRule, limit: int) -> list[RunView]:
        """At most `limit` runs, the last called first."""
        return self.runs_of(rule, self.runs_table.recent(limit))

    def runs_of(self, rule: BudgetRule, runs: Iterable[Run]) -> list[RunView]:
        """These runs, in this order."""
        now_s = self._clock.monotonic()
        return [_view(run, rule, now_s) for run in runs]

    def shares(self, rule: BudgetRule, limit: int, within_s: float) -> list[float]:
        """What the runs called last have used of the limit they are nearest to, as of their last
        call: at most `limit` runs, called in the last `within_s` seconds. A run that is over stays
        where it ended, instead of growing old into its limit of seconds."""
        oldest_s = self._clock.monotonic() - within_s
        return [
            used_share(run, run.limits.over(rule) if run.limits else rule, run.last_s)
            for run in self.runs_table.recent(limit)
            if run.last_s >= oldest_s
        ]

    def limit(self, run_id: str, changes: Mapping[str, int | float | None]) -> bool:
        """Set limits of this run alone, higher or lower than the policy's, by name of the
        `BudgetRule` field; None goes back to the policy's. They hold from the run's next call on
        and are forgotten with the run. False if the run is unknown."""
        run = self.runs_table.peek(run_id)
        if run is None:
            return False
        run.limits = (run.limits or RunLimits({})).with_changes(changes)
        if not run.is_dirty:
            self.runs_table.changes.note(run)
        return True

    def forget(self, run_id: str) -> bool:
        """Start this run anew, ended or not: the operator's word. Calls still in flight settle on
        the forgotten run; the agent's windows stay."""
        return self.runs_table.forget(run_id)

    def watch(self) -> None:
        """Note what changes from now on, for `take_changes`."""
        self.runs_table.changes.watch()
        self.agents_table.changes.watch()

    @property
    def has_changes(self) -> bool:
        """Is there something for `take_changes`?"""
        return len(self.runs_table.changes) > 0 or len(self.agents_table.changes) > 0

    def take_changes(self, limit: int) -> LedgerChanges:
        """What changed since last time, at most `limit` runs and as many agents."""
        now = instant(self._clock)
        return LedgerChanges(
            self.runs_table.take_changes(limit, now), self.agents_table.take_changes(limit, now)
        )

    def restore(
        self, rule: BudgetRule, runs: Iterable[KeptRun], agents: Iterable[KeptAgent]
    ) -> None:
        """Fill the empty ledger with what was kept across a restart."""
        now = instant(self._clock)
        self.runs_table.restore(runs, now, rule.run_retention_s)
        self.agents_table.restore(agents, now)

    def now_s(self) -> float:
        """The ledger's monotonic clock."""
        return self._clock.monotonic()


class Reservation:
    """One call's place in the budgets; made only by `Ledger.reserve`.

    Must end in `settle` (the call was made) or `refund` (it was refused later on). Whichever
    comes first counts, everything after it does nothing, so both may stand in a `finally`.
    """

    __slots__ = (
        "_agent", "_amount", "_hour_started_s", "_is_open", "_ledger", "_loop_keys", "_rule",
        "_run", "run_deadline_s",
    )  # fmt: skip

    def __init__(
        self,
        ledger: Ledger,
        rule: BudgetRule,
        run: Run,
        agent: Agent | None,
        amount: Amount,
        loop_key: int | None,
        now_s: float,
        more_keys: tuple[int, ...] = (),
    ) -> None:
        self._ledger = ledger
        self._rule = rule
        self._run = run
        self._agent = agent
        self._amount = amount
        self._is_open = True
        self._hour_started_s = 0.0
        self._loop_keys: tuple[int, ...] = ()  # what `refund` must unlearn
        # The instant at which the run's seconds end, monotonic; None: they do not.
        self.run_deadline_s: float | None = None
        if rule.max_seconds is not None and amount.calls:
            self.run_deadline_s = run.started_s + rule.max_seconds
        run.hold(amount)
        if loop_key is not None and rule.loop_limit is not None:
            table = ledger.runs_table
            if more_keys:
                keys = (loop_key, *more_keys)
                self._loop_keys = tuple(key for key in keys if table.learn(run, key))
            elif table.learn(run, loop_key):
                self._loop_keys = (loop_key,)
        if agent is not None:
            ledger.agents_table.charge(agent, amount, now_s)
            self._hour_started_s = agent.hour_started_s

    def add_bytes(self, count: int) -> bool:
        """Charge bytes as they flow, of request and answer. False once the run has more than its
        `max_bytes`: cut the call. Exactly the limit still fits. Bytes are never refunded."""
        run = self._run
        run.byte_count += count
        if not run.is_dirty:
            self._ledger.runs_table.changes.note(run)
        limit_bytes = self._rule.max_bytes
        return limit_bytes is None or run.byte_count <= limit_bytes

    def settle(self, cost_micros: int, tokens: int = 0) -> None:
        """The call was made and cost `cost_micros` in the end, more or less than was held.

        Negative amounts count as zero: they come from an upstream's `usage`, which must not be
        able to hand money back.
        """
        if not self._is_open:
            return
        self._is_open = False
        run = self._run
        cost_micros = max(0, cost_micros)
        run.release(self._amount)
        run.spend_micros += cost_micros
        run.tokens += max(0, tokens)
        if self._amount.calls:
            self._ledger.runs_table.touch(run, self._ledger.now_s())
        if self._agent is not None:
            self._ledger.agents_table.settle(self._agent, self._amount, cost_micros)

    def refund(self) -> None:
        """The call was refused after all: as if it had never been reserved, the agent's windows
        and the loop count included. A run that was ended stays ended."""
        if not self._is_open:
            return
        self._is_open = False
        run = self._run
        run.release(self._amount)
        run.uncount(self._amount)
        if not run.is_dirty:
            self._ledger.runs_table.changes.note(run)
        for key in self._loop_keys:
            self._ledger.runs_table.unlearn(run, key)
        if self._agent is not None:
            self._ledger.agents_table.refund(self._agent, self._amount, self._hour_started_s)

    def left(self, now_s: float) -> bytes:
        """The value of `Toolbooth-Budget`; empty if nothing is limited."""
        return left_text(self._run, self._rule, now_s)

    def warning(self, now_s: float) -> str | None:
        """The value of `Toolbooth-Warning`, if a `warn_at` was passed."""
        return warning_text(self._run, self._rule, now_s)


def _view(run: Run, rule: BudgetRule, now_s: float) -> RunView:
    limits = run.limits
    if limits is not None:
        rule = limits.over(rule)
    return RunView(
        run.run_id,
        used_amounts(run, now_s),
        left_amounts(run, rule, now_s),
        now_s - run.started_s,
        now_s - run.last_s,
        run.in_flight,
        run.refusals,
        run.looped,
        {} if limits is None else limits.changes,
    )
