from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.model.call import Effect, Kind, Origin
from proxy.policy.compile import load_policy
from proxy.policy.policy import (
    BreakerRule,
    CredentialRule,
    McpToolRule,
    Pricing,
    RateRule,
    RateScope,
    RetryRule,
    Timeouts,
    TunnelRule,
)
from proxy.policy.problem import PolicyError
from tests.policy.documents import EXTENDED, SMALL, WHOLE, policy_of


def test_the_small_document_loads_as_it_stands() -> None:
    policy = load_policy(SMALL)
    assert policy.allowlist == {"search.read", "http.get"}
    assert (policy.budgets.max_steps, policy.budgets.max_tool_calls) == (25, 12)
    assert policy.budgets.max_seconds == 60
    assert policy.observability.result_sample_rate == 0.01
    assert policy.tools == {}
    assert len(policy.warnings) == 3


def test_the_extended_document_loads_as_it_stands() -> None:
    policy = load_policy(EXTENDED)
    assert not policy.tools["search.read"].allowed
    assert policy.budgets.max_calls_per_hour == 200
    assert policy.budgets.max_spend_micros_per_day == 10_000_000
    assert policy.budgets.warn_at == (0.8, 0.95)
    assert policy.observability.redact.patterns == ("ACME-[0-9]{8}",)


def test_both_together_give_the_whole_rule() -> None:
    rule = load_policy(WHOLE).tools["search.read"]
    assert rule.allowed
    assert rule.destinations[0].ports == frozenset({80, 443})
    assert rule.destinations[0].methods == frozenset({"GET", "HEAD"})
    assert rule.upstream == Origin("https", "api.search.example", 443)
    assert (rule.kind, rule.effect, rule.cost_micros) == (Kind.TOOL, Effect.READ, 1000)
    assert rule.pricing == Pricing(3_000_000, 15_000_000)
    assert rule.idempotency_header == b"idempotency-key"
    assert rule.timeouts == Timeouts(3.0, 2.0, 15.0)
    assert rule.retries == RetryRule(2, (0.2, 0.8), 0.2)
    assert rule.rate == RateRule(5, 1.0, RateScope.TOOL, 0.5)
    assert rule.concurrency == 4
    assert rule.breaker == BreakerRule(0.5, 20, 10.0)


def test_defaults_where_nothing_is_said() -> None:
    rule = policy_of("a: {match: [{host: x}]}").tools["a"]
    assert rule.timeouts == Timeouts(8.0, 2.0, 15.0)
    assert rule.retries == RetryRule(2, (0.2, 0.8), 0.2)
    assert (rule.rate, rule.breaker, rule.concurrency) == (None, None, 1024)
    assert (rule.upstream, rule.upstream_path, rule.effect, rule.cost_micros) == (None, "", None, 0)
    assert rule.destinations[0].ports is None
    assert rule.destinations[0].methods is None
    assert rule.destinations[0].paths is None


def test_a_tool_overrides_only_what_it_names() -> None:
    policy = policy_of(
        """
        a: {match: [{host: x}]}
        b: {match: [{host: y}]}
        """,
        tools="""
        timeouts_ms: {default: 1000, idle: 7000, a: {connect: 5}, b: 2000}
        retries: {max: 3, backoff_ms: [1], a: {max: 0, budget_percent: 5}, b: {backoff_ms: [9, 10]}}
        rate_limits: {default: {requests: 9, scope: run, max_wait_ms: 3}, a: {per_seconds: 2}}
        concurrency: {default: 5, b: 1}
        """,
    )
    a, b = policy.tools["a"], policy.tools["b"]
    assert (a.timeouts, b.timeouts) == (Timeouts(1, 0.005, 7), Timeouts(2, 2, 7))
    assert (a.retries, b.retries) == (
        RetryRule(0, (0.001,), 0.05),
        RetryRule(3, (0.009, 0.01), 0.2),
    )
    assert a.rate == RateRule(9, 2.0, RateScope.RUN, 0.003)
    assert b.rate == RateRule(9, 1.0, RateScope.RUN, 0.003)
    assert (a.concurrency, b.concurrency) == (5, 1)


def test_a_rate_limit_of_one_tool_limits_no_other() -> None:
    policy = policy_of(
        "a: {match: [{host: x}]}\nb: {match: [{host: y}]}",
        tools="rate_limits: {a: {requests: 1}}",
    )
    assert policy.tools["a"].rate == RateRule(1, 1.0, RateScope.TOOL, 0.0)
    assert policy.tools["b"].rate is None


