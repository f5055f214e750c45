"""Rules and callers with everything filled in that a test does not care about."""

from proxy.model.call import Caller, Effect, Kind
from proxy.policy.policy import (
    BudgetRule,
    ObservabilityRule,
    Policy,
    RetryRule,
    Timeouts,
    ToolIndex,
    ToolRule,
)


def a_tool(name: str = "search.read", retry_writes: bool = False) -> ToolRule:
    return ToolRule(
        name=name,
        index=0,
        allowed=True,
        destinations=(),
        upstream=None,
        upstream_path="",
        kind=Kind.TOOL,
        effect=Effect.READ,
        cost_micros=0,
        pricing=None,
        allow_addresses=(),
        intercept_tls=False,
        retry_writes=retry_writes,
        idempotency_header=None,
        timeouts=Timeouts(call_s=8, connect_s=2, idle_s=15),
        retries=RetryRule(max_retries=2, backoff_s=(0.2, 0.8), budget_ratio=0.2),
        rate=None,
        concurrency=32,
        breaker=None,
    )


def a_policy(
    disabled: frozenset[str] = frozenset(),
    writes_disabled: bool = False,
) -> Policy:
    return Policy(
        version="1",
        tools={},
        index=ToolIndex({}, {}, ()),
        allowlist=frozenset(),
        disabled=disabled,
        writes_disabled=writes_disabled,
        budgets=BudgetRule(),
        observability=ObservabilityRule(),
    )


def a_caller(run_id: str = "run-1", agent_id: str = "agent-1") -> Caller:
    return Caller(run_id, agent_id, run_given=True)
