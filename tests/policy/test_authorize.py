import pytest

from proxy.model.call import Mode, Origin, Target
from proxy.model.reason import Reason
from proxy.policy.authorize import (
    authorize,
    authorize_tunnel,
    is_intercepted,
    is_name_allowed,
    tunnel_rule,
)
from proxy.policy.match import find_tunnel_tools
from tests.policy.documents import policy_of

POLICY = policy_of(
    """
    open: {match: [{host: "*"}]}
    closed: {match: [{host: c.example}]}
    seen: {match: [{host: s.example}], intercept_tls: true}
    narrow: {match: [{host: n.example, paths: [/a]}], upstream: http://n.example}
    lan: {match: [{host: 10.0.0.1}], allow_addresses: [10.0.0.0/24]}
    closed.seen: {match: [{host: 10.0.0.1}], intercept_tls: true}
    """,
    allowlist="[open, seen, narrow, lan, 'gh.*', one.tool]",
)


def target(host: str, path: str = "/", port: int = 80) -> Target:
    return Target(Origin("http", host, port), path)


@pytest.mark.parametrize(
    ("tool", "mode", "method", "where", "reason", "rule"),
    [
        pytest.param(None, Mode.ABSOLUTE, "GET", target("127.0.0.1"), Reason.TOOL_UNKNOWN,
                     "tools.catalog", id="1: no tool, even before its address"),
        pytest.param("closed", Mode.ABSOLUTE, "GET", target("127.0.0.1"), Reason.TOOL_NOT_ALLOWED,
                     "tools.allowlist", id="2: the allowlist comes before the address"),
        pytest.param("closed.seen", Mode.CONNECT, "CONNECT", target("c", ""),
                     Reason.TOOL_NOT_ALLOWED, "tools.allowlist", id="2: and before tunnels"),
        pytest.param("seen", Mode.CONNECT, "CONNECT", target("s.example", ""), None, "",
                     id="a tunnel whose TLS is read"),
        pytest.param("seen", Mode.INTERCEPTED, "GET", target("s.example"), None, "",
                     id="a request inside it"),
        pytest.param("narrow", Mode.GATEWAY, "GET", target("127.0.0.1", "/b"), Reason.TOOL_UNKNOWN,
                     "tools.catalog.narrow.match", id="3: a gateway path left out"),
        pytest.param("narrow", Mode.GATEWAY, "GET", target("n.example", "/a"), None, "",
                     id="3: a gateway path that is covered"),
        pytest.param("open", Mode.ABSOLUTE, "GET", target("127.0.0.1"), Reason.ADDRESS_DENIED,
                     "tools.catalog.open.allow_addresses", id="4: a private address"),
        pytest.param("open", Mode.CONNECT, "CONNECT", target("::1", "", 443), Reason.ADDRESS_DENIED,
                     "tools.catalog.open.allow_addresses", id="4: also for a tunnel"),
        pytest.param("lan", Mode.ABSOLUTE, "GET", target("0xa.1"), Reason.ADDRESS_DENIED,
                     "tools.catalog.lan.allow_addresses", id="4: a number in disguise"),
        pytest.param("lan", Mode.ABSOLUTE, "GET", target("10.0.0.1"), None, "",
                     id="an opened address is permitted"),
        pytest.param("open", Mode.ABSOLUTE, "DELETE", target("x.example", "/a/../b"), None, "",
                     id="a name on the allowlist is permitted"),
    ],
)  # fmt: skip
def test_precedence(
    tool: str | None, mode: Mode, method: str, where: Target, reason: Reason | None, rule: str
) -> None:
    refusal = authorize(POLICY.tools[tool] if tool else None, mode, method, where)
    assert (refusal.reason if refusal else None) == reason
    assert (refusal.rule if refusal else "") == rule


def test_the_detail_tells_what_to_do_and_no_secret() -> None:
    where = target("h.example", "/a?token=hunter2")
    refusal = authorize(None, Mode.ABSOLUTE, "POST", where)
    assert refusal is not None
    assert "POST h.example:80/a;" in refusal.detail
    assert "hunter2" not in refusal.detail
    assert "ask the operator" in refusal.detail
    closed = authorize(POLICY.tools["closed"], Mode.ABSOLUTE, "GET", where)
    assert closed is not None
    assert closed.detail == (
        "Tool 'closed' is not on the allowlist; do not retry, ask the operator to allow it or use "
        "another tool."
    )


