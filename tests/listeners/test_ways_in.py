import pytest

from proxy.listeners import ways_in
from proxy.listeners.ways_in import Inside, Question, Questions, read_question
from proxy.model.call import Caller, Mode, Origin
from proxy.model.errors import BadMessage, Stopped
from proxy.model.reason import Reason
from proxy.policy.compile import load_policy
from proxy.wire.head import parse_request_head

POLICY = load_policy(
    """\
tools:
  allowlist: [search.read, plain]
  catalog:
    search.read:
      match: [{host: api.test}]
      upstream: https://api.test/base
    rooted:
      match: [{host: root.test}]
      upstream: http://root.test:8080
    plain:
      match: [{host: plain.test}]
"""
)
VIA = b"toolbooth-here"
OPENER = Caller("outer-run", "outer-agent", run_given=True)


def ask(start: str, *lines: str, inside: Inside | None = None) -> Question:
    raw = "\r\n".join((start, *lines, "", "")).encode("latin-1")
    return read_question(parse_request_head(raw), POLICY, "192.0.2.7", VIA, inside)


FORWARD = [
    pytest.param(
        "GET http://H.test./a%2Fb?q HTTP/1.1", Mode.ABSOLUTE, Origin("http", "h.test", 80),
        "/a%2Fb?q", id="absolute-form",
    ),
    pytest.param(
        "GET https://h.test HTTP/1.1", Mode.ABSOLUTE, Origin("https", "h.test", 443), "/",
        id="absolute-form with TLS to the origin",
    ),
    pytest.param(
        "OPTIONS http://h.test HTTP/1.1", Mode.ABSOLUTE, Origin("http", "h.test", 80), "*",
        id="OPTIONS of a server",
    ),
    pytest.param(
        "CONNECT h.test:443 HTTP/1.1", Mode.CONNECT, Origin("https", "h.test", 443), "",
        id="a tunnel",
    ),
    pytest.param(
        "connect http://h.test/ HTTP/1.1", Mode.ABSOLUTE, Origin("http", "h.test", 80), "/",
        id="a method that only looks like CONNECT",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("start", "mode", "origin", "path"), FORWARD)
def test_forward_requests_go_where_their_target_says(
    start: str, mode: Mode, origin: Origin, path: str
) -> None:
    """The Host field routes nothing: RFC 9112 section 3.2.2."""
    for host in ("h.test", "other.test:99"):
        asked = ask(start, f"Host: {host}", "X-Agent-Run-Id: r1")
        assert (asked.mode, asked.target) == (mode, (origin, path))
        assert asked.gateway_rule is None
        assert asked.caller.run_id == "r1"


GATEWAY = [
    pytest.param("/tools/search.read/v1?q=1", "/base/v1?q=1", id="a path and a query"),
    pytest.param("/tools/search.read/", "/base/", id="a slash"),
    pytest.param("/tools/search.read", "/base", id="nothing"),
    pytest.param("/tools/search.read?q", "/base?q", id="a query alone"),
    pytest.param("/tools/search.read/?", "/base/?", id="an empty query"),
    pytest.param("/tools/search.read/a%2Fb/%7E", "/base/a%2Fb/%7E", id="nothing is decoded"),
    pytest.param("/tools/search.read//evil.test/x", "/base//evil.test/x", id="two slashes"),
    pytest.param("/tools/search.read/http://evil.test/", "/base/http://evil.test/", id="a URL"),
    pytest.param("/tools/search.read/x?to=/../y", "/base/x?to=/../y", id="dots in the query"),
]


@pytest.mark.parametrize(("target", "path"), GATEWAY)
def test_gateway_paths_stay_at_their_upstream(target: str, path: str) -> None:
    asked = ask(f"GET {target} HTTP/1.1", "Host: booth.test")
    assert asked.gateway_rule is POLICY.tools["search.read"]
    assert asked.mode is Mode.GATEWAY
    assert asked.target == (Origin("https", "api.test", 443), path)


def test_an_upstream_without_a_path_gets_a_slash() -> None:
    """The name is taken whether it is allowed or not: that is the policy's to say."""
    root = Origin("http", "root.test", 8080)
    for target, path in (
        ("/tools/rooted", "/"),
        ("/tools/rooted?q", "/?q"),
        ("/tools/rooted/a", "/a"),
    ):
        assert ask(f"GET {target} HTTP/1.1", "Host: b").target == (root, path)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("/tools/nobody/x", id="a name not in the catalog"),
        pytest.param("/tools/plain/x", id="a tool without an upstream"),
        pytest.param("/tools/", id="no name"),
        pytest.param("/tools//x", id="an empty name"),
        pytest.param("/tools/Search.Read/x", id="a name in another case"),
        pytest.param("/tools/search%2Eread/x", id="an encoded name"),
        pytest.param("/tools/../x", id="dots for a name"),
    ],
)
def test_a_gateway_path_without_a_tool_is_an_unknown_tool(target: str) -> None:
    with pytest.raises(Stopped) as caught:
        ask(f"GET {target} HTTP/1.1", "Host: booth.test")
    assert caught.value.refusal.reason is Reason.TOOL_UNKNOWN


