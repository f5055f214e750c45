"""What each agent has used over all its runs: calls in an hour, dollars in a day.

The hour is a window of 3600 monotonic seconds that starts at the agent's first call in it. The
day is the UTC date of the wall clock and only moves forward: a wall clock set back gives nothing
back and charges nothing twice. (Set forward, a day does begin; nothing here can tell that from
midnight.)
"""

from collections import OrderedDict
from collections.abc import Iterable
from math import ceil
from typing import Final

from proxy.guards.allowance import usd
from proxy.guards.amount import Amount
from proxy.guards.changes import Changes
from proxy.guards.kept import Instant, KeptAgent, down_s, kept_count
from proxy.guards.runs import FULL_RETRY_AFTER_MS
from proxy.model.clock import Clock, utc_date
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.policy.policy import BudgetRule

HOUR_S: Final = 3600.0
_DAY_S: Final = 86_400
_SWEEP: Final = 2


class Agent:
    """The two windows of one agent. `held_micros` is reserved and belongs to no day yet: spend is
    charged to the day it is settled on. `day` counts days since 1970-01-01 UTC. `is_dirty`: see
    `Changes`."""

    __slots__ = (
        "agent_id", "calls", "day", "held_micros", "hour_started_s", "in_flight", "is_dirty",
        "last_s", "spend_micros",
    )  # fmt: skip

    def __init__(self, agent_id: str, now_s: float, day: int) -> None:
        self.agent_id = agent_id
        self.hour_started_s = now_s
        self.last_s = now_s
        self.calls = 0
        self.day = day
        self.spend_micros = 0
        self.held_micros = 0
        self.in_flight = 0
        self.is_dirty = False

    @classmethod
    def revived(cls, kept: KeptAgent, now: Instant, today: int) -> "Agent":
        """The agent as it was kept, its hour older by the time since. A day that is still to come
        was written under a wall clock set ahead: its spend counts for today, or the agent would
        be held by a day that lasts until then."""
        since_s = down_s(kept.saved_s, now)
        agent = cls(kept.agent_id, now.monotonic_s, min(kept.day, today))
        agent.hour_started_s = now.monotonic_s - kept.hour_age_s - since_s
        agent.last_s = now.monotonic_s - kept.idle_s - since_s
        agent.calls = kept.calls
        agent.spend_micros = kept.spend_micros
        return agent

    def kept(self, now: Instant) -> KeptAgent:
        """What outlives the process; what is reserved counts as spent."""
        return KeptAgent(
            self.agent_id,
            kept_count(self.calls),
            max(0.0, now.monotonic_s - self.hour_started_s),
            self.day,
            kept_count(self.spend_micros + self.held_micros),
            max(0.0, now.monotonic_s - self.last_s),
            now.wall_s,
        )

    def roll_hour(self, now_s: float) -> None:
        """Leave the hour if it is over; the next one starts at the next call let through."""
        if now_s - self.hour_started_s >= HOUR_S:
            self.calls = 0

    def roll_day(self, day: int) -> None:
        """Begin `day` if it is a later one."""
        if day > self.day:
            self.day = day
            self.spend_micros = 0

    def refuse(self, rule: BudgetRule, amount: Amount, now_s: float) -> Refusal | None:
        """The window that this would break, or None. Roll both first."""
        limit = rule.max_calls_per_hour
        if limit is not None and self.calls + amount.calls > limit:
            wait_s = self.hour_started_s + HOUR_S - now_s if self.calls else HOUR_S
            return Refusal(
                Reason.MAX_CALLS_PER_HOUR,
                f"This agent has used its {limit} calls of this hour; the next"
                f" hour opens in {_minutes(wait_s)}. Stop calling tools until then.",
                "budgets.per_agent.max_calls_per_hour",
            )
        limit_micros = rule.max_spend_micros_per_day
        if limit_micros is not None:
            used_micros = self.spend_micros + self.held_micros
            if not amount.fits(used_micros, limit_micros):
                return Refusal(
                    Reason.MAX_SPEND_USD_PER_DAY,
                    f"This agent has used {usd(used_micros)} of its {usd(limit_micros)} USD of"
                    f" today and this call costs {usd(amount.cost_micros)}; the next day opens on"
                    f" {utc_date((self.day + 1) * _DAY_S)} at 00:00 UTC. Stop calling tools until"
                    " then.",
                    "budgets.per_agent.max_spend_usd_per_day",
                )
        return None


