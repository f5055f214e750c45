"""Who may use the control port, as a table of attacks."""

import pytest
from multidict import CIMultiDict

from proxy.control.access import Access, Role, Visitor, hosts_of, judge_role
from proxy.control.problem import Problem
from tests.control.desk import BoundAt

ADMIN = "admin-token"
VIEWER = "viewer-token"
Lines = list[tuple[str, str]]

HOST = ("Host", "127.0.0.1:8081")
BEARER = ("Authorization", f"Bearer {ADMIN}")


def judge(
    lines: Lines, access: Access | None = None, target: str = "/v1/tools"
) -> Visitor | Problem:
    chosen = access or Access(ADMIN, VIEWER, BoundAt())
    return chosen.judge(target, CIMultiDict(lines))


def code_of(verdict: Visitor | Problem) -> str:
    return verdict.code if isinstance(verdict, Problem) else "let in"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        pytest.param([HOST, BEARER], "let in", id="the admin is let in"),
        pytest.param([("Host", "LocalHost."), BEARER], "let in", id="localhost, however spelt"),
        pytest.param([("Host", "[::1]:9"), BEARER], "let in", id="IPv6 loopback, forwarded port"),
        pytest.param([BEARER], "bad_request", id="no Host"),
        pytest.param([HOST, HOST, BEARER], "bad_request", id="two Hosts"),
        pytest.param([("Host", "evil.example"), BEARER], "host_not_ours", id="a rebound name"),
        pytest.param([("Host", "127.0.0.1.evil.example"), BEARER], "host_not_ours", id="a prefix"),
        pytest.param([("Host", "10.0.0.9"), BEARER], "host_not_ours", id="another address"),
        pytest.param([("Host", ""), BEARER], "host_not_ours", id="an empty Host"),
        pytest.param([("Host", "[::1"), BEARER], "host_not_ours", id="a broken bracket"),
        pytest.param(
            [HOST, ("Origin", "http://evil.example"), BEARER], "origin_not_ours", id="another page"
        ),
        pytest.param([HOST, ("Origin", "null"), BEARER], "origin_not_ours", id="a sandboxed page"),
        pytest.param(
            [HOST, ("Origin", "http://127.0.0.1:9999"), BEARER],
            "origin_not_ours",
            id="a page of another port",
        ),
        pytest.param(
            [HOST, ("Origin", "http://127.0.0.1:8081"), BEARER], "let in", id="our own page"
        ),
        pytest.param(
            [HOST, ("Origin", "http://127.0.0.1:8081"), ("Origin", "null"), BEARER],
            "origin_not_ours",
            id="two origins",
        ),
        pytest.param(
            [HOST, ("Content-Length", "9"), ("Content-Type", "text/plain"), BEARER],
            "unsupported_media_type",
            id="a form that looks like text",
        ),
        pytest.param(
            [HOST, ("Transfer-Encoding", "chunked"), BEARER],
            "unsupported_media_type",
            id="a streamed body of no type",
        ),
        pytest.param(
            [HOST, ("Content-Length", "9"), ("Content-Type", "application/jsonp"), BEARER],
            "unsupported_media_type",
            id="nearly JSON",
        ),
        pytest.param(
            [
                HOST,
                ("Content-Length", "9"),
                ("Content-Type", "application/json"),
                ("Content-Type", "text/plain"),
                BEARER,
            ],
            "unsupported_media_type",
            id="two types",
        ),
        pytest.param(
            [
                HOST,
                ("Content-Length", "9"),
                ("Content-Type", "Application/JSON; charset=utf-8"),
                BEARER,
            ],
            "let in",
            id="JSON with a parameter",
        ),
        pytest.param(
            [HOST, ("Content-Length", "9"), ("Content-Type", "application/yaml"), BEARER],
            "let in",
            id="a policy",
        ),
        pytest.param([HOST], "token_required", id="no token"),
        pytest.param([HOST, ("Authorization", "Basic YTph")], "token_required", id="Basic"),
        pytest.param([HOST, BEARER, BEARER], "token_required", id="two Authorizations"),
        pytest.param([HOST, ("Authorization", "Bearer ")], "wrong_token", id="an empty token"),
        pytest.param([HOST, ("Authorization", "Bearer x")], "wrong_token", id="a wrong token"),
        pytest.param(
            [HOST, ("Authorization", f"Bearer {ADMIN}x")], "wrong_token", id="a longer token"
        ),
        pytest.param(
            [HOST, ("Authorization", f"Bearer {ADMIN[:-1]}")], "wrong_token", id="a shorter token"
        ),
        pytest.param(
            [HOST, ("Authorization", "Bearer \udcff")], "wrong_token", id="bytes that are no text"
        ),
        pytest.param([HOST, ("Authorization", f"bearer  {ADMIN}")], "let in", id="odd spacing"),
    ],
)
def test_each_request_meets_the_rule_against_it(lines: Lines, code: str) -> None:
    """Every attack is refused by the rule that is there for it."""
    assert code_of(judge(lines)) == code


