"""What would happen to a call, and why: the questions of `toolbooth explain`, answered by the very
functions that decide in production. Switches, budgets and limits are not part of it."""

from typing import NamedTuple

from proxy.model.call import Effect, Kind, Mode, Target, is_probe_host
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.policy.authorize import (
    authorize,
    authorize_mcp_tool,
    authorize_tunnel,
    is_intercepted,
    is_mcp_tool_name,
    tunnel_rule,
)
from proxy.policy.effect import effect_of
from proxy.policy.match import find_tool, find_tunnel_tools
from proxy.policy.policy import MICROS_PER_USD, Policy, RateRule, ToolRule

_PROBE = "The sidecar answers this name itself; no tool is called, and nothing is charged."
_TLS = {True: "intercepted, each request inside is judged", False: "an opaque tunnel"}


class Explanation(NamedTuple):
    """`verdict` is `ok` or the refusal's reason; `rule` what decided. `tool` and `effect` are None
    where no tool has the destination. `facts` are the limits the call would meet, for printing."""

    tool: str | None
    verdict: Reason
    rule: str
    detail: str
    effect: Effect | None
    facts: dict[str, str]


def explain(
    policy: Policy, method: str, target: Target, mcp_tool: str | None = None
) -> Explanation:
    """Judges one call without making it. `CONNECT` is judged as a tunnel, all else as a request
    the proxy can read. `mcp_tool`: the tool it calls, where it goes to an MCP server."""
    if is_probe_host(target.origin.host):
        return Explanation(None, Reason.OK, "", _PROBE, None, {})
    if method == "CONNECT":
        rules = find_tunnel_tools(policy, target.origin.host, target.origin.port)
        explanation = _explanation(
            tunnel_rule(rules, target), method, authorize_tunnel(rules, target)
        )
        if rules:
            explanation.facts["tls"] = _TLS[is_intercepted(rules)]
        return explanation
    rule = find_tool(policy, target.origin, method, target.path)
    refusal = authorize(rule, Mode.ABSOLUTE, method, target)
    if mcp_tool is None or rule is None or rule.kind is not Kind.MCP:
        return _explanation(rule, method, refusal)
    refusal = refusal or authorize_mcp_tool(policy, rule, mcp_tool)
    variant = rule.variants.get(mcp_tool, rule)
    explained = _explanation(variant, method, refusal)
    name = f"{rule.name}.{mcp_tool}" if is_mcp_tool_name(mcp_tool) else rule.name
    return explained._replace(tool=name, effect=variant.effect or Effect.WRITE)


def _explanation(rule: ToolRule | None, method: str, refusal: Refusal | None) -> Explanation:
    if refusal is not None:
        verdict, decided_by, detail = refusal.reason, refusal.rule, refusal.detail
    else:
        verdict, detail = Reason.OK, "The policy permits this call."
        decided_by = f"tools.catalog.{rule.name}" if rule else ""
    if rule is None:
        return Explanation(None, verdict, decided_by, detail, None, {})
    effect = effect_of(rule, method)
    return Explanation(rule.name, verdict, decided_by, detail, effect, _facts(rule))


def _facts(rule: ToolRule) -> dict[str, str]:
    facts = {
        "kind": rule.kind.value,
        "catalog place": str(rule.index + 1),
        "timeout": f"{rule.timeouts.call_s:g} s",
        "connect timeout": f"{rule.timeouts.connect_s:g} s",
        "idle timeout": f"{rule.timeouts.idle_s:g} s",
        "retries": str(rule.retries.max_retries),
        "rate limit": _rate(rule.rate),
        "concurrency": str(rule.concurrency),
        "cost": f"{rule.cost_micros / MICROS_PER_USD:g} USD",
    }
    if rule.breaker is not None:
        facts["circuit breaker"] = (
            f"opens for {rule.breaker.open_s:g} s at {rule.breaker.error_rate:.0%} errors"
        )
    if rule.allow_addresses:
        facts["opened addresses"] = ", ".join(map(str, rule.allow_addresses))
    return facts


def _rate(rate: RateRule | None) -> str:
    if rate is None:
        return "none"
    wait = f", waits up to {rate.max_wait_s:g} s" if rate.max_wait_s else ""
    return f"{rate.requests} per {rate.per_s:g} s for each {rate.scope.value}{wait}"