@pytest.mark.parametrize(
    ("kind", "listed", "allowed"),
    [
        pytest.param("tool", "gh", True, id="by its name"),
        pytest.param("tool", "'*'", True, id="by the wildcard for all"),
        pytest.param("tool", "'gh.*'", False, id="a wildcard below is not the tool itself"),
        pytest.param("tool", "gh.issue", False, id="nor is a name below"),
        pytest.param("tool", "g", False, id="nor a beginning"),
        pytest.param("mcp", "gh", True, id="an MCP server by its name"),
        pytest.param("mcp", "'gh.*'", True, id="by a wildcard for its tools"),
        pytest.param("mcp", "gh.issue", True, id="by one of its tools"),
        pytest.param("mcp", "ghost.issue", False, id="not by a longer name"),
    ],
)
def test_who_is_allowed(kind: str, listed: str, allowed: bool) -> None:
    policy = policy_of(f"gh: {{kind: {kind}, upstream: http://x}}", allowlist=f"[{listed}]")
    assert policy.tools["gh"].allowed is allowed


def test_a_prefix_wildcard_allows_dotted_names() -> None:
    catalog = "a.b: {upstream: http://x}\na.c.d: {upstream: http://x}\nab.c: {upstream: http://x}"
    rules = policy_of(catalog, allowlist="['a.*']").tools
    assert [rule.allowed for rule in rules.values()] == [True, True, False]


def test_an_empty_document_refuses_everything() -> None:
    policy = load_policy("")
    assert (policy.tools, policy.allowlist, policy.index.anywhere) == ({}, frozenset(), ())
    assert policy.warnings == ()


def test_the_environment_overrides_and_changes_the_version() -> None:
    plain = load_policy(SMALL)
    overridden = load_policy(SMALL, env={"AGENT_MAX_STEPS": "3", "AGENT_MAX_TOOL_CALLS": ""})
    assert (overridden.budgets.max_steps, overridden.budgets.max_tool_calls) == (3, 12)
    assert overridden.version != plain.version
    assert load_policy(SMALL, env={"AGENT_MAX_STEPS": "25", "PATH": "x"}).version == plain.version
    assert load_policy("", env={"AGENT_MAX_SECONDS": "1.5"}).budgets.max_seconds == 1.5


def test_manifests_may_quote_the_run_limits() -> None:
    assert load_policy("runtime: {env: {AGENT_MAX_STEPS: '7'}}").budgets.max_steps == 7


def test_the_version_is_of_the_meaning_not_of_the_text() -> None:
    plain = load_policy("tools: {allowlist: [a], timeouts_ms: {connect: 2000, a: 5}}")
    same = load_policy("# x\ntools:\n  timeouts_ms: {a: 5, default: 8000}\n  allowlist: ['a']")
    assert plain.version == same.version
    assert len(plain.version) == 12
    one = policy_of("a: {match: [{host: x}]}\nb: {match: [{host: '*'}]}")
    other = policy_of("b: {match: [{host: '*'}]}\na: {match: [{host: x}]}")
    assert one.version != other.version  # the order of the catalog decides calls


def test_hosts_and_upstreams_are_canonical() -> None:
    rule = policy_of("a: {match: [{host: API.Example.}], upstream: 'HTTP://[::0001]:8080/v1/'}")
    tool = rule.tools["a"]
    assert tool.destinations[0].host == "api.example"
    assert tool.upstream == Origin("http", "::1", 8080)
    assert tool.upstream_path == "/v1"


def test_what_redaction_compares_is_lower_case() -> None:
    text = "observability: {redact: {pii: false, headers: [X-Key], json_keys: [SSN]}}"
    redact = load_policy(text).observability.redact
    assert not redact.pii
    assert redact.headers == {"x-key"}
    assert redact.json_keys == {"ssn"}


def test_a_price_too_small_to_count_still_costs() -> None:
    tools = policy_of("a: {upstream: http://x, cost_usd: 0.0000001}\nb: {upstream: http://x}").tools
    assert (tools["a"].cost_micros, tools["b"].cost_micros) == (1, 0)


def test_any_port_is_a_star() -> None:
    assert (
        policy_of("a: {match: [{host: x, ports: ['*']}]}").tools["a"].destinations[0].ports is None
    )


def test_the_shipped_policy_loads_without_warning_and_allows_nothing() -> None:
    policy = load_policy(Path("config/policy.yaml").read_bytes())
    assert policy.warnings == ()
    assert (policy.allowlist, policy.tools) == (frozenset(), {})
    assert (policy.budgets.max_steps, policy.budgets.max_tool_calls) == (25, 12)


def test_the_commented_examples_of_the_shipped_policy_load_too() -> None:
    text = Path("config/policy.yaml").read_text()
    head, _, rest = text.partition("  catalog: {}")
    catalog, _, tail = rest.partition("budgets:")
    lines = [line.replace("# ", "", 1) for line in catalog.splitlines()[1:]]
    text = f"{head}  catalog:\n" + "\n".join(lines) + f"\nbudgets:{tail}"
    assert list(load_policy(text).tools) == ["search.read", "llm", "http.get"]


