"""What an operator can see and do, without HTTP: requests as values in, values for JSON out.

The guards stay the owners of their state; nothing is kept here. It runs on the event loop, where
that state lives.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy import __version__
from proxy.control.access import Visitor
from proxy.control.audit import Audit, audit_entry
from proxy.control.orders import CallQuery, SwitchOrder, suggestion
from proxy.control.problem import failed
from proxy.control.views import View, rule_view, run_view, switch_view
from proxy.guards.breaker import Breakers
from proxy.guards.budget import Ledger
from proxy.guards.switches import Switch, Switches
from proxy.model.clock import Clock, utc_timestamp
from proxy.policy.policy import Policy, ToolRule
from proxy.telemetry.metrics import OTHER_TOOL, UNKNOWN_TOOL, Figures
from proxy.telemetry.recent import RecentCalls

_TOTALS = ("calls", "errors", "refusals")


def _no_listeners() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """The operator's view of one running sidecar.

    `policy` gives the rules in force now; `in_flight` the calls of a tool under way; `audit` is
    handed every act that was done and, by the edge, every refused attempt; `listeners` tells what
    listens where.
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
    audit: Audit
    listeners: Callable[[], Mapping[str, str]] = _no_listeners

    def status(self) -> View:
        """The sidecar as a whole."""
        policy = self.policy()
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
        for name in (*policy.tools, UNKNOWN_TOOL, OTHER_TOOL):
            figures = self.figures.tool_figures(name)
            for key in _TOTALS:
                count = figures[key]
                totals[key] += count if isinstance(count, int) else 0
        return totals

    def rules(self) -> list[ToolRule]:
        """The catalog in order, for `tool` one by one."""
        return list(self.policy().tools.values())

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
        rule = self.policy().tools.get(name)
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
        """Switch `key` off. A tool that the policy does not know is a 404 unless forced: a typing
        error must not pass for a kill."""
        if key.startswith("tool:") and not force:
            self._check_tool_known(key.removeprefix("tool:"))
        try:
            switch = self.switches.engage(key, order.reason, visitor.actor, order.ttl_s)
        except ValueError as error:
            raise failed(422, "invalid_switch", f"{_sentence(error)}.") from None
        self._audit_switch(visitor, "switch.engage", switch)
        return switch_view(switch)

    def release(self, visitor: Visitor, key: str) -> View:
        """Switch `key` on again; 404 if it was not engaged."""
        switch = self.engaged().get(key)
        if switch is None or not self.switches.release(key):
            raise failed(404, "not_engaged", self._not_engaged(key))
        self._audit_switch(visitor, "switch.release", switch)
        return switch_view(switch)

    def _audit_switch(self, visitor: Visitor, action: str, switch: Switch) -> None:
        entry = audit_entry(
            self.clock.wall(), visitor, action, switch.key, switch.reason, outcome="done"
        )
        expires_s = switch.expires_s
        entry["expires"] = None if expires_s is None else utc_timestamp(expires_s)
        self.audit(entry)

    def _check_tool_known(self, name: str) -> None:
        """In the catalog, or the tool of an MCP server that is: `ENTRY.TOOL`."""
        tools = self.policy().tools
        entry = name
        while entry and entry not in tools:
            entry = entry.rpartition(".")[0]
        if name and not entry:
            detail = f"{self._no_such_tool(name)} To switch off the name anyway, force it."
            raise failed(404, "tool_unknown", detail)

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
        """The last calls that match, newest first."""
        found = self.recent.find(query.tool, query.code, query.run, query.limit)
        return {"calls": found}

    def runs(self, limit: int) -> View:
        """At most `limit` runs, the last called first, and how many are remembered."""
        engaged = self.engaged()
        views = self.ledger.runs(self.policy().budgets, limit)
        return {
            "runs": [run_view(run, engaged.get(f"run:{run.run_id}")) for run in views],
            "remembered": len(self.ledger.runs_table),
        }

    def run(self, run_id: str) -> View:
        """One run; 404 if it is not remembered."""
        run = self.ledger.run_view(self.policy().budgets, run_id)
        if run is None:
            detail = f"No run {run_id[:100]!a} is remembered; it starts with its first call."
            raise failed(404, "run_unknown", detail)
        return run_view(run, self.engaged().get(f"run:{run_id}"))


def _sentence(error: ValueError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]
