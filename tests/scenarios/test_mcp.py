"""The real MCP SDKs, 1.x and 2.x, as clients and as servers, through a real sidecar."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.scenarios.mcp_processes import Client, mcp_server
from tests.scenarios.processes import SidecarProcess, bare_environment, running

pytestmark = pytest.mark.scenario


def policy(
    port: int, *, env: str = "", sections: str = "", allowlist: str = "", scheme: str = "http",
    more: str = "",
) -> str:  # fmt: skip
    return (
        f"runtime: {{env: {{{env}}}}}\n"
        "tools:\n"
        f"  allowlist: [{allowlist or 'docs.search, docs.steps, docs.release, docs.hang'}]\n"
        f"{sections}"
        "  catalog:\n"
        "    docs:\n"
        f'      match: [{{host: "{HOSTS[scheme]}", ports: [{port}]}}]\n'
        f"      upstream: {scheme}://{HOSTS[scheme]}:{port}\n"
        '      kind: mcp\n      allow_addresses: ["127.0.0.0/8"]\n'
        f"      tools: {{search: {{effect: read, cost_usd: 0.01}}}}\n{more}"
    )


HOSTS = {"http": "127.0.0.1", "https": "localhost"}
IMPATIENT = "  timeouts_ms: {docs.hang: 700}\n"
KEY = "docs-RealKey-11"
# client SDK, its protocol, server SDK, words to the server, way in
LINE_UP = [
    pytest.param("2", "modern", "2", (), "absolute", id="2.x modern"),
    pytest.param("2", "modern", "2", ("json",), "gateway", id="2.x modern, JSON, gateway"),
    pytest.param("2", "legacy", "2", (), "gateway", id="2.x legacy, gateway"),
    pytest.param("2", "legacy", "1", ("json",), "absolute", id="2.x to a 1.x server"),
    pytest.param("1", "legacy", "1", (), "absolute", id="1.x"),
    pytest.param("1", "legacy", "2", (), "gateway", id="1.x to a 2.x server, gateway"),
]
# A server that answers in JSON reports no progress and gives no sign of life to wait for.
STREAMING = [row for row in LINE_UP if "json" not in str(row.values[3])]


class Servers:
    """One server of each kind for all tests here; `search` counts on from one to the next."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._ports: dict[tuple[str, ...], int] = {}

    def port(self, *kind: str) -> int:
        if kind not in self._ports:
            self._ports[kind] = self._stack.enter_context(mcp_server(*kind))
        return self._ports[kind]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


@contextmanager
def client_of(
    sidecar: SidecarProcess, sdk: str, mode: str, way: str, port: int, **more: str
) -> Iterator[Client]:
    if way == "gateway":
        url = f"http://127.0.0.1:{sidecar.ports['proxy']}/tools/docs/mcp"
        environment = bare_environment()
    else:
        url = f"http://127.0.0.1:{port}/mcp"
        if way == "intercepted":
            url = f"https://localhost:{port}/mcp"
        environment = sidecar.client_environment("mcp-run", **more)
    client = Client(sdk, mode, url, environment)
    try:
        assert client.answer() == {"connected": True}
        yield client
    finally:
        client.close()


def records(sidecar: SidecarProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sidecar.log.read_text(encoding="utf-8").splitlines()]


def session_with_some_tools(sidecar: SidecarProcess, client: Client) -> None:
    """Listed is what is allowed; a refusal reaches the model and the session goes on; a kill holds
    for the next call and the next list; a timeout is told in the protocol."""
    allowed = ["hang", "release", "search", "steps"]
    assert client.tools() == allowed
    first = client.call("search", arguments={"q": "cats"})["text"]
    assert first.startswith("found cats, ")
    so_far = int(first.split()[2])
    denied = client.call("delete", arguments={"q": "cats"})
    assert denied["is_error"]
    assert "'docs.delete' is not on the allowlist" in denied["text"]
    assert denied["meta"]["toolbooth/code"] == "tool_not_allowed"
    assert (
        client.call("search", arguments={"q": "dogs"})["text"] == f"found dogs, {so_far + 1} so far"
    )

    late = client.call("hang")
    assert (late["is_error"], late["meta"]["toolbooth/code"]) == (True, "timeout")

    killed = sidecar.toolbooth("kill", "docs.search", "--reason", "too many cats")
    assert killed.returncode == 0, killed.stderr
    refused = client.call("search", arguments={"q": "cats"})
    assert (refused["is_error"], refused["meta"]["toolbooth/code"]) == (True, "tool_disabled")
    assert "too many cats" in refused["text"]
    assert client.tools() == ["hang", "release", "steps"]
    assert sidecar.toolbooth("revive", "docs.search").returncode == 0
    assert (
        client.call("search", arguments={"q": "cats"})["text"] == f"found cats, {so_far + 2} so far"
    )
    assert client.tools() == allowed


def searches_with(sidecar: SidecarProcess, mode: str) -> None:
    """Each call of that session to `search` has its record, by this way in."""
    found = [record for record in records(sidecar) if record["tool"] == "docs.search"]
    # An SDK that has its result may close before the end of the stream that brought it.
    codes = [str(record["code"]).replace("client_gone", "ok") for record in found]
    assert codes == ["ok", "ok", "tool_disabled", "ok"]
    assert [record["cost_usd"] for record in found] == [0.01, 0.01, 0, 0.01]
    assert {record["mode"] for record in found} == {mode}


