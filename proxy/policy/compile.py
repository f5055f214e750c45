"""From the checked document to the rules in force: defaults filled in, units made runtime units,
the catalog indexed by host. The one way to a `Policy`."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

from proxy.model.call import Effect, Kind
from proxy.policy.authorize import is_on_allowlist
from proxy.policy.catalog import CatalogEntry, Match, McpTool
from proxy.policy.caveats import caveats
from proxy.policy.decode import decode
from proxy.policy.document import read_document
from proxy.policy.fields import network_of, split_upstream
from proxy.policy.policy import (
    MICROS_PER_USD,
    BreakerRule,
    BudgetRule,
    CredentialRule,
    Destination,
    McpToolRule,
    ObservabilityRule,
    Policy,
    Pricing,
    RateRule,
    RateScope,
    RedactRule,
    RetryRule,
    Timeouts,
    ToolIndex,
    ToolRule,
    TunnelRule,
)
from proxy.policy.schema import PolicyDocument, RateLimit, Tools

_VERSION_CHARS = 12


def load_policy(source: str | bytes, *, env: Mapping[str, str] | None = None) -> Policy:
    """Compiles one policy document (YAML; bytes must be UTF-8).

    `env` may hold AGENT_MAX_STEPS, AGENT_MAX_TOOL_CALLS and AGENT_MAX_SECONDS, which override
    `runtime.env`. Raises `PolicyError` with every problem, and never returns half a policy.
    """
    return compile_policy(decode(read_document(source), env or {}))


def compile_policy(document: PolicyDocument) -> Policy:
    """The frozen rules of a checked document."""
    tools = document.tools
    allowlist = frozenset(tools.allowlist)
    rules = {
        name: _with_variants(
            _rule(index, name, entry, tools, _is_allowed(name, entry, allowlist)), tools, allowlist
        )
        for index, (name, entry) in enumerate(tools.catalog.items())
    }
    return Policy(
        version=_version(document),
        tools=rules,
        index=_index(rules),
        allowlist=allowlist,
        disabled=frozenset(tools.disabled),
        writes_disabled=tools.writes_disabled,
        budgets=_budgets(document),
        observability=_observability(document),
        warnings=tuple(caveats(document, rules)),
    )


def _version(document: PolicyDocument) -> str:
    """A digest of what is in force: defaults and overrides included, comments and the order of
    keys not. The catalog's order decides calls, so it counts."""
    effective = [document.model_dump(mode="json", by_alias=True), list(document.tools.catalog)]
    canonical = json.dumps(effective, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:_VERSION_CHARS]


def _is_allowed(name: str, entry: CatalogEntry, allowlist: frozenset[str]) -> bool:
    """An MCP server may be spoken to as soon as one of its tools is allowed."""
    if is_on_allowlist(allowlist, name):
        return True
    return entry.kind == "mcp" and any(listed.startswith(f"{name}.") for listed in allowlist)


def _rule(index: int, name: str, entry: CatalogEntry, tools: Tools, allowed: bool) -> ToolRule:
    upstream = split_upstream(entry.upstream) if entry.upstream is not None else None
    return ToolRule(
        name=name,
        index=index,
        allowed=allowed,
        destinations=tuple(_destination(match) for match in entry.match),
        upstream=upstream.origin if upstream else None,
        upstream_path=upstream.path if upstream else "",
        kind=Kind(entry.kind),
        effect=Effect(entry.effect) if entry.effect else None,
        cost_micros=_micros(entry.cost_usd),
        pricing=_pricing(entry),
        allow_addresses=tuple(map(network_of, entry.allow_addresses)),
        intercept_tls=entry.intercept_tls,
        retry_writes=entry.retry_writes,
        idempotency_header=entry.idempotency.header.encode() if entry.idempotency else None,
        timeouts=_timeouts((name,), tools),
        retries=_retries((name,), tools),
        rate=_rate((name,), tools),
        concurrency=tools.concurrency.per_tool.get(name, tools.concurrency.default),
        breaker=_breaker(tools),
        credentials=_credentials(entry),
        trust_file=entry.trust_file,
        tunnel=TunnelRule(entry.tunnel.raw, entry.tunnel.max_seconds, entry.tunnel.max_bytes),
        mcp_tools={name: _mcp_tool(tool) for name, tool in entry.tools.items()},
    )


