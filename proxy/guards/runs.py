"""What each run has used, and the limits of a run.

Arithmetic on one `Run` and the bounded table that holds them. `budget.py` puts them together
with the agents' windows.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from typing import Final

from proxy.guards.allowance import Usage, usd
from proxy.guards.amount import Amount
from proxy.guards.changes import Changes
from proxy.guards.kept import Instant, KeptRun, down_s, kept_count
from proxy.guards.run_limits import RunLimits
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.policy.policy import BudgetRule

LOOP_KEYS_PER_RUN: Final = 1_024
LOOP_KEYS_LIMIT: Final = 1_000_000  # over all runs, about 100 MB
FULL_RETRY_AFTER_MS: Final = 5_000
_SWEEP: Final = 2  # entries looked at per new one: the table shrinks faster than it grows


class Run(Usage):
    """What one run has used. Everything that is reserved counts as used.

    Times are monotonic. `is_waiting`: it has used nothing but bytes, and its seconds begin with its
    first call; until then `started_s` is when it was heard of last. `loops` counts equal calls by
    loop key, and is made on the first one. `looped`: it was caught in a loop, which ends it for
    good. `limits`: what an operator set for this run alone. `is_dirty`: see `Changes`.
    """

    __slots__ = (
        "in_flight", "is_dirty", "is_waiting", "last_s", "limits", "looped", "loops", "refusals",
        "run_id",
    )  # fmt: skip

    def __init__(self, run_id: str, now_s: float) -> None:
        super().__init__(now_s)
        self.run_id = run_id
        self.last_s = now_s
        self.is_waiting = False
        self.in_flight = 0
        self.refusals = 0
        self.looped = False
        self.loops: dict[int, int] | None = None
        self.limits: RunLimits | None = None
        self.is_dirty = False

    @classmethod
    def revived(cls, kept: KeptRun, now: Instant) -> "Run":
        """The run as it was kept, older by the time since. What was held is spent, and one whose
        seconds had not begun has them begin when it was heard of last: time is never given back."""
        since_s = down_s(kept.saved_s, now)
        run = cls(kept.run_id, now.monotonic_s - kept.age_s - since_s)
        run.last_s = now.monotonic_s - kept.idle_s - since_s
        run.steps = kept.steps
        run.tool_calls = kept.tool_calls
        run.spend_micros = kept.spend_micros
        run.tokens = kept.tokens
        run.byte_count = kept.byte_count
        run.refusals = kept.refusals
        run.looped = kept.looped
        run.limits = RunLimits(kept.limits) if kept.limits else None
        return run

    def kept(self, now: Instant) -> KeptRun:
        """What outlives the process; what is reserved counts as spent."""
        return KeptRun(
            self.run_id,
            kept_count(self.steps),
            kept_count(self.tool_calls),
            kept_count(self.spend_micros + self.held_micros),
            kept_count(self.tokens + self.held_tokens),
            kept_count(self.byte_count),
            kept_count(self.refusals),
            self.looped,
            {} if self.limits is None else self.limits.changes,
            now.monotonic_s - self.started_s,
            max(0.0, now.monotonic_s - self.last_s),
            now.wall_s,
        )

    def hold(self, amount: Amount) -> None:
        """Reserve it: from now on it counts as used."""
        if amount.is_step:
            self.steps += amount.calls
        else:
            self.tool_calls += amount.calls
        self.held_micros += amount.held_micros
        self.held_tokens += amount.held_tokens
        self.in_flight += 1

    def release(self, amount: Amount) -> None:
        """The call is over; what it used is known by other means. Its count stays."""
        self.held_micros -= amount.held_micros
        self.held_tokens -= amount.held_tokens
        self.in_flight -= 1

    def uncount(self, amount: Amount) -> None:
        """It was not made after all."""
        if amount.is_step:
            self.steps -= amount.calls
        else:
            self.tool_calls -= amount.calls

    def refuse(self, rule: BudgetRule, amount: Amount, now_s: float) -> Refusal | None:
        """The first limit that this would break, or None.

        Spend refuses what would go over the limit, so a free call still passes at exactly the
        limit. Tokens and bytes are known only afterwards, so they refuse once the limit is
        reached.
        """
        if self.looped:
            return _looped()
        if rule.max_seconds is not None and now_s - self.started_s >= rule.max_seconds:
            return _used_up(Reason.MAX_SECONDS, f"{rule.max_seconds:g} seconds")
        if amount.is_step:
            if rule.max_steps is not None and self.steps + amount.calls > rule.max_steps:
                return _used_up(Reason.MAX_STEPS, f"{rule.max_steps} steps")
        elif (
            rule.max_tool_calls is not None and self.tool_calls + amount.calls > rule.max_tool_calls
        ):
            return _used_up(Reason.MAX_TOOL_CALLS, f"{rule.max_tool_calls} tool calls")
        if rule.max_spend_micros is not None:
            used_micros = self.spend_micros + self.held_micros
            if not amount.fits(used_micros, rule.max_spend_micros):
                return _spent(used_micros, rule.max_spend_micros, amount.cost_micros)
        if rule.max_tokens is not None and self.tokens + self.held_tokens >= rule.max_tokens:
            return _used_up(Reason.MAX_TOKENS, f"{rule.max_tokens} tokens")
        return self.refuse_bytes(rule) if rule.max_bytes is not None else None

    def refuse_bytes(self, rule: BudgetRule) -> Refusal | None:
        """The same for what uses nothing but bytes."""
        if rule.max_bytes is not None and self.byte_count >= rule.max_bytes:
            return _used_up(Reason.MAX_BYTES, f"{rule.max_bytes} bytes")
        return None

    def refuse_loop(
        self, rule: BudgetRule, loop_key: int, more_keys: tuple[int, ...] = ()
    ) -> Refusal | None:
        """End the run if one of the keys has passed `loop_limit` times already, or would with its
        equals among `more_keys`."""
        if rule.loop_limit is None:
            return None
        loops = self.loops
        if not more_keys:
            if loops is None or loops.get(loop_key, 0) < rule.loop_limit:
                return None
        elif _all_pass(loops or {}, Counter((loop_key, *more_keys)), rule.loop_limit):
            return None
        self.looped = True
        return _looped()


def _all_pass(loops: dict[int, int], again: Counter[int], limit: int) -> bool:
    return all(loops.get(key, 0) + count <= limit for key, count in again.items())


class RunTable:
    """Every run remembered, least recently called first.

    Nothing that still binds is evicted to make room: a run is forgotten when nothing of it is in
    flight and its retention has passed since its last call, granted or refused. A full table
    refuses new runs, since evicting would hand a fresh budget to whoever floods it with names.
    """

    def __init__(self) -> None:
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._loop_keys = 0
        self.loops_unlearned = 0  # calls whose loop key found no room
        self.changes: Changes[Run] = Changes()

    def __len__(self) -> int:
        return len(self._runs)

    def peek(self, run_id: str) -> Run | None:
        """The run, for an onlooker."""
        return self._runs.get(run_id)

    def recent(self, limit: int) -> list[Run]:
        """At most `limit` runs, the last called first."""
        return [run for run, _ in zip(reversed(self._runs.values()), range(limit), strict=False)]

    def every(self) -> list[Run]:
        """All runs, least recently called first: a copy, to be looked through at leisure."""
        return list(self._runs.values())

    def find(self, run_id: str, now_s: float, retention_s: float) -> Run | None:
        """The run that is being called, or None if it is new or forgotten."""
        run = self._runs.get(run_id)
        if run is None:
            return None
        if run.in_flight == 0 and now_s - run.last_s >= retention_s:
            self.forget(run_id)
            return None
        run.last_s = now_s
        self._runs.move_to_end(run_id)
        if not run.is_dirty:
            self.changes.note(run)
        return run

    def has_room(self, now_s: float, rule: BudgetRule) -> bool:
        """Is there room for one more? Forgets what is due, a few entries at a time."""
        for _ in range(min(_SWEEP, len(self._runs))):
            oldest = next(iter(self._runs.values()))
            if now_s - oldest.last_s < rule.run_retention_s:
                break
            if oldest.in_flight:
                oldest.last_s = now_s  # a call that is still going on is activity
                self._runs.move_to_end(oldest.run_id)
            else:
                self.forget(oldest.run_id)
        return len(self._runs) < rule.max_runs

    def add(self, run: Run) -> None:
        """Remember a new run; ask `has_room` first."""
        self._runs[run.run_id] = run
        if not run.is_dirty:
            self.changes.note(run)

    def touch(self, run: Run, now_s: float) -> None:
        """A call of the run ended. Nothing happens to a run that was forgotten meanwhile."""
        if self._runs.get(run.run_id) is run:
            run.last_s = now_s
            self._runs.move_to_end(run.run_id)
            if not run.is_dirty:
                self.changes.note(run)

    def forget(self, run_id: str) -> bool:
        """Drop a run; its next call starts it anew."""
        run = self._runs.pop(run_id, None)
        if run is None:
            return False
        if run.loops is not None:
            self._loop_keys -= len(run.loops)
            run.loops = None
        self.changes.forget(run_id)
        return True

    def take_changes(self, limit: int, now: Instant) -> dict[str, KeptRun | None]:
        """What changed since last time, by run id, at most `limit` runs; None: forgotten."""
        changed, gone = self.changes.take(limit)
        taken: dict[str, KeptRun | None] = dict.fromkeys(gone)
        for run in changed:
            if self._runs.get(run.run_id) is run:  # else a late call of a forgotten one
                taken[run.run_id] = run.kept(now)
        return taken

    def restore(self, kept: Iterable[KeptRun], now: Instant, retention_s: float) -> None:
        """Fill the empty table with what was kept. Whatever still binds comes back, even beyond
        `max_runs`; what is past its retention is forgotten."""
        runs = sorted((Run.revived(one, now) for one in kept), key=_last_s)
        for run in runs:
            if now.monotonic_s - run.last_s >= retention_s:
                self.changes.forget(run.run_id)
            else:
                self._runs[run.run_id] = run

    def learn(self, run: Run, loop_key: int) -> bool:
        """Count one pass of `loop_key`; False if there is no room for another key."""
        loops = run.loops
        if loops is None:
            loops = run.loops = {}
        passed = loops.get(loop_key, 0)
        if passed == 0:
            if len(loops) >= LOOP_KEYS_PER_RUN or self._loop_keys >= LOOP_KEYS_LIMIT:
                self.loops_unlearned += 1
                return False
            self._loop_keys += 1
        loops[loop_key] = passed + 1
        return True

    def unlearn(self, run: Run, loop_key: int) -> None:
        """Take back one `learn` that returned True."""
        loops = run.loops
        if loops is None or loop_key not in loops:
            return  # the run was forgotten meanwhile, and its counts with it
        loops[loop_key] -= 1
        if loops[loop_key] == 0:
            del loops[loop_key]
            self._loop_keys -= 1


def _last_s(run: Run) -> float:
    return run.last_s


_RULES: Final = {
    Reason.MAX_STEPS: "runtime.env.AGENT_MAX_STEPS",
    Reason.MAX_TOOL_CALLS: "runtime.env.AGENT_MAX_TOOL_CALLS",
    Reason.MAX_SECONDS: "runtime.env.AGENT_MAX_SECONDS",
    Reason.MAX_TOKENS: "budgets.max_tokens",
    Reason.MAX_BYTES: "budgets.max_bytes",
}


def run_table_full() -> Refusal:
    """The answer to a run that would not fit."""
    return Refusal(
        Reason.STATE_UNAVAILABLE,
        "The table of runs is full, so no new run can be started now; try again later.",
        "budgets",
        FULL_RETRY_AFTER_MS,
    )


def _used_up(reason: Reason, what: str) -> Refusal:
    return Refusal(
        reason,
        f"This run has used its {what}; stop calling tools and finish with what you have.",
        _RULES[reason],
    )


def _spent(used_micros: int, limit_micros: int, cost_micros: int) -> Refusal:
    return Refusal(
        Reason.MAX_SPEND_USD,
        f"This run has used {usd(used_micros)} of its {usd(limit_micros)} USD and this call costs"
        f" {usd(cost_micros)}; stop calling tools and finish with what you have.",
        "budgets.max_spend_usd",
    )


def _looped() -> Refusal:
    return Refusal(
        Reason.LOOP_DETECTED,
        "This run has repeated the same call too often and was ended; stop calling tools and"
        " finish with what you have.",
        "budgets.loop_limit",
    )
