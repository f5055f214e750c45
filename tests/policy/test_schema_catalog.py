"""What a catalog entry may not say, with the path of each complaint."""

import pytest

from tests.policy.documents import problems_of

_ENTRY = "tools: {catalog: {a.b: {%s}}}"
_MATCH = "tools: {catalog: {a.b: {match: [{%s}]}}}"


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        pytest.param(
            _ENTRY % "", "tools.catalog.a.b", "'match' or 'upstream'", id="an unreachable entry"
        ),
        pytest.param(
            _ENTRY % "upstream: 'ftp://x'", "tools.catalog.a.b.upstream", "http", id="ftp"
        ),
        pytest.param(
            _ENTRY % "upstream: 'http://u:p@x'", "tools.catalog.a.b.upstream", "user", id="userinfo"
        ),
        pytest.param(
            _ENTRY % "upstream: 'http://x/?q'", "tools.catalog.a.b.upstream", "query", id="query"
        ),
        pytest.param(
            _ENTRY % "upstream: 'http://x:99999'", "tools.catalog.a.b.upstream", "http", id="port"
        ),
        pytest.param(
            _ENTRY % "upstream: 'http://x:0'", "tools.catalog.a.b.upstream", "http", id="port 0"
        ),
        pytest.param(
            _ENTRY % "upstream: 'http://127.1'",
            "tools.catalog.a.b.upstream",
            "127.0.0.1",
            id="short IP",
        ),
        pytest.param(
            _ENTRY % "upstream: 'http://*.x'",
            "tools.catalog.a.b.upstream",
            "one host",
            id="wildcard upstream",
        ),
        pytest.param(
            _ENTRY % "upstream: 'http://x/a/../b'",
            "tools.catalog.a.b.upstream",
            "two ways",
            id="dots",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, kind: llm",
            "tools.catalog.a.b.kind",
            "'model'",
            id="bad kind",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, cost_usd: -0.1",
            "tools.catalog.a.b.cost_usd",
            "0",
            id="negative price",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, allow_addresses: [10.0.0.1/8]",
            "tools.catalog.a.b.allow_addresses[0]",
            "did you mean 10.0.0.0/8",
            id="host bits",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, credentials: {secret: hunter2}",
            "tools.catalog.a.b.credentials.secret",
            "secret_env",
            id="a secret in the file",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, credentials: {secret_env: A, secret_file: /b}",
            "tools.catalog.a.b.credentials",
            "either",
            id="two sources",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, credentials: {secret_env: sk-123}",
            "tools.catalog.a.b.credentials.secret_env",
            "never the secret",
            id="a secret for a name",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, credentials: {secret_env: A, format: abc}",
            "tools.catalog.a.b.credentials.format",
            "{secret}",
            id="format without secret",
        ),
        pytest.param(
            _ENTRY % "match: [{host: x}], credentials: {secret_env: A}",
            "tools.catalog.a.b",
            "needs 'upstream'",
            id="a secret without the one origin it is for",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, credentials: {secret_env: A, header: Host}",
            "tools.catalog.a.b.credentials.header",
            "HTTP itself needs",
            id="a secret in a header that frames or routes",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, credentials: {secret_env: A, placeholder: key}",
            "tools.catalog.a.b.credentials.placeholder",
            "8 to 200",
            id="a placeholder that may stand anywhere",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, credentials: {secret_env: A, placeholder_query: [key]}",
            "tools.catalog.a.b.credentials",
            "needs a 'placeholder'",
            id="places for a placeholder that there is none of",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, credentials: {secret_env: A, placeholder: not-the-key, "
            "placeholder_query: ['a=b']}",
            "tools.catalog.a.b.credentials.placeholder_query[0]",
            "letters, digits",
            id="a parameter that needs an escape",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, tools: {search: {effect: read}}",
            "tools.catalog.a.b",
            "kind: mcp",
            id="single tools of what is no MCP server",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, kind: mcp, tools: {'a b': {effect: read}}",
            "tools.catalog.a.b.tools['a b']",
            "letters, digits",
            id="an MCP tool's name with a blank",
        ),
        pytest.param(
            _ENTRY % "upstream: http://x, tunnel: {max_seconds: 0}",
            "tools.catalog.a.b.tunnel.max_seconds",
            "greater than 0",
            id="a tunnel of no length",
        ),
        pytest.param(
            _MATCH % "ports: [80]", "tools.catalog.a.b.match[0].host", "required", id="no host"
        ),
        pytest.param(
            _MATCH % "host: x, ports: []", "tools.catalog.a.b.match[0].ports", "empty", id="no port"
        ),
        pytest.param(
            _MATCH % "host: x, ports: [0]",
            "tools.catalog.a.b.match[0].ports[0]",
            "1 to 65535",
            id="port zero",
        ),
        pytest.param(
            _MATCH % "host: x, ports: [65536]",
            "tools.catalog.a.b.match[0].ports[0]",
            "1 to 65535",
            id="port too high",
        ),
        pytest.param(
            _MATCH % "host: x, ports: [true]",
            "tools.catalog.a.b.match[0].ports[0]",
            "1 to 65535",
            id="port true",
        ),
        pytest.param(
            _MATCH % "host: x, methods: [get]",
            "tools.catalog.a.b.match[0].methods[0]",
            "capitals",
            id="lower-case method",
        ),
        pytest.param(
            _MATCH % "host: x, methods: [CONNECT]",
            "tools.catalog.a.b.match[0].methods[0]",
            "tunnels",
            id="CONNECT",
        ),
        pytest.param(
            _MATCH % "host: x, paths: [v1]",
            "tools.catalog.a.b.match[0].paths[0]",
            "start with",
            id="relative path",
        ),
        pytest.param(
            "tools: {catalog: {default: {upstream: http://x}}}",
            "tools.catalog.default",
            "reserved",
            id="reserved name",
        ),
        pytest.param(
            "tools: {catalog: {'a b': {upstream: http://x}}}",
            "tools.catalog['a b']",
            "not a tool name",
            id="odd name",
        ),
        pytest.param(
            "tools: {catalog: {a..b: {upstream: http://x}}}",
            "tools.catalog.a..b",
            "not a tool name",
            id="empty part",
        ),
    ],
)
def test_what_a_catalog_entry_may_not_say(text: str, path: str, words: str) -> None:
    found = problems_of(text)
    assert [p.path for p in found] == [path], found
    assert words in found[0].message
    assert found[0].line == 1
