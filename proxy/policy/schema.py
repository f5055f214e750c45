"""The shape of a policy document: every key, its type, its default and what it means.

Used at load time only; `compile.py` turns it into the frozen rules the walk reads. Strict: unknown
keys, numbers as text, and true or false as numbers are errors. The descriptions are the reference
documentation (`reference.py`). Fields that default to None are unset; `null` cannot be written.
"""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from proxy.policy.catalog import CatalogEntry
from proxy.policy.fields import (
    Count,
    EnvCount,
    EnvSeconds,
    HeaderName,
    IdentityHeader,
    ListedName,
    Millis,
    MillisOrNone,
    Percent,
    PositiveCount,
    PositiveRatio,
    Ratio,
    RedactPattern,
    Scope,
    Seconds,
    ToolName,
    Usd,
)
from proxy.policy.section import PerTool, Section


class RuntimeEnv(Section):
    """Limits of one run. The environment variables of the same names override them."""

    max_steps: EnvCount | None = Field(
        None, alias="AGENT_MAX_STEPS", description="Calls of `kind: model` tools one run may make."
    )
    max_tool_calls: EnvCount | None = Field(
        None, alias="AGENT_MAX_TOOL_CALLS", description="Calls of all other tools one run may make."
    )
    max_seconds: EnvSeconds | None = Field(
        None, alias="AGENT_MAX_SECONDS", description="Time one run may take from its first call on."
    )


class Runtime(Section):
    """What the agent's runtime is told."""

    env: RuntimeEnv = Field(RuntimeEnv(), description="Limits of one run.")


class ToolTimeouts(Section):
    """Timeouts of one tool; a bare number means `call`."""

    call: Millis | None = Field(None, description="As `default`, for this tool.")
    connect: Millis | None = Field(None, description="As `connect`, for this tool.")
    idle: Millis | None = Field(None, description="As `idle`, for this tool.")

    @model_validator(mode="before")
    @classmethod
    def _bare_number(cls, value: Any) -> Any:
        return {"call": value} if not isinstance(value, dict) else value


class TimeoutsMs(PerTool):
    """Deadlines in milliseconds."""

    __pydantic_extra__: dict[str, ToolTimeouts] = Field(init=False)

    default: Millis = Field(
        8000, description="The whole call: queueing, every attempt and every backoff."
    )
    connect: Millis = Field(2000, description="Name look-up, TCP and TLS of one attempt.")
    idle: Millis = Field(15_000, description="Silence on an open answer or tunnel.")

    @property
    def per_tool(self) -> dict[str, ToolTimeouts]:
        """The entries under tool names."""
        return self.__pydantic_extra__


class RetryPart(Section):
    """How often and how patiently a failed call is tried again."""

    max: int | None = Field(None, ge=0, le=10, description="As `max`, for this tool.")
    backoff_ms: list[MillisOrNone] | None = Field(
        None, min_length=1, max_length=10, description="As `backoff_ms`, for this tool."
    )
    budget_percent: Percent | None = Field(None, description="As `budget_percent`, for this tool.")


class Retries(PerTool):
    """Retries of calls that may be repeated."""

    __pydantic_extra__: dict[str, RetryPart] = Field(init=False)

    max: int = Field(2, ge=0, le=10, description="Attempts beyond the first.")
    backoff_ms: list[MillisOrNone] = Field(
        [200, 800],
        min_length=1,
        max_length=10,
        description="Longest wait before each retry; the wait is drawn between 0 and that. The "
        "last one serves all further retries.",
    )
    budget_percent: Percent = Field(
        20.0, description="Retries may be at most this share of a tool's recent traffic."
    )

    @property
    def per_tool(self) -> dict[str, RetryPart]:
        """The entries under tool names."""
        return self.__pydantic_extra__


class RateLimit(Section):
    """A leaky bucket: `requests` per `per_seconds`, in bursts of at most `requests`."""

    requests: PositiveCount | None = Field(
        None, description="Calls per period. Must be given here or in `default`."
    )
    per_seconds: Seconds | None = Field(None, description="The period; 1 unless given.")
    scope: Scope | None = Field(
        None, description="Who shares the bucket; `tool` (all callers) unless given."
    )
    max_wait_ms: MillisOrNone | None = Field(
        None, description="How long a call may queue; 0 (not at all) unless given."
    )


class RateLimits(PerTool):
    """Without `default`, tools not named here are not limited."""

    __pydantic_extra__: dict[str, RateLimit] = Field(init=False)

    default: RateLimit | None = Field(None, description="For tools not named here.")

    @model_validator(mode="after")
    def _requests_known(self) -> Self:
        lacking = [name for name, part in self.per_tool.items() if part.requests is None]
        if self.default is not None and self.default.requests is None:
            raise ValueError("'default' needs 'requests'")
        if self.default is None and lacking:
            raise ValueError(f"'{lacking[0]}' needs 'requests', as there is no 'default'")
        return self

    @property
    def per_tool(self) -> dict[str, RateLimit]:
        """The entries under tool names."""
        return self.__pydantic_extra__


class Concurrency(PerTool):
    """Calls in flight at once, for each tool by itself."""

    __pydantic_extra__: dict[str, PositiveCount] = Field(init=False)

    default: PositiveCount = Field(1024, description="For tools not named here.")

    @property
    def per_tool(self) -> dict[str, int]:
        """The entries under tool names."""
        return self.__pydantic_extra__