ESCAPES = [
    pytest.param("/tools/search.read/../admin", id="dots"),
    pytest.param("/tools/search.read/..", id="dots at the end"),
    pytest.param("/tools/search.read/..%2fadmin", id="an encoded slash after them"),
    pytest.param("/tools/search.read/%2e%2E/admin", id="encoded dots"),
    pytest.param("/tools/search.read/..;/admin", id="a path parameter"),
    pytest.param("/tools/search.read/..\\admin", id="a backslash"),
    pytest.param("/tools/search.read/a/./b", id="a single dot"),
    pytest.param("/tools/search.read/..?q", id="a query after them"),
    pytest.param("/tools/search.read/#frag", id="a fragment"),
    pytest.param("/", id="the root"),
    pytest.param("/v1/search", id="an origin-form path that is no gateway path"),
    pytest.param("/tools", id="the gateway without its slash"),
    pytest.param("//tools/search.read/", id="two slashes in front"),
]


@pytest.mark.parametrize("target", ESCAPES)
def test_gateway_paths_that_lead_out_of_the_gateway_are_refused(target: str) -> None:
    with pytest.raises(BadMessage):
        ask(f"GET {target} HTTP/1.1", "Host: booth.test")


FIELDS = [
    pytest.param([], 0, id="no Host"),
    pytest.param(["Host: a", "Host: b"], 0, id="two Hosts"),
    pytest.param(["Host: a", "host: a"], 0, id="the same Host twice"),
    pytest.param(["Host:"], 0, id="an empty Host"),
    pytest.param(["Host: a, b"], 0, id="a list of Hosts"),
    pytest.param(["Host: u@h"], 0, id="userinfo in Host"),
    pytest.param(["Host: h/p"], 0, id="a path in Host"),
    pytest.param(["Host: h:"], 0, id="an empty port in Host"),
    pytest.param(["Host: h\xe9"], 0, id="a Host beyond ASCII"),
    pytest.param(["Host: h", "Authorization: a", "Authorization: b"], 0, id="two credentials"),
    pytest.param(["Host: h", "X-Agent-Run-Id: a", "x-agent-run-id: a"], 0, id="two runs"),
    pytest.param(["Host: h", "X-Agent-Id: a", "X-Agent-Id: b"], 0, id="two agents"),
    pytest.param(["Host: h", "Expect: 200-ok"], 417, id="another expectation"),
    pytest.param(["Host: h", "Expect:"], 417, id="an empty expectation"),
    pytest.param(["Host: h", "Via: 1.1 toolbooth-here"], 0, id="our own mark: a loop"),
    pytest.param(["Host: h", "Via: 1.1 x", "Via: 1.0 toolbooth-here, 1.1 y"], 0, id="among others"),
    pytest.param(["Host: h", "X-Agent-Run-Id: a b"], 0, id="an unreadable run"),
]


@pytest.mark.parametrize(("lines", "status"), FIELDS)
@pytest.mark.parametrize(
    "start", ["GET http://h/ HTTP/1.1", "CONNECT h:1 HTTP/1.1", "GET /tools/search.read/ HTTP/1.1"]
)
def test_ambiguous_fields_are_refused_by_every_way_in(
    start: str, lines: list[str], status: int
) -> None:
    with pytest.raises(BadMessage) as caught:
        ask(start, *lines)
    assert (caught.value.reason, caught.value.status) == (Reason.BAD_REQUEST, status)


def test_what_is_not_ambiguous_passes() -> None:
    assert ask("GET http://h/ HTTP/1.0").target.origin.host == "h"
    ask("POST http://h/ HTTP/1.1", "Host: h", "expect: 100-Continue", "Via: 1.1 other-here")
    with pytest.raises(BadMessage):
        ask("GET http://h/ HTTP/1.0", "Host: a, b")


# --- inside a tunnel ------------------------------------------------------------------------

INSIDE = Inside(Origin("http", "h.test", 8080), OPENER)
SEEN_THROUGH = Inside(Origin("https", "h.test", 8080), OPENER)
AGREEING = [
    pytest.param("GET /p?q HTTP/1.1", "h.test:8080", "/p?q", id="origin-form"),
    pytest.param("GET /p HTTP/1.1", "H.TEST.:8080", "/p", id="another spelling of the host"),
    pytest.param("GET /p HTTP/1.1", "h.test", "/p", id="a Host without the port"),
    pytest.param("GET http://h.test:8080/p HTTP/1.1", "h.test:8080", "/p", id="absolute-form"),
    pytest.param("GET //g.test/p HTTP/1.1", "h.test:8080", "//g.test/p", id="two slashes"),
]


@pytest.mark.parametrize(("start", "host", "path"), AGREEING)
def test_inside_a_tunnel_a_request_is_a_call_of_its_own(start: str, host: str, path: str) -> None:
    asked = ask(start, f"Host: {host}", inside=INSIDE)
    assert asked.mode is Mode.TUNNEL_HTTP
    assert asked.target == (Origin("http", "h.test", 8080), path)
    assert asked.caller == OPENER
    assert asked.gateway_rule is None