def test_an_ambiguous_path_is_told_how_to_become_plain() -> None:
    refusal = authorize(None, Mode.ABSOLUTE, "GET", target("h.example", "/a/../b"))
    assert refusal is not None
    assert "plain form" in refusal.detail


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        pytest.param("/" + "x" * 500, "x...", id="a long path is cut"),
        pytest.param("/\x1b[2J\u202e", "/(unprintable)", id="an unprintable path is not shown"),
    ],
)
def test_a_detail_is_short_and_printable(path: str, shown: str) -> None:
    refusal = authorize(None, Mode.ABSOLUTE, "GET", target("::1", path))
    assert refusal is not None
    assert shown in refusal.detail
    assert "[::1]:80/" in refusal.detail
    assert refusal.detail.isprintable()
    assert len(refusal.detail) < 400


@pytest.mark.parametrize(
    ("mode", "host", "words"),
    [
        pytest.param(Mode.ABSOLUTE, "127.1", "numeric spelling of loopback", id="a spelling"),
        pytest.param(Mode.ABSOLUTE, "169.254.169.254", "metadata", id="metadata"),
        pytest.param(Mode.CONNECT, "64:ff9b::7f00:1", "nat64:loopback", id="both classes"),
    ],
)
def test_the_class_of_an_address_is_named(mode: Mode, host: str, words: str) -> None:
    refusal = authorize(POLICY.tools["open"], mode, "GET", target(host))
    assert refusal is not None
    assert words in refusal.detail


TUNNELS = [
    pytest.param("a: {match: [{host: x}]}", "[a]", "a", "", id="one opaque tool"),
    pytest.param("a: {match: [{host: x}]}\nb: {match: [{host: x}]}", "[b]", "a", "tools.allowlist",
                 id="the first of two opaque tools decides"),
    pytest.param("a: {match: [{host: x}]}\nb: {match: [{host: x}], intercept_tls: true}", "[b]",
                 "b", "", id="one of two is enough where the tunnel is read"),
    pytest.param("a: {match: [{host: x}]}\nb: {match: [{host: x}], intercept_tls: true}", "[c]",
                 "a", "tools.allowlist", id="none of them"),
    pytest.param("a: {match: [{host: y}], intercept_tls: true}", "[a]", None, "tools.catalog",
                 id="no tool at all"),
]  # fmt: skip


@pytest.mark.parametrize(("catalog", "allowlist", "tool", "refused_by"), TUNNELS)
def test_tunnels(catalog: str, allowlist: str, tool: str | None, refused_by: str) -> None:
    policy = policy_of(catalog, allowlist=allowlist)
    where = target("x", "", 443)
    rules = find_tunnel_tools(policy, "x", 443)
    rule, refusal = tunnel_rule(rules, where), authorize_tunnel(rules, where)
    assert (rule.name if rule else None) == tool
    assert (refusal.rule if refusal else "") == refused_by


@pytest.mark.parametrize(("flags", "expected"), [("ft", True), ("tf", True), ("ff", False)])
def test_one_tool_that_reads_its_tls_opens_the_tunnel(flags: str, expected: bool) -> None:
    catalog = "\n".join(
        f"{name}: {{match: [{{host: x}}], intercept_tls: {str(flag == 't').lower()}}}"
        for name, flag in zip("ab", flags, strict=True)
    )
    rules = find_tunnel_tools(policy_of(catalog), "x", 443)
    assert is_intercepted(rules) is expected
    assert not is_intercepted(())


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("gh.issue", True), ("gh.a.b", True), ("gh", False), ("ghx.a", False), ("one.tool", True),
     ("one.tool.x", False), ("one", False), ("", False)],
)  # fmt: skip
def test_names_under_wildcards(name: str, allowed: bool) -> None:
    assert is_name_allowed(POLICY, name) is allowed


def test_the_star_allows_every_name() -> None:
    assert is_name_allowed(policy_of(""), "any.thing")
