import pytest

from proxy.model.call import Effect, Origin, Target
from proxy.model.reason import Reason
from proxy.policy.compile import load_policy
from proxy.policy.explain import explain
from proxy.wire.target import parse_absolute
from tests.policy.documents import policy_of

POLICY = policy_of(
    """
    search: {match: [{host: api.example, methods: [GET]}], cost_usd: 0.001}
    lan: {match: [{host: 10.0.0.1, ports: [80]}], allow_addresses: [10.0.0.0/24]}
    closed: {match: [{host: c.example}]}
    """,
    allowlist="[search, lan]",
    tools="""
    rate_limits: {search: {requests: 5, per_seconds: 2, scope: run, max_wait_ms: 500}}
    circuit_breaker: {}
    """,
)


def test_a_permitted_call() -> None:
    told = explain(POLICY, "GET", Target(Origin("http", "api.example", 80), "/x"))
    assert told[:3] == ("search", Reason.OK, "tools.catalog.search")
    assert told.effect is Effect.READ
    assert told.facts["timeout"] == "8 s"
    assert told.facts["rate limit"] == "5 per 2 s for each run, waits up to 0.5 s"
    assert told.facts["cost"] == "0.001 USD"
    assert told.facts["circuit breaker"] == "opens for 10 s at 50% errors"


def test_a_refused_call_keeps_its_tool() -> None:
    told = explain(POLICY, "GET", Target(Origin("http", "c.example", 80), "/"))
    assert told[:3] == ("closed", Reason.TOOL_NOT_ALLOWED, "tools.allowlist")
    assert told.facts["rate limit"] == "none"


def test_an_unknown_destination() -> None:
    told = explain(POLICY, "POST", Target(Origin("http", "api.example", 80), "/"))
    assert told[:3] == (None, Reason.TOOL_UNKNOWN, "tools.catalog")
    assert (told.effect, told.facts) == (None, {})


def test_a_tunnel_ignores_methods() -> None:
    told = explain(POLICY, "CONNECT", Target(Origin("https", "api.example", 443), ""))
    assert told[:2] == ("search", Reason.OK)
    assert told.effect is Effect.WRITE


def test_opened_addresses_are_shown() -> None:
    told = explain(POLICY, "GET", Target(Origin("http", "10.0.0.1", 80), "/"))
    assert told.verdict is Reason.OK
    assert told.facts["opened addresses"] == "10.0.0.0/24"


def test_the_probe_host_is_no_tool() -> None:
    """Answered before any tool is looked for, whatever the catalog says."""
    policy = policy_of("all: {match: [{host: '*'}]}", allowlist="[]")
    for method, path in (("GET", "/probe/x"), ("CONNECT", "")):
        told = explain(policy, method, Target(Origin("https", "toolbooth.invalid", 443), path))
        assert (told.tool, told.verdict) == (None, Reason.OK)


def test_a_tunnel_that_is_read_is_told_from_an_opaque_one() -> None:
    """And counted under the tool that could be called through it."""
    policy = policy_of(
        "closed: {match: [{host: s.example}]}\n"
        "open: {match: [{host: s.example}], intercept_tls: true}\n"
        "plain: {match: [{host: p.example}]}",
        allowlist="[open, plain]",
    )
    told = {}
    for host in ("s.example", "p.example"):
        told[host] = explain(policy, "CONNECT", Target(Origin("https", host, 443), ""))
    assert (told["s.example"].tool, told["s.example"].verdict) == ("open", Reason.OK)
    assert told["s.example"].facts["tls"] == "intercepted, each request inside is judged"
    assert told["p.example"].facts["tls"] == "an opaque tunnel"


@pytest.mark.parametrize(
    ("tool", "name", "verdict", "effect", "timeout"),
    [
        ("search", "docs.search", Reason.OK, Effect.READ, "3 s"),
        ("other", "docs.other", Reason.TOOL_NOT_ALLOWED, Effect.WRITE, "8 s"),
        ("a b", "docs", Reason.TOOL_NOT_ALLOWED, Effect.WRITE, "8 s"),
        (None, "docs", Reason.OK, Effect.READ, "8 s"),
    ],
)
def test_a_tool_of_an_mcp_server(
    tool: str | None, name: str, verdict: Reason, effect: Effect, timeout: str
) -> None:
    policy = load_policy(
        "tools:\n  allowlist: [docs.search]\n  timeouts_ms: {docs.search: 3000}\n  catalog:\n"
        "    docs: {match: [{host: docs.example}], kind: mcp, tools: {search: {effect: read}}}\n"
    )
    target = parse_absolute("http://docs.example/mcp", "POST")
    explained = explain(policy, "POST", target, tool)
    assert (explained.tool, explained.verdict, explained.effect) == (name, verdict, effect)
    assert explained.facts["timeout"] == timeout
