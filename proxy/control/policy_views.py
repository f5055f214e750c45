"""What the control API shows of a policy: its meaning in short, and how it differs from another."""

from collections.abc import Iterable
from dataclasses import fields

from proxy.control.policies import PolicyFailure
from proxy.control.views import View
from proxy.model.clock import utc_timestamp
from proxy.policy.policy import MICROS_PER_USD, BudgetRule, Policy, ToolRule
from proxy.policy.problem import PolicyProblem

MOST_ERRORS = 500
_SECTIONS = ("allowlist", "disabled", "writes_disabled", "budgets", "observability")
_OF_A_TOOL = tuple(field.name for field in fields(ToolRule) if field.name != "index")


def effective_view(policy: Policy) -> View:
    """The policy with its defaults and the overrides of the environment, tools by name only
    (`/v1/tools` has them)."""
    rule, redact = policy.observability, policy.observability.redact
    return {
        "tools": list(policy.tools),
        "allowed": [name for name, tool in policy.tools.items() if tool.allowed],
        "allowlist": sorted(policy.allowlist),
        "disabled": sorted(policy.disabled),
        "writes_disabled": policy.writes_disabled,
        "budgets": _budgets_view(policy.budgets),
        "observability": {
            "sampled_tool_results": rule.sampled_tool_results,
            "result_sample_rate": rule.result_sample_rate,
            "sample_rates": dict(rule.sample_rates),
            "slow_ms": rule.slow_ms,
            "max_result_bytes": rule.max_result_bytes,
            "redact": {
                "pii": redact.pii,
                "headers": sorted(redact.headers),
                "json_keys": sorted(redact.json_keys),
                "patterns": len(redact.patterns),
            },
        },
    }


def changes_view(before: Policy, after: Policy) -> View:
    """What `after` changes: tools by name, and sections other than the catalog. `reordered`: tools
    of both come in another order, which decides who gets a call that fits two."""
    kept = [name for name in after.tools if name in before.tools]
    return {
        "added": [name for name in after.tools if name not in before.tools],
        "removed": [name for name in before.tools if name not in after.tools],
        "changed": [name for name in kept if not _is_same(before.tools[name], after.tools[name])],
        "reordered": kept != [name for name in before.tools if name in after.tools],
        "sections": [name for name in _SECTIONS if getattr(before, name) != getattr(after, name)],
    }


def errors_view(errors: Iterable[PolicyProblem]) -> list[View]:
    """Each complaint with its place, the first `MOST_ERRORS` of them."""
    return [error._asdict() for error in list(errors)[:MOST_ERRORS]]


def failure_view(failure: PolicyFailure | None) -> View | None:
    """Why the last policy that was offered is not in force."""
    if failure is None:
        return None
    return {
        "ts": utc_timestamp(failure.wall_s),
        "source": failure.source,
        "detail": failure.detail,
        "errors": errors_view(failure.errors),
    }


def _is_same(one: ToolRule, other: ToolRule) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in _OF_A_TOOL)


def _budgets_view(rule: BudgetRule) -> View:
    return {
        "run_header": rule.run_header.decode(),
        "agent_header": rule.agent_header.decode(),
        "on_missing_run": "reject" if rule.reject_missing_run else "shared",
        "max_steps": rule.max_steps,
        "max_tool_calls": rule.max_tool_calls,
        "max_seconds": rule.max_seconds,
        "max_spend_usd": _usd(rule.max_spend_micros),
        "max_tokens": rule.max_tokens,
        "max_bytes": rule.max_bytes,
        "max_calls_per_hour": rule.max_calls_per_hour,
        "max_spend_usd_per_day": _usd(rule.max_spend_micros_per_day),
        "loop_limit": rule.loop_limit,
        "warn_at": list(rule.warn_at),
    }


def _usd(micros: int | None) -> float | None:
    return None if micros is None else micros / MICROS_PER_USD
