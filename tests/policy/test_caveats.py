import pytest

from proxy.policy.compile import load_policy
from tests.policy.documents import SMALL, policy_of


def test_the_small_document_names_what_is_missing() -> None:
    assert load_policy(SMALL).warnings == (
        "tools.allowlist: 'search.read' has no destination, as the catalog does not hold it",
        "tools.allowlist: 'http.get' has no destination, as the catalog does not hold it",
        "rollout: has no effect in this version",
    )


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        pytest.param(
            "upstream: http://x, pricing: {input_usd_per_mtok: 1, output_usd_per_mtok: 1}",
            "has no effect",
            id="a price that nothing reads",
        ),
        pytest.param("match: [{host: x, paths: [/a]}]", "inside a tunnel", id="hidden paths"),
        pytest.param("match: [{host: x, methods: [GET]}]", "inside a tunnel", id="hidden methods"),
        pytest.param(
            "match: [{host: x, methods: [GET], ports: ['*']}]", "inside a tunnel", id="any port"
        ),
        pytest.param("match: [{host: 10.0.0.1}]", "not a public address", id="a closed address"),
        pytest.param("upstream: http://127.0.0.1", "not a public address", id="a closed upstream"),
        pytest.param(
            "upstream: http://x, intercept_tls: true", "no effect", id="no tunnel to read"
        ),
        pytest.param(
            "match: [{host: x}], intercept_tls: true, tunnel: {raw: true}",
            "no effect",
            id="limits of an opaque tunnel that is read",
        ),
        pytest.param(
            "match: [{host: '*'}], intercept_tls: true", "name constraints", id="every host is read"
        ),
        pytest.param(
            "upstream: http://x, allow_addresses: [169.254.0.0/16]", "stays closed", id="metadata"
        ),
        pytest.param(
            "upstream: http://x, allow_addresses: [169.254.169.254/32]",
            "opens a metadata service",
            id="metadata on purpose",
        ),
        pytest.param(
            "upstream: http://x, credentials: {secret_env: K}", "in the clear", id="a bare secret"
        ),
        pytest.param(
            "upstream: http://10.0.0.1, allow_addresses: [10.0.0.1/32], "
            "credentials: {secret_env: K}",
            "in the clear",
            id="a bare secret within the private network",
        ),
        pytest.param(
            "match: [{host: toolbooth.invalid}]", "sidecar's own name", id="the probe host"
        ),
        pytest.param("match: [{host: '*.toolbooth.invalid'}]", "sidecar's own", id="below it"),
        pytest.param("upstream: http://toolbooth.invalid", "sidecar's own", id="as upstream"),
    ],
)
def test_warnings_of_an_entry(entry: str, words: str) -> None:
    warnings = policy_of(f"a.b: {{{entry}}}").warnings
    assert warnings
    assert all(words in text and text.startswith("tools.catalog.a.b.") for text in warnings)


@pytest.mark.parametrize(
    "entry",
    [
        "match: [{host: x}]",
        "match: [{host: x, ports: [80], paths: [/a]}]",
        "match: [{host: 10.0.0.1}], allow_addresses: [10.0.0.1/32]",
        "upstream: https://x",
        "upstream: https://x, credentials: {secret_env: K}",
        "upstream: http://localhost:9, credentials: {secret_env: K}",
        "upstream: http://tool.localhost, credentials: {secret_file: /k}",
        "upstream: http://127.0.0.1, allow_addresses: [127.0.0.0/8], credentials: {secret_env: K}",
        'upstream: "http://[::1]", allow_addresses: ["::1/128"], credentials: {secret_env: K}',
        "match: [{host: x, paths: [/a]}], intercept_tls: true",
        "match: [{host: x}], tunnel: {raw: true, max_seconds: 9}",
    ],
)
def test_entries_without_warning(entry: str) -> None:
    assert policy_of(f"a: {{{entry}}}").warnings == ()


def test_names_that_lead_nowhere() -> None:
    policy = policy_of(
        "a: {match: [{host: x}]}\ngh: {kind: mcp, upstream: http://y}",
        allowlist="[a, b, 'c.*', 'gh.*', gh.issue]",
        tools="timeouts_ms: {b: 5, a: 5}\ndisabled: [b, gh.issue]",
    )
    assert [text.partition(":")[0] for text in policy.warnings] == [
        "tools.allowlist",
        "tools.allowlist",
        "tools.disabled",
        "tools.timeouts_ms.b",
    ]
    assert "'b'" in policy.warnings[0]
    assert "'c.*'" in policy.warnings[1]


def test_an_entry_off_the_allowlist() -> None:
    policy = policy_of("a: {match: [{host: x}]}", allowlist="[]")
    assert policy.warnings == (
        "tools.catalog.a: is not on the allowlist, so every call is refused",
    )


