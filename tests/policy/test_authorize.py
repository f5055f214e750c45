import pytest

from proxy.model.call import Mode, Origin, Target
from proxy.model.reason import Reason
from proxy.policy.authorize import authorize, authorize_tunnel, is_name_allowed
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
        pytest.param("seen", Mode.CONNECT, "CONNECT", target("127.0.0.1", ""),
                     Reason.TOOL_NOT_ALLOWED, "tools.catalog.seen.intercept_tls",
                     id="3: an unseen tunnel"),
        pytest.param("seen", Mode.TUNNEL_HTTP, "GET", target("s.example"), None, "",
                     id="3: plain HTTP inside a tunnel is seen"),
        pytest.param("narrow", Mode.GATEWAY, "GET", target("127.0.0.1", "/b"), Reason.TOOL_UNKNOWN,
                     "tools.catalog.narrow.match", id="4: a gateway path left out"),
        pytest.param("narrow", Mode.GATEWAY, "GET", target("n.example", "/a"), None, "",
                     id="4: a gateway path that is covered"),
        pytest.param("open", Mode.ABSOLUTE, "GET", target("127.0.0.1"), Reason.ADDRESS_DENIED,
                     "tools.catalog.open.allow_addresses", id="5: a private address"),
        pytest.param("open", Mode.CONNECT, "CONNECT", target("::1", "", 443), Reason.ADDRESS_DENIED,
                     "tools.catalog.open.allow_addresses", id="5: also for a tunnel"),
        pytest.param("lan", Mode.ABSOLUTE, "GET", target("0xa.1"), Reason.ADDRESS_DENIED,
                     "tools.catalog.lan.allow_addresses", id="5: a number in disguise"),
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


def test_a_tunnel_that_would_carry_an_unseen_tool_is_refused() -> None:
    policy = policy_of("a: {match: [{host: x}]}\nb: {match: [{host: x}], intercept_tls: true}")
    where = target("x", "", 443)
    refusal = authorize_tunnel(find_tunnel_tools(policy, "x", 443), where)
    assert refusal is not None
    assert refusal.rule == "tools.catalog.b.intercept_tls"
    assert authorize_tunnel((policy.tools["a"],), where) is None
    unknown = authorize_tunnel((), where)
    assert unknown is not None
    assert unknown.reason is Reason.TOOL_UNKNOWN
    assert "No tool covers x:443;" in unknown.detail


@pytest.mark.parametrize(
    ("name", "allowed"),
    [("gh.issue", True), ("gh.a.b", True), ("gh", False), ("ghx.a", False), ("one.tool", True),
     ("one.tool.x", False), ("one", False), ("", False)],
)  # fmt: skip
def test_names_under_wildcards(name: str, allowed: bool) -> None:
    assert is_name_allowed(POLICY, name) is allowed


def test_the_star_allows_every_name() -> None:
    assert is_name_allowed(policy_of(""), "any.thing")