@pytest.mark.parametrize("target", ["http://127.0.0.1:8081/v1/tools", "*", "example.com:443", ""])
def test_what_is_not_a_path_is_told_where_the_proxy_is(target: str) -> None:
    """Somebody pointed HTTP_PROXY at the control port."""
    assert code_of(judge([HOST, BEARER], target=target)) == "not_a_proxy"


def test_roles_come_from_the_token_and_names_from_the_visitor() -> None:
    """A name can be claimed, a role cannot."""
    viewer = [HOST, ("Authorization", f"Bearer {VIEWER}")]
    assert judge(viewer) == Visitor(Role.VIEWER, "viewer")
    assert judge([*viewer, ("Toolbooth-Actor", "admin")]) == Visitor(Role.VIEWER, "admin")
    assert judge([HOST, BEARER]) == Visitor(Role.ADMIN, "admin")


def test_without_tokens_everyone_is_local() -> None:
    """Loopback only; settings see to that."""
    assert judge([HOST], Access(None, None, BoundAt())) == Visitor(Role.LOCAL, "local")


def test_with_only_a_viewer_token_nobody_is_admin() -> None:
    """No admin token does not mean that an empty one is right."""
    access = Access(None, VIEWER, BoundAt())
    assert code_of(judge([HOST], access)) == "token_required"
    assert code_of(judge([HOST, ("Authorization", "Bearer ")], access)) == "wrong_token"
    verdict = judge([HOST, ("Authorization", f"Bearer {VIEWER}")], access)
    assert isinstance(verdict, Visitor)
    assert verdict.role is Role.VIEWER


def test_wrong_tokens_are_counted_and_never_repeated() -> None:
    """The answer to a wrong token holds neither it nor the right one."""
    access = Access(ADMIN, None, BoundAt())
    verdict = judge([HOST, ("Authorization", "Bearer guess")], access)
    judge([HOST, BEARER], access)
    assert access.wrong_tokens == 1
    assert isinstance(verdict, Problem)
    assert "guess" not in str(verdict)
    assert ADMIN not in str(verdict)
    assert dict(verdict.headers)["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH", "OPTIONS", "BREW"])
def test_a_viewer_only_reads(method: str) -> None:
    """GET and HEAD pass, everything else does not."""
    viewer, admin = Visitor(Role.VIEWER, "v"), Visitor(Role.ADMIN, "a")
    refusal = judge_role(viewer, method)
    assert refusal is not None
    assert refusal.code == "read_only"
    assert judge_role(admin, method) is None
    assert judge_role(viewer, "GET") is None
    assert judge_role(viewer, "HEAD") is None


@pytest.mark.parametrize(
    ("said", "actor"),
    [
        pytest.param("alice@example.org", "alice@example.org", id="a name"),
        pytest.param("  a \t b ", "a \\x09 b", id="spaces and controls"),
        pytest.param("\x1b[2J", "\\x1b[2J", id="a terminal escape becomes visible"),
        pytest.param("x" * 65, "x" * 64, id="64 characters are kept"),
        pytest.param("", "admin", id="an empty name is none"),
    ],
)
def test_the_actor_is_one_short_visible_line(said: str, actor: str) -> None:
    """It ends up in logs and on screens."""
    verdict = judge([HOST, BEARER, ("Toolbooth-Actor", said)])
    assert isinstance(verdict, Visitor)
    assert verdict.actor == actor


@pytest.mark.parametrize(
    ("bound", "host", "is_ours"),
    [
        pytest.param(BoundAt(host="10.1.2.3"), "10.1.2.3:8081", True, id="the bound address"),
        pytest.param(BoundAt(host="10.1.2.3"), "10.1.2.4:8081", False, id="another address"),
        pytest.param(BoundAt(host="booth.example"), "BOOTH.example", True, id="the bound name"),
        pytest.param(
            BoundAt(host="fd00::1"), "[fd00:0::1]:8081", True, id="IPv6, another spelling"
        ),
        pytest.param(BoundAt(host="0.0.0.0"), "toolbooth.svc:8081", True, id="any, on a wildcard"),
        pytest.param(
            BoundAt(host="::"), "toolbooth.svc:8081", True, id="any, on the IPv6 wildcard"
        ),
        pytest.param(BoundAt("unix", ""), "whatever", True, id="any, on a Unix socket"),
    ],
)
def test_the_bound_address_decides_which_hosts_are_ours(
    bound: BoundAt, host: str, is_ours: bool
) -> None:
    """A wildcard has too many names to know, a socket file none."""
    verdict = judge([("Host", host)], Access(None, None, bound))
    assert isinstance(verdict, Visitor) is is_ours


def test_loopback_is_known_by_its_names() -> None:
    """However it was bound."""
    assert hosts_of("127.0.0.1") == frozenset(("localhost", "127.0.0.1", "::1"))


@pytest.mark.parametrize(("admin", "viewer"), [("", None), (None, ""), ("same", "same")])
def test_tokens_that_protect_nothing_are_refused(admin: str | None, viewer: str | None) -> None:
    """Better no start than an open door."""
    with pytest.raises(ValueError, match="token"):
        Access(admin, viewer, BoundAt())
