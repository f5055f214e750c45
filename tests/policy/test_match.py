import time

import pytest

from proxy.model.call import Origin
from proxy.policy.match import (
    find_gateway_tool,
    find_tool,
    find_tunnel_tools,
    is_gateway_call_covered,
)
from tests.policy.documents import policy_of

_SEARCH = 'ports: [80, 443], methods: [GET], paths: ["/v1/search", "/v1/search/**"]'
_CATALOG = f"""
    search: {{match: [{{host: api.example, {_SEARCH}}}]}}
    api.write: {{match: [{{host: api.example, ports: [80, 443], methods: [POST, PUT]}}]}}
    deep: {{match: [{{host: "*.deep.example"}}]}}
    deeper: {{match: [{{host: x.deep.example}}, {{host: "*.y.deep.example"}}]}}
    odd: {{match: [{{host: odd.example, ports: [8080]}}, {{host: any.example, ports: ["*"]}}]}}
    address: {{match: [{{host: 93.184.216.34}}, {{host: "::1"}}]}}
    rest: {{match: [{{host: "*", methods: [GET], ports: [80]}}], upstream: http://rest.example/base}}
"""
POLICY = policy_of(_CATALOG)


def tool_of(method: str, host: str, path: str, port: int = 80) -> str | None:
    rule = find_tool(POLICY, Origin("http", host, port), method, path)
    return rule.name if rule else None


@pytest.mark.parametrize(
    ("method", "host", "path", "port", "tool"),
    [
        pytest.param("GET", "api.example", "/v1/search", 80, "search", id="the entry that fits"),
        pytest.param("GET", "api.example", "/v1/search?q=..%2f", 80, "search", id="any query"),
        pytest.param("HEAD", "api.example", "/v1/search", 80, "search", id="HEAD where GET is"),
        pytest.param("GET", "api.example", "/v1/search", 443, "search", id="another of its ports"),
        pytest.param("GET", "api.example", "/v1/search", 8080, None, id="no other port"),
        pytest.param("GET", "api.example", "/v2", 80, "rest", id="falling through by path"),
        pytest.param("POST", "api.example", "/v1/search", 80, "api.write", id="and by method"),
        pytest.param("get", "api.example", "/v1/search", 80, None, id="methods have case"),
        pytest.param("HEAD", "other.example", "/", 80, "rest", id="HEAD through the last entry"),
        pytest.param("POST", "other.example", "/", 80, None, id="no entry, no tool"),
        pytest.param("GET", "a.deep.example", "/", 80, "deep", id="one label in front"),
        pytest.param("GET", "a.b.deep.example", "/", 80, "deep", id="two labels in front"),
        pytest.param("POST", "deep.example", "/", 80, None, id="never the bare suffix"),
        pytest.param("POST", "notdeep.example", "/", 80, None, id="whole labels only"),
        pytest.param("POST", "deep.example.evil", "/", 80, None, id="a suffix is at the end"),
        pytest.param("GET", "x.deep.example", "/", 80, "deep", id="earlier beats more exact"),
        pytest.param("POST", "odd.example", "/", 8080, "odd", id="its own port"),
        pytest.param("POST", "odd.example", "/", 80, None, id="and no other"),
        pytest.param("POST", "any.example", "/", 1, "odd", id="any port"),
        pytest.param("POST", "93.184.216.34", "/", 80, "address", id="an IPv4 address"),
        pytest.param("POST", "::1", "/", 80, "address", id="an IPv6 address"),
        pytest.param("OPTIONS", "api.example", "*", 80, None, id="a server-wide OPTIONS"),
    ],
)
def test_first_match(method: str, host: str, path: str, port: int, tool: str | None) -> None:
    assert tool_of(method, host, path, port) == tool


@pytest.mark.parametrize(
    "path",
    ["/v1/search/../admin", "/v1/search/%2e%2e/admin", "/v1/search/..%2fadmin", "/v1/search//x",
     "/v1/search/..;/admin", "/v1/search/a\\b", "/v1/%73earch", "/v2/../v1/search", "//v1/search"],
)  # fmt: skip
def test_an_ambiguous_path_ends_the_search_where_paths_are_restricted(path: str) -> None:
    assert tool_of("GET", "api.example", path) is None  # and is not taken by the wider `rest`
    assert tool_of("POST", "api.example", path) == "api.write"  # which restricts no paths
    assert tool_of("GET", "other.example", path) == "rest"