@pytest.mark.parametrize(("sdk", "mode", "server", "words", "way"), LINE_UP)
def test_a_session_in_which_some_tools_are_allowed(
    sdk: str, mode: str, server: str, words: tuple[str, ...], way: str, servers: Servers,
    tmp_path: Path,
) -> None:  # fmt: skip
    port = servers.port(server, *words)
    with (
        running(tmp_path, policy(port, sections=IMPATIENT)) as sidecar,
        client_of(sidecar, sdk, mode, way, port) as client,
    ):
        session_with_some_tools(sidecar, client)
    searches_with(sidecar, way)


@pytest.mark.parametrize("way", ["intercepted", "gateway"])
@pytest.mark.parametrize(("sdk", "mode"), [("2", "modern"), ("1", "legacy")], ids=["2.x", "1.x"])
def test_a_session_with_a_server_that_speaks_tls_and_wants_a_key(
    sdk: str, mode: str, way: str, tmp_path: Path
) -> None:
    """The same session over HTTPS, inside of a tunnel or by the gateway; the client has no key and
    does not trust the server's CA."""
    authority = trustme.CA()
    server, roots, ours = tmp_path / "server.pem", tmp_path / "roots.pem", tmp_path / "booth.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(server))
    authority.cert_pem.write_to_path(str(roots))
    more = (
        f"      trust_file: {roots}\n      intercept_tls: true\n"
        "      credentials: {secret_env: DOCS_KEY}\n"
    )
    with mcp_server("2", f"tls={server}", f"key={KEY}") as port:
        text = policy(port, sections=IMPATIENT, scheme="https", more=more)
        with running(tmp_path, text, DOCS_KEY=KEY) as sidecar:
            assert sidecar.toolbooth("ca", "export", "--out", str(ours)).returncode == 0
            with client_of(sidecar, sdk, mode, way, port, SSL_CERT_FILE=str(ours)) as client:
                session_with_some_tools(sidecar, client)
    searches_with(sidecar, way)
    assert KEY not in sidecar.log.read_text(encoding="utf-8")


@pytest.mark.parametrize(("sdk", "mode", "server", "words", "way"), STREAMING)
def test_progress_streams_through(
    sdk: str, mode: str, server: str, words: tuple[str, ...], way: str, servers: Servers,
    tmp_path: Path,
) -> None:  # fmt: skip
    """The first progress is heard while the call is under way: only then it is released."""
    port = servers.port(server, *words)
    with (
        running(tmp_path, policy(port)) as sidecar,
        client_of(sidecar, sdk, mode, way, port) as client,
    ):
        said = client.call("steps", then="release")
        assert said["text"] == "all steps taken"
        assert said["progress"] == ["half way", "done"]


@pytest.mark.parametrize(("sdk", "mode", "server", "words", "way"), LINE_UP)
def test_limits_reach_the_model_and_the_session_lives_on(
    sdk: str, mode: str, server: str, words: tuple[str, ...], way: str, servers: Servers,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Rate limited, spent, and beyond single tools: each is told, none ends the session."""
    sections = "  rate_limits: {docs.steps: {requests: 1, per_seconds: 600}}\n"
    port = servers.port(server, *words)
    text = policy(port, env="AGENT_MAX_TOOL_CALLS: 4", sections=sections)
    with running(tmp_path, text) as sidecar, client_of(sidecar, sdk, mode, way, port) as client:
        assert client.call("release")["text"] == "released"
        assert client.call("steps")["text"] == "all steps taken"
        limited = client.call("steps")
        assert limited["meta"]["toolbooth/code"] == "rate_limited"
        assert limited["meta"]["toolbooth/retry_after_ms"] > 1000
        client.order(do="read", uri="docs://one")
        beyond = client.answer()
        assert (beyond["rpc_code"], "Only single tools" in beyond["raised"]) == (-33001, True)
        codes = [
            client.call("search", arguments={"q": "a"})["meta"].get("toolbooth/code")
            for _ in range(3)
        ]
        assert codes == [None, None, "max_tool_calls"]
        assert "search" in client.tools()


@pytest.mark.parametrize(("sdk", "mode", "server", "words", "way"), STREAMING)
def test_a_kill_ends_a_call_under_way(
    sdk: str, mode: str, server: str, words: tuple[str, ...], way: str, servers: Servers,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Within a second, with the reason for the model; the next call of another tool works. Then
    the server as a whole is switched off, and after that everything."""
    port = servers.port(server, *words)
    with (
        running(tmp_path, policy(port)) as sidecar,
        client_of(sidecar, sdk, mode, way, port) as client,
    ):
        client.order(do="call", name="hang", announce=True)
        assert client.answer() == {"heard": "still here"}
        assert sidecar.toolbooth("kill", "docs.hang", "--reason", "it hangs").returncode == 0
        ended = client.answer()
        assert (ended["is_error"], ended["meta"]["toolbooth/code"]) == (True, "tool_disabled")
        assert "it hangs" in ended["text"]
        assert not client.call("search", arguments={"q": "a"})["is_error"]
        for words_of_kill, code in ((["docs"], "tool_disabled"), (["--all"], "all_disabled")):
            sidecar.toolbooth("kill", *words_of_kill, "--reason", "an incident")
            refused = client.call("search", arguments={"q": "a"})
            assert refused["meta"]["toolbooth/code"] == code
            sidecar.toolbooth("revive", *words_of_kill)
            assert not client.call("search", arguments={"q": "a"})["is_error"]
