"""What an operator does while calls are under way, and how it is undone."""

from proxy.app.assemble import swap_policy
from proxy.policy.compile import load_policy
from tests.fakes.sidecar import Sidecar

POLICY = """\
tools:
  allowlist: [a, m]
  retries: {max: 1, backoff_ms: [1, 2]}
  timeouts_ms: {default: 120, connect: 60, idle: 80}
  concurrency: {default: 4}
  rate_limits: {default: {requests: 5, per_seconds: 0.1, scope: run, max_wait_ms: 60}}
  circuit_breaker: {error_rate: 0.9, min_requests: 4, open_seconds: 0.03}
  catalog:
    a: {match: [{host: a.test, ports: [80, 81, 443]}], cost_usd: 0.000007, tunnel: {raw: true}}
    m:
      match: [{host: m.test, ports: [80, 81, 443]}]
      kind: model
      cost_usd: 0.000003
      tunnel: {raw: true}
      pricing: {input_usd_per_mtok: 3, output_usd_per_mtok: 15}
budgets:
  loop_limit: 40
  max_spend_usd: 0.002
  max_tokens: 100000
  per_agent: {max_calls_per_hour: 1000, max_spend_usd_per_day: 1}
observability: {result_sample_rate: 1}
"""
_POLICIES = {
    "swap: without a model": POLICY.replace("allowlist: [a, m]", "allowlist: [a]"),
    "swap: narrow": POLICY.replace("{default: 4}", "{default: 1}").replace(
        "requests: 5", "requests: 2"
    ),
    "swap: slow calls": POLICY.replace("sample_rate: 1", "sample_rate: 0, slow_ms: 60").replace(
        "  loop_limit: 40\n", ""
    ),
}
_KILLS = ("kill tool:a", "kill run:one", "kill all")
ACTS = ("nothing", *_KILLS, "drain", *_POLICIES)


def begin(sidecar: Sidecar, act: str) -> None:
    """In the midst of calls."""
    if act in _KILLS:
        sidecar.booth.switches.engage(act.removeprefix("kill "), "why not", "operator")
    elif act in _POLICIES:
        _swap(sidecar, _POLICIES[act])
    elif act == "drain":
        sidecar.booth.is_draining = True


def end(sidecar: Sidecar, act: str) -> None:
    """As it was before."""
    if act in _KILLS:
        sidecar.booth.switches.release(act.removeprefix("kill "))
    elif act in _POLICIES:
        _swap(sidecar, POLICY)
    sidecar.booth.is_draining = False


def _swap(sidecar: Sidecar, text: str) -> None:
    policy = load_policy(text)
    swap_policy(sidecar.booth, sidecar.telemetry, policy, sidecar.telemetry.redactor_of(policy))