def _credentials(entry: CatalogEntry) -> CredentialRule | None:
    given = entry.credentials
    if given is None:
        return None
    return CredentialRule(
        given.header.encode(),
        given.format,
        given.secret_env,
        given.secret_file,
        given.placeholder,
        frozenset(given.placeholder_query),
    )


def _mcp_tool(tool: McpTool) -> McpToolRule:
    effect = Effect(tool.effect) if tool.effect else None
    return McpToolRule(effect, None if tool.cost_usd is None else _micros(tool.cost_usd))


def _destination(match: Match) -> Destination:
    return Destination(
        host=match.host,
        ports=_ports(match.ports),
        methods=frozenset(match.methods) if match.methods is not None else None,
        paths=tuple(match.paths) if match.paths is not None else None,
    )


def _ports(listed: list[int | Literal["*"]] | None) -> frozenset[int] | None:
    if listed is None:
        return None
    numbers = frozenset(port for port in listed if port != "*")
    return numbers if len(numbers) == len(set(listed)) else None


def _micros(usd: float) -> int:
    """Micros of a dollar. A price too small for one is not rounded down to nothing."""
    return max(round(usd * MICROS_PER_USD), 1 if usd > 0 else 0)


def _optional_micros(usd: float | None) -> int | None:
    return None if usd is None else round(usd * MICROS_PER_USD)


def _pricing(entry: CatalogEntry) -> Pricing | None:
    if entry.pricing is None:
        return None
    return Pricing(
        _micros(entry.pricing.input_usd_per_mtok), _micros(entry.pricing.output_usd_per_mtok)
    )


def _timeouts(names: tuple[str, ...], tools: Tools) -> Timeouts:
    """What the section says of these names, the last one over those before it."""
    section = tools.timeouts_ms
    call_ms, connect_ms, idle_ms = section.default, section.connect, section.idle
    for name in names:
        own = section.per_tool.get(name)
        if own is None:
            continue
        call_ms = call_ms if own.call is None else own.call
        connect_ms = connect_ms if own.connect is None else own.connect
        idle_ms = idle_ms if own.idle is None else own.idle
    return Timeouts(call_ms / 1000, connect_ms / 1000, idle_ms / 1000)


def _retries(names: tuple[str, ...], tools: Tools) -> RetryRule:
    section = tools.retries
    times, backoff_ms, percent = section.max, section.backoff_ms, section.budget_percent
    for name in names:
        own = section.per_tool.get(name)
        if own is None:
            continue
        times = times if own.max is None else own.max
        backoff_ms = backoff_ms if own.backoff_ms is None else own.backoff_ms
        percent = percent if own.budget_percent is None else own.budget_percent
    return RetryRule(times, tuple(ms / 1000 for ms in backoff_ms), percent / 100)


def _rate(names: tuple[str, ...], tools: Tools) -> RateRule | None:
    section = tools.rate_limits
    parts = [section.default, *map(section.per_tool.get, names)]
    if all(part is None for part in parts):
        return None
    given = RateLimit().model_dump()
    for part in parts:
        given |= part.model_dump(exclude_unset=True) if part is not None else {}
    return RateRule(
        requests=given["requests"],
        per_s=given["per_seconds"] or 1.0,
        scope=RateScope(given["scope"] or "tool"),
        max_wait_s=(given["max_wait_ms"] or 0) / 1000,
    )


def _with_variants(server: ToolRule, tools: Tools, allowlist: frozenset[str]) -> ToolRule:
    """An MCP server with a rule for each of its tools that the policy names anywhere. All others
    go by the server's, so that names an agent makes up grow no table."""
    if server.kind is not Kind.MCP:
        return server
    prefix = f"{server.name}."
    names = {name.removeprefix(prefix) for name in _named(tools) if name.startswith(prefix)}
    names = {name for name in names | server.mcp_tools.keys() if not name.endswith("*")}
    return replace(
        server,
        variants={name: _variant(server, name, tools, allowlist) for name in sorted(names)},
    )


