"""What the control API shows of things: plain values for JSON.

Names carry their units. What agents wrote (run ids) is shown as it is, since an operator must be
able to name it in the next request; whoever prints it makes it visible first.
"""

from collections.abc import Mapping

from proxy.guards.allowance import Amounts
from proxy.guards.budget import RunView
from proxy.guards.switches import Switch
from proxy.model.clock import utc_timestamp
from proxy.policy.policy import MICROS_PER_USD, Destination, ToolRule

View = dict[str, object]


def switch_view(switch: Switch) -> View:
    """One engaged switch; `expires` None: until released."""
    expires_s = switch.expires_s
    return {
        "key": switch.key,
        "reason": switch.reason,
        "actor": switch.actor,
        "since": utc_timestamp(switch.since_s),
        "expires": None if expires_s is None else utc_timestamp(expires_s),
    }


def rule_view(rule: ToolRule) -> View:
    """What the policy says about a tool, in short. `effect` None: by method."""
    return {
        "name": rule.name,
        "allowed": rule.allowed,
        "kind": rule.kind.value,
        "effect": rule.effect.value if rule.effect else None,
        "destinations": [destination_text(destination) for destination in rule.destinations],
        "upstream": None
        if rule.upstream is None
        else f"{rule.upstream.scheme}://{rule.upstream.authority}{rule.upstream_path}",
    }


def destination_text(destination: Destination) -> str:
    """`GET,HEAD api.search.example:80,443 /v1/search /v1/search/**`; what is not restricted is
    left out."""
    host = f"[{destination.host}]" if ":" in destination.host else destination.host
    ports = "" if destination.ports is None else ":" + ",".join(map(str, sorted(destination.ports)))
    methods = "" if destination.methods is None else ",".join(sorted(destination.methods)) + " "
    paths = "" if destination.paths is None else " " + " ".join(destination.paths)
    return f"{methods}{host}{ports}{paths}"


def run_view(run: RunView, switch: Switch | None) -> View:
    """What a run has used and has left; None where there is no limit."""
    return {
        "run_id": run.run_id,
        "used": _amounts_view(run.used),
        "left": _amounts_view(run.left),
        "limits": _limits_view(run.limits),
        "age_seconds": round(run.age_s, 3),
        "idle_seconds": round(run.idle_s, 3),
        "in_flight": run.in_flight,
        "refusals": run.refusals,
        "looped": run.looped,
        "switch": None if switch is None else switch_view(switch),
    }


def _limits_view(limits: Mapping[str, int | float]) -> View:
    """What an operator set for this run alone."""
    view: View = dict(limits)
    if "max_spend_micros" in limits:
        del view["max_spend_micros"]
        view["max_spend_usd"] = limits["max_spend_micros"] / MICROS_PER_USD
    return view


def _amounts_view(amounts: Amounts) -> View:
    seconds, micros = amounts.seconds, amounts.spend_micros
    return {
        "steps": amounts.steps,
        "tool_calls": amounts.tool_calls,
        "seconds": None if seconds is None else round(seconds, 3),
        "spend_usd": None if micros is None else micros / MICROS_PER_USD,
        "tokens": amounts.tokens,
        "bytes": amounts.bytes,
    }