class AgentTable:
    """Every agent with a window that may still bind, least recently called first.

    As with runs, none of those is evicted: a full table refuses new agents (`refused_full`).
    Counting starts when a per-agent limit is in force; without one nothing is kept.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._agents: OrderedDict[str, Agent] = OrderedDict()
        self._day = 0
        self.refused_full = 0
        self.changes: Changes[Agent] = Changes()

    def __len__(self) -> int:
        return len(self._agents)

    def judge(
        self, agent_id: str, rule: BudgetRule, amount: Amount, now_s: float
    ) -> Agent | Refusal:
        """The agent, if this fits its windows. Nothing is counted before `charge`."""
        day = self._today()
        agent = self._agents.get(agent_id)
        if agent is None:
            if not self._has_room(now_s, day, rule.max_runs):
                self.refused_full += 1
                return _table_full()
            agent = Agent(agent_id, now_s, day)
        else:
            agent.last_s = now_s
            self._agents.move_to_end(agent_id)
            agent.roll_hour(now_s)
            agent.roll_day(day)
        refusal = agent.refuse(rule, amount, now_s)
        return agent if refusal is None else refusal

    def charge(self, agent: Agent, amount: Amount, now_s: float) -> None:
        """Count this for an agent that was judged and hold its cost."""
        if agent.calls == 0:
            agent.hour_started_s = now_s
        agent.calls += amount.calls
        agent.held_micros += amount.held_micros
        agent.in_flight += 1
        self._agents[agent.agent_id] = agent
        if not agent.is_dirty:
            self.changes.note(agent)

    def settle(self, agent: Agent, amount: Amount, cost_micros: int) -> None:
        """In the end it cost `cost_micros`, which is today's spend."""
        agent.roll_day(self._today())
        agent.held_micros -= amount.held_micros
        agent.spend_micros += cost_micros
        agent.in_flight -= 1
        if not agent.is_dirty:
            self.changes.note(agent)

    def refund(self, agent: Agent, amount: Amount, hour_started_s: float) -> None:
        """As if it had not been counted in the window that began at `hour_started_s`."""
        agent.held_micros -= amount.held_micros
        agent.in_flight -= 1
        if agent.hour_started_s == hour_started_s:
            agent.calls = max(0, agent.calls - amount.calls)
        if not agent.is_dirty:
            self.changes.note(agent)

    def take_changes(self, limit: int, now: Instant) -> dict[str, KeptAgent | None]:
        """What changed since last time, by agent id, at most `limit` agents; None: forgotten."""
        changed, gone = self.changes.take(limit)
        taken: dict[str, KeptAgent | None] = dict.fromkeys(gone)
        for agent in changed:
            if self._agents.get(agent.agent_id) is agent:
                taken[agent.agent_id] = agent.kept(now)
        return taken

    def restore(self, kept: Iterable[KeptAgent], now: Instant) -> None:
        """Fill the empty table with what was kept; agents whose windows are over are forgotten."""
        today = self._today()
        agents = sorted((Agent.revived(one, now, today) for one in kept), key=_last_s)
        for agent in agents:
            if now.monotonic_s - agent.last_s >= HOUR_S and agent.day < today:
                self.changes.forget(agent.agent_id)
            else:
                self._agents[agent.agent_id] = agent

    def _today(self) -> int:
        day = int(self._clock.wall()) // _DAY_S
        if day > self._day:
            self._day = day
        return self._day

    def _has_room(self, now_s: float, day: int, limit: int) -> bool:
        for _ in range(min(_SWEEP, len(self._agents))):
            oldest = next(iter(self._agents.values()))
            if now_s - oldest.last_s < HOUR_S or oldest.day >= day:
                break
            if oldest.in_flight:
                oldest.last_s = now_s  # a call that is still going on is activity
                self._agents.move_to_end(oldest.agent_id)
            else:
                del self._agents[oldest.agent_id]
                self.changes.forget(oldest.agent_id)
        return len(self._agents) < limit


def _last_s(agent: Agent) -> float:
    return agent.last_s


def _table_full() -> Refusal:
    return Refusal(
        Reason.STATE_UNAVAILABLE,
        "The table of agents is full, so no new agent can start now; try again later.",
        "budgets.per_agent",
        FULL_RETRY_AFTER_MS,
    )


def _minutes(wait_s: float) -> str:
    minutes = max(1, ceil(wait_s / 60))
    return "1 minute" if minutes == 1 else f"{minutes} minutes"