def _named(tools: Tools) -> Iterator[str]:
    """Every tool name outside of the catalog."""
    yield from tools.allowlist
    yield from tools.disabled
    for section in (tools.timeouts_ms, tools.retries, tools.rate_limits, tools.concurrency):
        yield from section.per_tool


def _variant(server: ToolRule, tool: str, tools: Tools, allowlist: frozenset[str]) -> ToolRule:
    """One tool of a server: as the server, where nothing else is said. A limit that is not its own
    is shared with the server."""
    name = f"{server.name}.{tool}"
    layers = (server.name, name)
    own = server.mcp_tools.get(tool, McpToolRule(None, None))
    return replace(
        server,
        name=name,
        allowed=is_on_allowlist(allowlist, name),
        effect=own.effect or server.effect,
        cost_micros=server.cost_micros if own.cost_micros is None else own.cost_micros,
        timeouts=_timeouts(layers, tools),
        retries=_retries(layers, tools),
        rate=_rate(layers, tools),
        concurrency=tools.concurrency.per_tool.get(name, server.concurrency),
        rate_name=name if name in tools.rate_limits.per_tool else server.name,
        slots_name=name if name in tools.concurrency.per_tool else server.name,
    )


def _breaker(tools: Tools) -> BreakerRule | None:
    section = tools.circuit_breaker
    if section is None:
        return None
    return BreakerRule(section.error_rate, section.min_requests, section.open_seconds)


def _budgets(document: PolicyDocument) -> BudgetRule:
    limits, budgets = document.runtime.env, document.budgets
    return BudgetRule(
        run_header=budgets.run_header.encode(),
        agent_header=budgets.agent_header.encode(),
        reject_missing_run=budgets.on_missing_run == "reject",
        max_steps=limits.max_steps,
        max_tool_calls=limits.max_tool_calls,
        max_seconds=limits.max_seconds,
        max_spend_micros=_optional_micros(budgets.max_spend_usd),
        max_tokens=budgets.max_tokens,
        max_bytes=budgets.max_bytes,
        max_calls_per_hour=budgets.per_agent.max_calls_per_hour,
        max_spend_micros_per_day=_optional_micros(budgets.per_agent.max_spend_usd_per_day),
        loop_limit=budgets.loop_limit,
        warn_at=tuple(sorted(set(budgets.warn_at))),
        max_runs=budgets.max_runs,
        run_retention_s=budgets.run_retention_seconds,
    )


def _observability(document: PolicyDocument) -> ObservabilityRule:
    section = document.observability
    return ObservabilityRule(
        sampled_tool_results=section.sampled_tool_results,
        result_sample_rate=section.result_sample_rate,
        sample_rates=dict(section.sample_rates),
        slow_ms=section.slow_ms,
        max_result_bytes=section.max_result_bytes,
        redact=RedactRule(
            pii=section.redact.pii,
            headers=frozenset(section.redact.headers),
            json_keys=frozenset(key.lower() for key in section.redact.json_keys),
            patterns=tuple(section.redact.patterns),
        ),
    )


def _index(rules: Mapping[str, ToolRule]) -> ToolIndex:
    exact: dict[str, list[tuple[ToolRule, Destination]]] = {}
    suffix: dict[str, list[tuple[ToolRule, Destination]]] = {}
    anywhere: list[tuple[ToolRule, Destination]] = []
    for rule in rules.values():
        for destination in rule.destinations:
            entry = (rule, destination)
            if destination.host == "*":
                anywhere.append(entry)
            elif destination.host.startswith("*."):
                suffix.setdefault(destination.host[2:], []).append(entry)
            else:
                exact.setdefault(destination.host, []).append(entry)
    return ToolIndex(
        exact={host: tuple(entries) for host, entries in exact.items()},
        suffix={host: tuple(entries) for host, entries in suffix.items()},
        anywhere=tuple(anywhere),
    )