def test_an_entry_that_is_refused_cannot_be_stepped_around() -> None:
    policy = policy_of(
        """
        admin: {match: [{host: x, paths: ["/admin/**"]}]}
        all: {match: [{host: "*"}]}
        """,
        allowlist="[all]",
    )
    origin = Origin("http", "x", 80)
    assert find_tool(policy, origin, "GET", "/admin/a") is policy.tools["admin"]
    assert find_tool(policy, origin, "GET", "/x//../admin/a") is None
    assert find_tool(policy, origin, "GET", "/ok") is policy.tools["all"]


def test_an_earlier_open_entry_still_takes_ambiguous_paths() -> None:
    policy = policy_of("""
        open: {match: [{host: "*.x"}]}
        narrow: {match: [{host: a.x, paths: ["/a"]}]}
        """)
    assert find_tool(policy, Origin("http", "a.x", 80), "GET", "//") is policy.tools["open"]


@pytest.mark.parametrize(
    ("host", "port", "tools"),
    [
        pytest.param("api.example", 443, ["search", "api.write"], id="methods and paths hidden"),
        pytest.param("x.deep.example", 443, ["deep", "deeper"], id="catalog order over kinds"),
        pytest.param("b.y.deep.example", 443, ["deep", "deeper"], id="several suffixes"),
        pytest.param("api.example", 80, ["search", "api.write", "rest"], id="the star comes last"),
        pytest.param("api.example", 22, [], id="no other port"),
        pytest.param("other.example", 443, [], id="no other host"),
    ],
)
def test_tunnels(host: str, port: int, tools: list[str]) -> None:
    assert [rule.name for rule in find_tunnel_tools(POLICY, host, port)] == tools


def test_the_gateway_needs_an_upstream() -> None:
    assert find_gateway_tool(POLICY, "rest") is POLICY.tools["rest"]
    assert find_gateway_tool(POLICY, "search") is None
    assert find_gateway_tool(POLICY, "nothing") is None


@pytest.mark.parametrize(
    ("match", "method", "path", "covered"),
    [
        pytest.param("[]", "DELETE", "/x/../y", True, id="no match lines restrict nothing"),
        pytest.param("[{host: y}]", "DELETE", "/x/../y", True, id="a host alone neither"),
        pytest.param(
            "[{host: y, methods: [GET]}]", "HEAD", "/", True, id="a method that is listed"
        ),
        pytest.param("[{host: y, methods: [GET]}]", "POST", "/", False, id="one that is not"),
        pytest.param("[{host: y, paths: [/a]}]", "GET", "/a?b", True, id="a path that is listed"),
        pytest.param("[{host: y, paths: [/a]}]", "GET", "/b", False, id="one that is not"),
        pytest.param("[{host: y, paths: [/a/**]}]", "GET", "/a/../b", False, id="ambiguity"),
        pytest.param(
            "[{host: y, paths: [/a]}, {host: z, paths: [/b]}]", "GET", "/b", True, id="a later line"
        ),
    ],
)
def test_the_gateway_keeps_methods_and_paths(
    match: str, method: str, path: str, covered: bool
) -> None:
    rule = policy_of(f"a: {{upstream: http://x, match: {match}}}").tools["a"]
    assert is_gateway_call_covered(rule, method, path) is covered


def test_the_size_of_the_catalog_does_not_show() -> None:
    def seconds(tools: int) -> float:
        lines = "\n".join(f"t{n}: {{match: [{{host: h{n}.example}}]}}" for n in range(tools))
        policy = policy_of(lines)
        origin = Origin("http", f"h{tools - 1}.example", 80)
        started = time.perf_counter()
        for _ in range(2000):
            find_tool(policy, origin, "GET", "/")
        return time.perf_counter() - started

    assert seconds(4000) < 20 * seconds(4) + 0.01  # a walk would cost hundreds of times as much