@pytest.mark.parametrize(
    ("first", "second", "shadowed"),
    [
        pytest.param("host: '*'", "host: x", True, id="the star before a name"),
        pytest.param("host: x", "host: '*'", False, id="a name before the star"),
        pytest.param("host: '*.x'", "host: a.x", True, id="a suffix before a name"),
        pytest.param("host: '*.x'", "host: '*.a.x'", True, id="a suffix before a longer one"),
        pytest.param("host: '*.x'", "host: x", False, id="a suffix is not its bare name"),
        pytest.param("host: x", "host: x", True, id="the same host"),
        pytest.param("host: x, ports: [80]", "host: x", False, id="fewer ports"),
        pytest.param("host: x, ports: ['*']", "host: x, ports: [1]", True, id="more ports"),
        pytest.param(
            "host: x, methods: [GET], ports: [80]",
            "host: x, ports: [80]",
            False,
            id="fewer methods",
        ),
        pytest.param(
            "host: x, paths: [/**], ports: [80]",
            "host: x, paths: [/a], ports: [80]",
            True,
            id="more paths",
        ),
        pytest.param(
            "host: x, paths: [/a], ports: [80]",
            "host: x, paths: [/b], ports: [80]",
            False,
            id="other paths",
        ),
    ],
)
def test_entries_that_can_never_match(first: str, second: str, shadowed: bool) -> None:
    policy = policy_of(f"a: {{match: [{{{first}}}]}}\nb: {{match: [{{{second}}}]}}")
    said = "tools.catalog.b: can never match, as 'a' takes its calls"
    assert policy.warnings == ((said,) if shadowed else ())


def test_an_entry_with_a_gateway_path_is_not_dead() -> None:
    assert (
        policy_of("a: {match: [{host: x}]}\nb: {match: [{host: x}], upstream: http://x}").warnings
        == ()
    )


def mcp_warnings(allowlist: str, sections: str = "", entry: str = "upstream: https://x") -> str:
    text = f"tools:\n  allowlist: [{allowlist}]\n{sections}  catalog:\n    docs: {{kind: mcp, "
    return "\n".join(load_policy(f"{text}{entry}}}\n").warnings)


@pytest.mark.parametrize(
    ("allowlist", "warns"),
    [("docs", True), ("docs, docs.search", False), ("docs.*", False), ('"*"', False)],
)
def test_a_server_without_a_tool_to_call_is_told(allowlist: str, warns: bool) -> None:
    assert ("none of its tools be called" in mcp_warnings(allowlist)) is warns


def test_what_is_said_of_a_tool_of_an_mcp_server_has_an_effect() -> None:
    sections = (
        "  timeouts_ms: {docs.search: 1000}\n  rate_limits: {docs.search: {requests: 1}}\n"
        "  concurrency: {docs.search: 1}\n  retries: {docs.search: {max: 0}}\n"
        "  disabled: [docs.other]\n"
    )
    assert mcp_warnings("docs.search", sections) == ""


@pytest.mark.parametrize(
    ("entry", "warns"),
    [
        ("match: [{host: x.example}]", True),
        ("match: [{host: x.example}], intercept_tls: true", False),
        ("match: [{host: x.example, ports: [80]}]", False),
        ("upstream: https://x.example", False),
    ],
)
def test_tools_that_a_tunnel_would_hide_are_told(entry: str, warns: bool) -> None:
    assert ("not seen inside a TLS tunnel" in mcp_warnings("docs.*", entry=entry)) is warns


def test_a_tool_called_like_another_entry_is_told() -> None:
    text = (
        "tools:\n  allowlist: [docs.search]\n  catalog:\n"
        "    docs: {kind: mcp, upstream: https://x}\n    docs.search: {upstream: https://y}\n"
    )
    assert any("called like another" in warning for warning in load_policy(text).warnings)


def test_a_sample_rate_of_a_tool_that_is_not_there() -> None:
    text = "observability: {sample_rates: {search.raed: 1}}\n"
    assert load_policy(text).warnings == (
        "observability.sample_rates.search.raed: has no effect, as the catalog does not hold it",
    )


MCP = "upstream: 'http://x/mcp', kind: mcp"


@pytest.mark.parametrize(
    ("entries", "around"),
    [
        pytest.param(f"a: {{match: [{{host: x}}]}}\nb: {{{MCP}}}", True, id="its host"),
        pytest.param(f"b: {{{MCP}}}\na: {{match: [{{host: '*'}}]}}", True, id="any host"),
        pytest.param(f"a: {{match: [{{host: y}}]}}\nb: {{{MCP}}}", False, id="another host"),
        pytest.param(
            f"a: {{match: [{{host: x, ports: [81]}}]}}\nb: {{{MCP}}}", False, id="another port"
        ),
        pytest.param(
            f"a: {{match: [{{host: x, ports: [80], paths: [/api/*]}}]}}\nb: {{{MCP}}}", False,
            id="another path",
        ),
        pytest.param(
            "a: {match: [{host: x, paths: [/api/*]}]}\nb: {upstream: 'https://x/mcp', kind: mcp}",
            True, id="another path, which a tunnel hides",
        ),
        pytest.param(
            f"b: {{{MCP}, match: [{{host: x}}]}}\na: {{match: [{{host: '*'}}]}}", False,
            id="its own match comes first",
        ),
        pytest.param(
            f"a: {{match: [{{host: '*'}}]}}\nb: {{{MCP}, match: [{{host: x}}]}}", True,
            id="its own match comes too late",
        ),
        pytest.param(
            f"c: {{match: [{{host: x}}], kind: mcp}}\na: {{match: [{{host: '*'}}]}}\nb: {{{MCP}}}",
            False, id="another MCP entry comes first",
        ),
    ],
)  # fmt: skip
def test_a_way_around_an_mcp_server(entries: str, around: bool) -> None:
    said = "tools.catalog.b.upstream: 'a' lets agents reach it by its host too"
    assert any(said in warning for warning in policy_of(entries).warnings) is around


def test_a_way_around_an_mcp_server_that_is_closed_is_none() -> None:
    policy = policy_of(f"a: {{match: [{{host: x}}]}}\nb: {{{MCP}}}", allowlist="[b]")
    assert not any("lets agents" in warning for warning in policy.warnings)
