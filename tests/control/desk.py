"""An operator's desk for tests: the real guards and figures behind the real operator."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from proxy.app.reload import Loaded, PolicyKeeper
from proxy.ca.authority import CaView
from proxy.control.access import Access
from proxy.control.audit import Entry
from proxy.control.operator import Operator
from proxy.guards.breaker import Breakers
from proxy.guards.budget import Ledger, Reservation
from proxy.guards.switches import Switches
from proxy.model.call import Caller, Kind
from proxy.policy.compile import load_policy
from proxy.policy.policy import ObservabilityRule, Policy
from proxy.store.store import StoreError
from proxy.telemetry.metrics import Figures
from proxy.telemetry.recent import RecentCalls
from proxy.telemetry.redact import Redactor
from proxy.telemetry.spotlight import Spotlight
from tests.fakes.clock import FakeClock
from tests.telemetry.records import make_record

POLICY = """
runtime:
  env: {AGENT_MAX_TOOL_CALLS: 12}
tools:
  allowlist: [search.read, mail.send]
  disabled: [mail.send]
  catalog:
    search.read:
      match: [{host: api.search.example, ports: [80], methods: [GET], paths: ["/v1/search"]}]
      upstream: https://api.search.example/base
      effect: read
    mail.send:
      match: [{host: mail.example}]
    hidden:
      match: [{host: hidden.example}]
budgets: {max_spend_usd: 1.0}
"""


class BoundAt(NamedTuple):
    kind: str = "tcp"
    host: str = "127.0.0.1"


class ListTrail:
    """Keeps every entry. `fault`: what the next acts' entries cannot be written for; `before`: runs
    while an entry is being written."""

    def __init__(self, entries: list[dict[str, object]]) -> None:
        self._entries = entries
        self.fault: str | None = None
        self.before: Callable[[], object] = lambda: None

    def note(self, entry: Entry) -> None:
        self._entries.append(dict(entry))

    offer = note

    async def require(self, entry: Entry) -> None:
        await asyncio.sleep(0)
        self.before()
        if self.fault is not None:
            raise StoreError(self.fault)
        self.note(entry)

    async def settle(self) -> bool:
        return self.fault is None


class Desk:
    """`operator`, what stands behind it, and `audited`: every audit entry."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.policy = load_policy(POLICY)
        self.switches = Switches(self.clock)
        self.ledger = Ledger(self.clock)
        self.breakers = Breakers(self.clock)
        self.figures = Figures()
        self.figures.counts.know_tools(self.policy.tools)
        self.recent = RecentCalls(limit=50)
        self.redactor = Redactor(ObservabilityRule().redact)
        self.audited: list[dict[str, object]] = []
        self.trail = ListTrail(self.audited)
        self.is_draining = False
        self.spotlight = Spotlight()
        self.widened: list[int] = []
        self.keeper = PolicyKeeper(
            Path("/nonexistent/policy.yaml"),
            {},
            Loaded(self.policy, self.redactor, POLICY.encode()),
            redactor_of=lambda policy: Redactor(policy.observability.redact),
            adopt=self._adopt,
            clock=self.clock,
            audit=self.trail.note,
        )
        self.ca: Callable[[], CaView | None] = lambda: None
        self.operator = Operator(
            policy=lambda: self.policy,
            switches=self.switches,
            ledger=self.ledger,
            breakers=self.breakers,
            figures=self.figures,
            recent=self.recent,
            clock=self.clock,
            started_wall_s=self.clock.wall(),
            is_draining=lambda: self.is_draining,
            in_flight=lambda name: {"search.read": 3}.get(name, 0),
            audit=self.trail,
            listeners=lambda: {"proxy": "127.0.0.1:8080"},
            policies=self.keeper,
            spotlight=self.spotlight,
            widen=self.widened.append,
            ca=lambda: self.ca(),
        )

    def _adopt(self, policy: Policy, redactor: Redactor) -> None:
        self.policy, self.redactor = policy, redactor

    def see_call(self, number: int = 1, **values: object) -> None:
        """A call ends."""
        record = make_record(number, **values)
        self.figures.counts.observe(record)
        self.recent.add(record, self.redactor)

    def start_run(self, run_id: str) -> Reservation:
        """A run makes its first call, which goes on."""
        caller = Caller(run_id, "agent-1", True)
        place = self.ledger.reserve(self.policy.budgets, caller, Kind.TOOL, 1000, None)
        assert isinstance(place, Reservation)
        return place


def open_access() -> Access:
    """Nobody needs a token."""
    return Access(None, None, BoundAt())