class CircuitBreaker(Section):
    """Stops calling an upstream that keeps failing. Off unless this section is there."""

    error_rate: PositiveRatio = Field(0.5, description="Share of failed attempts that opens it.")
    min_requests: PositiveCount = Field(
        20, description="Recent attempts there must be before the share counts."
    )
    open_seconds: Seconds = Field(10.0, description="How long it stays open before one probe.")


class Tools(Section):
    """Which tools there are, which of them may be called, and how."""

    allowlist: list[ListedName] = Field(
        [], description="Names of tools that may be called; `PREFIX.*` and `*` are wildcards."
    )
    timeouts_ms: TimeoutsMs = Field(TimeoutsMs(), description="Deadlines.")
    retries: Retries = Field(Retries(), description="Retries.")
    rate_limits: RateLimits = Field(RateLimits(), description="Rate limits.")
    concurrency: Concurrency = Field(Concurrency(), description="Calls in flight.")
    circuit_breaker: CircuitBreaker | None = Field(None, description="Circuit breaker.")
    disabled: list[ListedName] = Field([], description="Tools switched off by this file.")
    writes_disabled: bool = Field(False, description="Refuse every call that may write.")
    catalog: dict[ToolName, CatalogEntry] = Field(
        {}, description="The tools by name; the first that fits a call is its tool."
    )

    @field_validator("disabled")
    @classmethod
    def _no_wildcard(cls, names: list[str]) -> list[str]:
        if any("*" in name for name in names):
            raise ValueError("names one tool each, no wildcards")
        return names


class PerAgent(Section):
    """Limits of one agent over all its runs."""

    max_calls_per_hour: Count | None = Field(None, description="Calls in any hour.")
    max_spend_usd_per_day: Usd | None = Field(None, description="Spend per UTC day.")


class Budgets(Section):
    """Who is calling and how much a run may use. What is not given is not limited."""

    run_header: IdentityHeader = Field("x-agent-run-id", description="Header with the run's id.")
    agent_header: IdentityHeader = Field("x-agent-id", description="Header with the agent's id.")
    on_missing_run: Literal["shared", "reject"] = Field(
        "shared",
        description="A call without a run id: one budget per client address, or refused (407).",
    )
    max_spend_usd: Usd | None = Field(None, description="Spend of one run.")
    max_tokens: Count | None = Field(
        None, description="Tokens of one run's models, as the `usage` of their answers says."
    )
    max_bytes: Count | None = Field(None, description="Bytes of one run, both ways.")
    per_agent: PerAgent = Field(PerAgent(), description="Limits of one agent.")
    loop_limit: int | None = Field(
        None,
        ge=1,
        le=10**6,
        description="The same call (tool, method, target, body) this often in one run ends it.",
    )
    warn_at: list[PositiveRatio] = Field(
        [], max_length=10, description="Shares of a budget from which on answers carry a warning."
    )
    max_runs: int = Field(
        250_000, ge=1, le=10**7, description="Runs, and as many agents, remembered at once."
    )
    run_retention_seconds: Seconds = Field(
        86_400.0, description="A run is forgotten this long after its last call."
    )

    @model_validator(mode="after")
    def _headers_differ(self) -> Self:
        if self.run_header == self.agent_header:
            raise ValueError("'run_header' and 'agent_header' must differ")
        return self


class Redact(Section):
    """What records must not show, beyond what they never do."""

    pii: bool = Field(True, description="E-mail addresses, card numbers and the like.")
    headers: list[HeaderName] = Field([], max_length=1000, description="Further header names.")
    json_keys: list[str] = Field([], max_length=1000, description="Further keys of JSON bodies.")
    patterns: list[RedactPattern] = Field(
        [], max_length=100, description="Further texts, as RE2 expressions."
    )


class Observability(Section):
    """How much of a call its record shows."""

    sampled_tool_results: bool = Field(True, description="Sampled records hold bodies at all.")
    result_sample_rate: Ratio = Field(0.01, description="Share of calls that are sampled.")
    sample_rates: dict[ToolName, Ratio] = Field(
        {},
        description="The share for single tools, in place of `result_sample_rate`. A run that is "
        "sampled at one rate is sampled at every higher one.",
    )
    slow_ms: Millis | None = Field(
        None,
        description="Calls that take at least so long keep their bodies although their run is not "
        "sampled. Every call then holds its bodies while it lasts.",
    )
    max_result_bytes: int = Field(
        8192, ge=0, le=1024 * 1024, description="Bytes kept of each sampled body."
    )
    redact: Redact = Field(Redact(), description="What records must not show.")


class Rollout(Section):
    """Accepted and checked; without effect in this version."""

    canary_percent: Percent | None = Field(None, description="Share of callers on a new policy.")
    rollback_on_error_rate: Ratio | None = Field(None, description="Share of errors that ends it.")


class PolicyDocument(Section):
    """The whole document. An empty one is valid and refuses every call."""

    runtime: Runtime = Field(Runtime(), description="What the agent's runtime is told.")
    tools: Tools = Field(Tools(), description="The tools.")
    budgets: Budgets = Field(Budgets(), description="Budgets.")
    observability: Observability = Field(Observability(), description="Records.")
    rollout: Rollout | None = Field(None, description="Gradual roll-out of policies.")