def test_a_request_whose_tls_ends_here_is_one_to_an_https_origin() -> None:
    asked = ask("GET /p HTTP/1.1", "Host: h.test:8080", inside=SEEN_THROUGH)
    assert asked.mode is Mode.INTERCEPTED
    assert asked.target == (Origin("https", "h.test", 8080), "/p")
    with pytest.raises(BadMessage):
        ask("GET http://h.test:8080/p HTTP/1.1", "Host: h.test:8080", inside=SEEN_THROUGH)


def test_inside_a_tunnel_a_gateway_path_is_the_origin_s() -> None:
    asked = ask("GET /tools/search.read/ HTTP/1.1", "Host: h.test:8080", inside=INSIDE)
    assert (asked.target.path, asked.gateway_rule) == ("/tools/search.read/", None)


DISAGREEING = [
    pytest.param("GET / HTTP/1.1", "g.test:8080", id="another Host"),
    pytest.param("GET / HTTP/1.1", "h.test:80", id="another port in Host"),
    pytest.param("GET / HTTP/1.1", "h.test:8080, g.test", id="two Hosts in one"),
    pytest.param("GET http://g.test:8080/ HTTP/1.1", "h.test:8080", id="another host in the URL"),
    pytest.param("GET http://h.test/ HTTP/1.1", "h.test:8080", id="another port in the URL"),
    pytest.param("GET https://h.test:8080/ HTTP/1.1", "h.test:8080", id="another scheme"),
    pytest.param("GET http://h.test:8080/ HTTP/1.1", "g.test", id="a good URL and another Host"),
    pytest.param("CONNECT h.test:8080 HTTP/1.1", "h.test:8080", id="a tunnel in the tunnel"),
    pytest.param("CONNECT / HTTP/1.1", "h.test:8080", id="its method with a path"),
    pytest.param("GET p HTTP/1.1", "h.test:8080", id="no path"),
    pytest.param("GET /#f HTTP/1.1", "h.test:8080", id="a fragment"),
]


@pytest.mark.parametrize(("start", "host"), DISAGREEING)
def test_inside_a_tunnel_nothing_may_disagree_with_it(start: str, host: str) -> None:
    with pytest.raises(BadMessage):
        ask(start, f"Host: {host}", inside=INSIDE)


# --- remembered -----------------------------------------------------------------------------

RAW = b"GET http://h.test/a HTTP/1.1\r\nHost: h.test\r\nX-Agent: a\r\n\r\n"
HEAD = parse_request_head(RAW)
HEAD.is_remembered = True  # whatever other tests have left in the memory of heads


def test_the_same_head_of_the_same_client_asks_the_same() -> None:
    questions = Questions(VIA)
    asked = questions.of(HEAD, POLICY, "192.0.2.7", None)
    assert questions.of(HEAD, POLICY, "192.0.2.7", None) is asked
    assert questions.of(HEAD, POLICY, "192.0.2.8", None).caller.run_id == "shared:192.0.2.8"


def test_another_policy_may_read_it_differently() -> None:
    questions = Questions(VIA)
    other = load_policy("budgets: {run_header: X-Agent}")
    assert questions.of(HEAD, POLICY, "192.0.2.7", None).caller.run_id == "shared:192.0.2.7"
    assert questions.of(HEAD, other, "192.0.2.7", None).caller.run_id == "a"
    assert questions.of(HEAD, POLICY, "192.0.2.7", None).caller.run_id == "shared:192.0.2.7"


def test_inside_a_tunnel_nothing_is_remembered() -> None:
    questions = Questions(VIA)
    for opener in (OPENER, Caller("second", "second", run_given=True)):
        inside = Inside(Origin("http", "h.test", 80), opener)
        assert questions.of(HEAD, POLICY, "192.0.2.7", inside).caller.run_id == opener.run_id
    assert not questions._memory.known


def test_questions_remembered_are_bounded() -> None:
    questions = Questions(VIA)
    for number in range(ways_in._MAX_KNOWN + 1):
        questions.of(HEAD, POLICY, f"client-{number}", None)
    assert len(questions._memory.known) == ways_in._MAX_KNOWN


def test_of_a_head_that_is_not_remembered_no_question_is() -> None:
    """It would be read anew the next time, and what is kept under it never found."""
    questions = Questions(VIA)
    long = parse_request_head(RAW[:-2] + b"Cookie: " + b"x" * 2048 + b"\r\n\r\n")
    assert questions.of(long, POLICY, "192.0.2.7", None).target.path == "/a"
    assert not questions._memory.known


def test_where_heads_are_forgotten_so_are_their_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    questions = Questions(VIA)
    questions.of(HEAD, POLICY, "192.0.2.7", None)
    monkeypatch.setattr(ways_in, "times_forgotten", lambda: 1_000_000)
    questions.of(HEAD, POLICY, "192.0.2.8", None)
    assert [address for _, address in questions._memory.known] == ["192.0.2.8"]
