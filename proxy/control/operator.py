"""What an operator can see and do, without HTTP: requests as values in, values for JSON out.

The guards stay the owners of their state; nothing is kept here. It runs on the event loop, where
that state lives.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from proxy import __version__
from proxy.ca.authority import CaView
from proxy.control.access import Visitor
from proxy.control.audit import Entry, Trail, audit_entry
from proxy.control.orders import CallQuery, SwitchOrder, suggestion
from proxy.control.policies import Policies
from proxy.control.policy_views import failure_view
from proxy.control.problem import ProblemError, failed
from proxy.control.views import View, rule_view, switch_view
from proxy.guards.breaker import Breakers
from proxy.guards.budget import Ledger
from proxy.guards.switches import Switch, Switches
from proxy.model.clock import Clock, utc_timestamp
from proxy.policy.policy import Policy, ToolRule
from proxy.store.store import StoreError
from proxy.telemetry.metrics import Figures
from proxy.telemetry.recent import RecentCalls
from proxy.telemetry.spotlight import Spotlight
from proxy.telemetry.tool_figures import OTHER_TOOL, UNKNOWN_TOOL

_TOTALS = ("calls", "errors", "refusals")


def _no_listeners() -> Mapping[str, str]:
    return {}


def _no_ca() -> None:
    return None


async def keep_nothing() -> None:
    """State lives in memory: there is nothing to wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The operator's view of one running sidecar.

    `policy` gives the rules in force now; `in_flight` the calls of a tool under way; `audit` is
    handed every act and, by the edge, every refused attempt; `policies` keeps the policy;
    `widen` is told how large the bodies are that `spotlight` has captured; `listeners` tells what
    listens where; `keep_switches` returns once they are where a restart finds them, or raises
    `StoreError`; `ca` shows the CA for interception, if there is one. Runs and the policy have
    desks of their own: `RunDesk`, `PolicyDesk`.
    """

    policy: Callable[[], Policy]
    switches: Switches
    ledger: Ledger
    breakers: Breakers
    figures: Figures
    recent: RecentCalls
    clock: Clock
    started_wall_s: float
    is_draining: Callable[[], bool]
    in_flight: Callable[[str], int]
    audit: Trail
    policies: Policies
    spotlight: Spotlight
    widen: Callable[[int], None]
    listeners: Callable[[], Mapping[str, str]] = _no_listeners
    keep_switches: Callable[[], Awaitable[None]] = keep_nothing
    ca: Callable[[], CaView | None] = _no_ca

    def status(self) -> View:
        """The sidecar as a whole."""
        policy, state = self.policy(), self.policies.state
        return {
            "version": __version__,
            "started": utc_timestamp(self.started_wall_s),
            "uptime_seconds": round(max(0.0, self.clock.wall() - self.started_wall_s), 3),
            "draining": self.is_draining(),
            "listeners": dict(self.listeners()),
            "policy": {
                "version": policy.version,
                "tools": len(policy.tools),
                "allowed": sum(rule.allowed for rule in policy.tools.values()),
                "warnings": list(policy.warnings),
                "source": state.source,
                "loaded": utc_timestamp(state.loaded_wall_s),
                "last_error": failure_view(state.last_error),
            },
            "switches": {
                "engaged": len(self.switches.active()),
                "by_policy": len(policy.disabled) + policy.writes_disabled,
            },
            "runs": len(self.ledger.runs_table),
            "totals": self._totals(policy),
        }

    def _totals(self, policy: Policy) -> dict[str, int]:
        totals = dict.fromkeys(_TOTALS, 0)
        for name in (*policy.every_rule(), UNKNOWN_TOOL, OTHER_TOOL):
            figures = self.figures.tool_figures(name)
            for key in _TOTALS:
                count = figures[key]
                totals[key] += count if isinstance(count, int) else 0
        return totals

    def rules(self) -> list[ToolRule]:
        """The catalog in order, named tools of MCP servers included, for `tool` one by one."""
        return list(self.policy().every_rule().values())

    def tool(self, rule: ToolRule, engaged: Mapping[str, Switch]) -> View:
        """One tool: its rule, its figures, its state. `engaged`: every switch by key."""
        switch = engaged.get(f"tool:{rule.name}")
        return {
            **rule_view(rule),
            **self.figures.tool_figures(rule.name),
            "in_flight": self.in_flight(rule.name),
            "breaker": self.breakers.worst(rule.name).value,
            "switch": None if switch is None else switch_view(switch),
            "disabled_by_policy": rule.name in self.policy().disabled,
        }

    def tool_named(self, name: str) -> View:
        """One tool by name; 404 if the catalog does not have it."""
        rule = self.policy().every_rule().get(name)
        if rule is None:
            raise failed(404, "tool_unknown", self._no_such_tool(name))
        return self.tool(rule, self.engaged())

    def engaged(self) -> dict[str, Switch]:
        """Every engaged switch by key."""
        return {switch.key: switch for switch in self.switches.active()}

    def list_switches(self) -> View:
        """What is switched off: by people, and by the policy file."""
        policy = self.policy()
        return {
            "switches": [switch_view(switch) for switch in self.switches.active()],
            "policy": {
                "disabled": sorted(policy.disabled),
                "writes_disabled": policy.writes_disabled,
            },
        }

    def engage(
        self, visitor: Visitor, key: str, order: SwitchOrder, *, force: bool = False
    ) -> View:
        """Switch `key` off, whatever becomes of the audit: no full disk may keep a kill from
        taking hold. A tool that the policy does not know is a 404 unless forced: a typing error
        must not pass for a kill."""
        if key.startswith("tool:") and not force:
            try:
                self.check_tool_known(key.removeprefix("tool:"))
            except ProblemError as error:
                detail = f"{error.problem.detail} To switch off the name anyway, force it."
                raise ProblemError(error.problem._replace(detail=detail)) from None
        try:
            switch = self.switches.engage(key, order.reason, visitor.actor, order.ttl_s)
        except ValueError as error:
            raise failed(422, "invalid_switch", f"{_sentence(error)}.") from None
        self.audit.note(self._switch_entry(visitor, "switch.engage", switch))
        return switch_view(switch)

    async def make_durable(self, done: str, after_restart: str) -> None:
        """Wait until switches would survive a restart; 507 if they would not, which says what holds
        now (`done`) and what would then. The audit is waited for too, but not insisted on."""
        await self.audit.settle()
        try:
            await self.keep_switches()
        except StoreError as error:
            detail = f"{done} and this process acts on it, but a restart {after_restart}: {error}"
            raise failed(507, "state_unavailable", detail) from None

    async def release(self, visitor: Visitor, key: str) -> View:
        """Switch `key` on again; 404 if it was not engaged, 409 if it was engaged anew while the
        audit was being written: that kill is not the one to be released."""
        switch = self.engaged().get(key)
        if switch is None:
            raise failed(404, "not_engaged", self._not_engaged(key))
        await self._require(self._switch_entry(visitor, "switch.release", switch))
        now = self.engaged().get(key)
        if now is not None and now != switch:
            detail = f"The switch {key[:100]!a} was engaged anew meanwhile; look, then try again."
            raise failed(409, "switch_changed", detail)
        if not self.switches.release(key):
            raise failed(404, "not_engaged", self._not_engaged(key))
        return switch_view(switch)

    def _switch_entry(self, visitor: Visitor, action: str, switch: Switch) -> Entry:
        expires_s = switch.expires_s
        expires = None if expires_s is None else utc_timestamp(expires_s)
        wall_s = self.clock.wall()
        entry = audit_entry(wall_s, visitor, action, switch.key, switch.reason, outcome="done")
        return {**entry, "expires": expires}

    async def audit_first(
        self, visitor: Visitor, action: str, key: str, reason: str = "", **more: object
    ) -> None:
        """To be awaited right before an act is done; 507 if the act cannot be audited, and then it
        must not be done. What was true before may have changed when this returns."""
        entry = audit_entry(self.clock.wall(), visitor, action, key, reason, outcome="done")
        await self._require({**entry, **more})

    async def _require(self, entry: Entry) -> None:
        try:
            await self.audit.require(entry)
        except StoreError as error:
            detail = f"Nothing was changed, since it could not be audited: {error}"
            raise failed(507, "state_unavailable", detail) from None

    def check_tool_known(self, name: str) -> None:
        """404 unless it is in the catalog, or the tool of an MCP server that is: `ENTRY.TOOL`."""
        tools = self.policy().tools
        entry = name
        while entry and entry not in tools:
            entry = entry.rpartition(".")[0]
        if name and not entry:
            raise failed(404, "tool_unknown", self._no_such_tool(name))

    def _no_such_tool(self, name: str) -> str:
        known = list(self.policy().tools)
        return f"The catalog has no tool {name[:100]!a}{suggestion(name, known)}."

    def _not_engaged(self, key: str) -> str:
        policy = self.policy()
        by_policy = key.removeprefix("tool:") in policy.disabled and key.startswith("tool:")
        if by_policy or (key == "writes" and policy.writes_disabled):
            return f"{key[:100]!a} is switched off by the policy file; change it there."
        return f"No switch {key[:100]!a} is engaged."

    def calls(self, query: CallQuery) -> View:
        """The last calls that match, newest first. Asked for a tool that nobody called and the
        policy does not know, it is a 404: a typing error must not look like silence."""
        found = self.recent.find(query.tool, query.code, query.run, query.limit)
        if not found and query.tool:
            self.check_tool_known(query.tool)
        return {"calls": found}


def _sentence(error: ValueError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
