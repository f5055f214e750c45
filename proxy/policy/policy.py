"""The rules in force, as the walk reads them.

Frozen, validated, in runtime units (seconds, micros, canonical hosts); the file's shape lives in
`schema.py` and is turned into this by `compile.py`. A policy is replaced whole and never edited,
and no counter lives in it: state outlives policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from math import inf
from typing import Final, NamedTuple

from proxy.model.call import Effect, Kind, Origin, Target
from proxy.model.errors import Refusal
from proxy.model.remember import Memory
from proxy.policy.path_glob import PathGlobs

Network = IPv4Network | IPv6Network

MICROS_PER_USD: Final = 1_000_000
MOST_ROUTES: Final = 1024


class RateScope(StrEnum):
    """Who shares a bucket: everyone calling the tool, each run, or each agent."""

    TOOL = "tool"
    RUN = "run"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class RateRule:
    """Leaky bucket: `requests` per `per_s` seconds, bursts of up to `requests`."""

    requests: int
    per_s: float
    scope: RateScope
    max_wait_s: float


@dataclass(frozen=True, slots=True)
class RetryRule:
    """`max_retries` beyond the first attempt; retry i waits uniform(0, backoff_s[min(i, last)]);
    all retries together at most `budget_ratio` of recent traffic."""

    max_retries: int
    backoff_s: tuple[float, ...]
    budget_ratio: float


@dataclass(frozen=True, slots=True)
class BreakerRule:
    """Opens for `open_s` when at least `min_requests` recent attempts failed at `error_rate`."""

    error_rate: float
    min_requests: int
    open_s: float


@dataclass(frozen=True, slots=True)
class Timeouts:
    """`call_s`: the whole call, queueing and retries included; `connect_s`: DNS, TCP and TLS of
    one attempt; `idle_s`: silence on an open answer or tunnel."""

    call_s: float
    connect_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class Pricing:
    """Price of a model's tokens, micros of a dollar per million tokens."""

    input_micros_per_mtok: int
    output_micros_per_mtok: int


@dataclass(frozen=True, slots=True)
class CredentialRule:
    """What the agent never holds. `header` is lower case; `template` has `{secret}` in it once.
    Exactly one of `secret_env` and `secret_file` names where the secret is read. `placeholder`: a
    text that stands for it in the agent's own key headers, and as the whole value of those query
    parameters that `placeholder_query` names."""

    header: bytes
    template: str
    secret_env: str | None
    secret_file: str | None
    placeholder: str | None
    placeholder_query: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TunnelRule:
    """Limits of one opaque tunnel. `raw`: what is neither TLS nor HTTP may pass. None: no limit
    beyond those of the run."""

    raw: bool = False
    max_s: float | None = None
    max_bytes: int | None = None  # both ways together


@dataclass(frozen=True, slots=True)
class McpToolRule:
    """What differs for one tool of an MCP server. None: as the server's entry says."""

    effect: Effect | None
    cost_micros: int | None