_SLIPS = st.sampled_from(
    ["", "null", "no", "-1", "[]", "{}", "'x'", "*", "&a", ": ", "\n", ".nan", "1e9"]
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 12), _SLIPS)
def test_a_slip_of_the_hand_is_a_policy_or_a_policy_error(at: int, cut: int, slip: str) -> None:
    text = WHOLE[:at] + slip + WHOLE[at + cut :]
    with suppress(PolicyError):
        assert load_policy(text).version


def test_what_an_entry_says_of_secrets_tunnels_and_mcp_tools_is_compiled() -> None:
    rule = policy_of(
        "a: {upstream: 'https://x', kind: mcp, trust_file: /etc/ca.pem,"
        " credentials: {header: X-Api-Key, format: '{secret}', secret_file: /run/key,"
        " placeholder: not-the-key, placeholder_query: [key, api_key]},"
        " tunnel: {raw: true, max_seconds: 60, max_bytes: 1000},"
        " tools: {search: {effect: read, cost_usd: 0.5}, send: {}}}"
    ).tools["a"]
    assert rule.credentials == CredentialRule(
        b"x-api-key", "{secret}", None, "/run/key", "not-the-key", frozenset(("key", "api_key"))
    )
    assert rule.trust_file == "/etc/ca.pem"
    assert rule.tunnel == TunnelRule(raw=True, max_s=60, max_bytes=1000)
    assert rule.mcp_tools == {
        "search": McpToolRule(Effect.READ, 500_000),
        "send": McpToolRule(None, None),
    }


def test_nothing_of_that_is_on_unless_it_is_asked_for() -> None:
    rule = policy_of("a: {upstream: 'https://x'}").tools["a"]
    assert (rule.credentials, rule.trust_file, rule.tunnel) == (None, None, TunnelRule())
    assert not rule.tunnel.raw
    assert rule.mcp_tools == {}


MCP = """tools:
  allowlist: ["docs.search", "docs.a.b", "docs.*", "docs2.x"]
  disabled: ["docs.off"]
  timeouts_ms: {default: 8000, docs: 4000, docs.slow: {call: 60000}}
  retries: {max: 2, docs.search: {max: 0}}
  rate_limits: {docs: {requests: 9, per_seconds: 2}, docs.search: {requests: 1}}
  concurrency: {default: 7, docs.slow: 2}
  catalog:
    docs:
      upstream: https://x
      kind: mcp
      effect: write
      cost_usd: 0.5
      tools: {search: {effect: read}, buy: {cost_usd: 2}}
    other: {upstream: https://y}
"""


def test_a_tool_of_an_mcp_server_that_is_named_anywhere_has_a_rule() -> None:
    policy = load_policy(MCP)
    docs = policy.tools["docs"]
    assert sorted(docs.variants) == ["a.b", "buy", "off", "search", "slow"]
    assert {variant.name for variant in docs.variants.values()} == {
        "docs.a.b", "docs.buy", "docs.off", "docs.search", "docs.slow",
    }  # fmt: skip
    assert list(policy.tools) == ["docs", "other"]
    assert policy.tools["other"].variants == {}
    names = ["docs", "docs.a.b", "docs.buy", "docs.off", "docs.search", "docs.slow", "other"]
    assert list(policy.every_rule()) == names


def test_it_says_what_is_said_of_it_and_else_what_its_server_says() -> None:
    variants = load_policy(MCP).tools["docs"].variants
    search, slow, buy = variants["search"], variants["slow"], variants["buy"]
    assert (search.effect, buy.effect) == (Effect.READ, Effect.WRITE)
    assert (search.cost_micros, buy.cost_micros) == (500_000, 2_000_000)
    assert (search.timeouts.call_s, slow.timeouts.call_s) == (4.0, 60.0)
    assert (search.retries.max_retries, slow.retries.max_retries) == (0, 2)
    assert search.rate is not None
    assert (search.rate.requests, search.rate.per_s) == (1, 2.0)
    assert (search.concurrency, slow.concurrency) == (7, 2)


def test_a_limit_that_is_not_its_own_is_shared_with_its_server() -> None:
    docs = load_policy(MCP).tools["docs"]
    search, slow = docs.variants["search"], docs.variants["slow"]
    assert (docs.rate_name, docs.slots_name) == ("docs", "docs")
    assert (search.rate_name, search.slots_name) == ("docs.search", "docs")
    assert (slow.rate_name, slow.slots_name) == ("docs", "docs.slow")
