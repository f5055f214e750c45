"""Policy documents that tests share."""

import pytest

from proxy.policy.compile import load_policy
from proxy.policy.policy import Policy
from proxy.policy.problem import PolicyError, PolicyProblem

SMALL = """\
runtime:
  env: {AGENT_MAX_STEPS: 25, AGENT_MAX_TOOL_CALLS: 12, AGENT_MAX_SECONDS: 60}
tools:
  allowlist: ["search.read", "http.get"]
  timeouts_ms: {default: 8000}
  retries: {max: 2, backoff_ms: [200, 800]}
observability:
  sampled_tool_results: true
  result_sample_rate: 0.01
rollout:
  canary_percent: 10
  rollback_on_error_rate: 0.05
"""

EXTENDED = """\
tools:
  timeouts_ms: {default: 8000, connect: 2000, idle: 15000, search.read: 3000}
  retries: {max: 2, backoff_ms: [200, 800], budget_percent: 20, http.get: {max: 0}}
  rate_limits:
    default: {requests: 50, per_seconds: 1, scope: tool, max_wait_ms: 0}
    search.read: {requests: 5, per_seconds: 1, max_wait_ms: 500}
  concurrency: {default: 32, search.read: 4}
  circuit_breaker: {error_rate: 0.5, min_requests: 20, open_seconds: 10}
  disabled: []
  writes_disabled: false
  catalog:
    search.read:
      match: [{host: api.search.example, ports: [443, 80], methods: [GET, HEAD], paths: ["/v1/search", "/v1/search/**"]}]
      upstream: https://api.search.example  # what the gateway path /tools/search.read/ forwards to
      kind: tool
      effect: read
      cost_usd: 0.001
      pricing: {input_usd_per_mtok: 3, output_usd_per_mtok: 15}
      allow_addresses: []
      intercept_tls: false
      retry_writes: false
      idempotency: {header: Idempotency-Key, ttl_seconds: 600}
      credentials: {header: Authorization, format: "Bearer {secret}", secret_env: SEARCH_API_KEY}
budgets:
  run_header: X-Agent-Run-Id
  agent_header: X-Agent-Id
  on_missing_run: shared
  max_spend_usd: 1.00
  per_agent: {max_calls_per_hour: 200, max_spend_usd_per_day: 10}
  loop_limit: 5
  warn_at: [0.8, 0.95]
observability:
  sampled_tool_results: true
  result_sample_rate: 0.01
  max_result_bytes: 8192
  redact: {pii: true, headers: [x-internal-key], json_keys: [ssn], patterns: ["ACME-[0-9]{8}"]}
"""  # noqa: E501

# The small document and its extension in one, as an operator would end up with.
WHOLE = (
    EXTENDED.replace("tools:\n", 'tools:\n  allowlist: ["search.read", "http.get"]\n', 1)
    + "".join(SMALL.partition("rollout:")[1:])
    + "".join(SMALL.partition("tools:")[:1])
)


def policy_of(catalog: str, *, allowlist: str = '["*"]', tools: str = "") -> Policy:
    """A policy with this catalog, one entry a line in flow style."""
    entries = "".join(f"    {line.strip()}\n" for line in catalog.strip().splitlines())
    extra = "".join(f"  {line.strip()}\n" for line in tools.strip().splitlines())
    body = f"  catalog:\n{entries}" if entries else ""
    return load_policy(f"tools:\n  allowlist: {allowlist}\n{extra}{body}")


def problems_of(text: str, env: dict[str, str] | None = None) -> list[PolicyProblem]:
    """What `load_policy` complains about; fails if it does not."""
    with pytest.raises(PolicyError) as caught:
        load_policy(text, env=env)
    return caught.value.errors