@dataclass(frozen=True, slots=True)
class Destination:
    """One `match` line. `host`: exact name or address, `*.suffix` (one or more labels), or `*`.
    None means any. `paths` are globs over the raw path, as written; `globs` are the same, ready
    to match."""

    host: str
    ports: frozenset[int] | None
    methods: frozenset[str] | None
    paths: tuple[str, ...] | None
    globs: PathGlobs | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derived here and nowhere else, so that `globs` cannot disagree with `paths`."""
        object.__setattr__(self, "globs", None if self.paths is None else PathGlobs(self.paths))


@dataclass(frozen=True, slots=True, eq=False)
class ToolRule:
    """Everything the policy says about one tool, defaults filled in. Compared by identity: a new
    policy has new rules."""

    name: str
    index: int  # place in the catalog; the lowest match wins
    allowed: bool  # on tools.allowlist
    destinations: tuple[Destination, ...]
    upstream: Origin | None
    upstream_path: str  # prefix of `upstream`, without trailing slash
    kind: Kind
    effect: Effect | None  # None: by method
    cost_micros: int
    pricing: Pricing | None
    allow_addresses: tuple[Network, ...]
    intercept_tls: bool
    retry_writes: bool
    idempotency_header: bytes | None  # lower case
    timeouts: Timeouts
    retries: RetryRule
    rate: RateRule | None
    concurrency: int
    breaker: BreakerRule | None
    credentials: CredentialRule | None = None
    trust_file: str | None = None  # PEM of the CAs its upstream is verified against; None: system's
    tunnel: TunnelRule = TunnelRule()
    mcp_tools: Mapping[str, McpToolRule] = field(default_factory=dict)  # by MCP tool name
    variants: "Mapping[str, ToolRule]" = field(default_factory=dict)  # the same, as whole rules
    rate_name: str = ""  # whose bucket its calls take from, itself unless it shares its server's
    slots_name: str = ""  # the same for places of concurrent calls

    def __post_init__(self) -> None:
        """A rule that says nothing else has limits of its own."""
        object.__setattr__(self, "rate_name", self.rate_name or self.name)
        object.__setattr__(self, "slots_name", self.slots_name or self.name)


@dataclass(frozen=True, slots=True)
class BudgetRule:
    """Limits of one run, and of one agent over its runs. None: no limit. Header names are lower
    case bytes."""

    run_header: bytes = b"x-agent-run-id"
    agent_header: bytes = b"x-agent-id"
    reject_missing_run: bool = False
    max_steps: int | None = None
    max_tool_calls: int | None = None
    max_seconds: float | None = None
    max_spend_micros: int | None = None
    max_tokens: int | None = None
    max_bytes: int | None = None
    max_calls_per_hour: int | None = None
    max_spend_micros_per_day: int | None = None
    loop_limit: int | None = None
    warn_at: tuple[float, ...] = ()
    max_runs: int = 250_000  # distinct runs, and as many agents, remembered at once
    run_retention_s: float = 86_400.0  # a run is forgotten this long after its last call
    # What every call asks for, made once.
    identity_headers: frozenset[bytes] = field(init=False, repr=False, compare=False)
    limits_agents: bool = field(init=False, repr=False, compare=False)
    warns_from: tuple[float, ...] = field(init=False, repr=False, compare=False)  # amounts

    def __post_init__(self) -> None:
        """Derived here and nowhere else, so that it cannot disagree."""
        names = frozenset((self.run_header, self.agent_header))
        limits = (self.max_calls_per_hour, self.max_spend_micros_per_day)
        object.__setattr__(self, "identity_headers", names)
        object.__setattr__(self, "limits_agents", limits != (None, None))
        object.__setattr__(self, "warns_from", self._warns_from())

    def _warns_from(self) -> tuple[float, ...]:
        """What the lowest `warn_at` is of each limit, a little less for want of exact fractions:
        steps, tool calls, seconds, spend, tokens, bytes; infinite without a limit."""
        lowest = min(self.warn_at, default=inf) * (1 - 1e-9)
        limits = (self.max_steps, self.max_tool_calls, self.max_seconds, self.max_spend_micros,
                  self.max_tokens, self.max_bytes)  # fmt: skip
        return tuple(lowest * limit if limit else inf for limit in limits)


@dataclass(frozen=True, slots=True)
class RedactRule:
    """What a record must not show, beyond the built-in headers, keys and patterns. Names are
    lower case."""

    pii: bool = True
    headers: frozenset[str] = frozenset()
    json_keys: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObservabilityRule:
    """How much of a call a record shows. `sample_rates`: by tool, in place of the rate for all;
    `slow_ms`: a call that takes at least so long is shown whatever its rate."""

    sampled_tool_results: bool = True
    result_sample_rate: float = 0.01
    sample_rates: Mapping[str, float] = field(default_factory=dict)
    slow_ms: int | None = None
    max_result_bytes: int = 8192
    redact: RedactRule = field(default_factory=RedactRule)


@dataclass(frozen=True, slots=True)
class ToolIndex:
    """The catalog by host, so that a look-up does not grow with the catalog. Each tuple is in
    catalog order and pairs a rule with the one destination that put it there."""

    exact: dict[str, tuple[tuple[ToolRule, Destination], ...]]
    suffix: dict[str, tuple[tuple[ToolRule, Destination], ...]]  # key: what follows `*.`
    anywhere: tuple[tuple[ToolRule, Destination], ...]


class Route(NamedTuple):
    """What a policy says of a request. `rules`: the one tool it is for, or none; `refusal`: why it
    may not be called."""

    rules: tuple[ToolRule, ...]
    refusal: Refusal | None
    effect: Effect


def _no_routes() -> "Memory[tuple[str, Target, ToolRule | None], Route]":
    return Memory(MOST_ROUTES)


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """One policy document, compiled. `version` is a digest of the effective document. `routes`:
    see `proxy.policy.route`."""

    version: str
    tools: dict[str, ToolRule]  # catalog entries by name, in order
    index: ToolIndex
    allowlist: frozenset[str]
    disabled: frozenset[str]
    writes_disabled: bool
    budgets: BudgetRule
    observability: ObservabilityRule
    warnings: tuple[str, ...] = ()
    routes: Memory[tuple[str, Target, ToolRule | None], Route] = field(
        default_factory=_no_routes, init=False, repr=False
    )

    def every_rule(self) -> dict[str, ToolRule]:
        """The catalog in order, each MCP server followed by those of its tools that are named
        somewhere. Made anew each time: for operators, not for calls."""
        rules: dict[str, ToolRule] = {}
        for name, rule in self.tools.items():
            rules[name] = rule
            for variant in rule.variants.values():
                rules.setdefault(variant.name, variant)
        return rules
