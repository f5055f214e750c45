"""The real MCP SDKs, 1.x and 2.x, as clients and as servers, through a real sidecar."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.processes import ROOT, SidecarProcess, bare_environment, running

pytestmark = pytest.mark.scenario

PYTHONS = {"2": sys.executable, "1": str(ROOT / ".venv" / "mcp1" / "bin" / "python")}
HERE = Path(__file__).parent


@contextmanager
def mcp_server(sdk: str, *words: str) -> Iterator[int]:
    """A server of this SDK; gives its port."""
    process = subprocess.Popen(
        [PYTHONS[sdk], str(HERE / "mcp_server.py"), *words],
        env=bare_environment(), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Client:
    """A client process that obeys one order at a time."""

    def __init__(self, sdk: str, mode: str, url: str, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [PYTHONS[sdk], str(HERE / "mcp_client.py"), url, mode], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._watchdog = threading.Timer(60, self.process.kill)
        self._watchdog.start()

    def order(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        said: dict[str, Any] = json.loads(line)
        return said

    def call(self, name: str, **order: Any) -> dict[str, Any]:
        self.order(do="call", name=name, **order)
        return self.answer()

    def tools(self) -> list[str]:
        self.order(do="list")
        return list(self.answer()["tools"])

    def close(self) -> None:
        self._watchdog.cancel()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        self.process.wait(10)


def policy(port: int, *, env: str = "", sections: str = "", allowlist: str = "") -> str:
    return (
        f"runtime: {{env: {{{env}}}}}\n"
        "tools:\n"
        f"  allowlist: [{allowlist or 'docs.search, docs.steps, docs.release, docs.hang'}]\n"
        f"{sections}"
        "  catalog:\n"
        "    docs:\n"
        f'      match: [{{host: "127.0.0.1", ports: [{port}]}}]\n'
        f"      upstream: http://127.0.0.1:{port}\n"
        '      kind: mcp\n      allow_addresses: ["127.0.0.0/8"]\n'
        "      tools: {search: {effect: read, cost_usd: 0.01}}\n"
    )


# client SDK, its protocol, server SDK, words to the server, way in
LINE_UP = [
    pytest.param("2", "modern", "2", (), "absolute", id="2.x modern"),
    pytest.param("2", "modern", "2", ("json",), "gateway", id="2.x modern, JSON, gateway"),
    pytest.param("2", "legacy", "2", (), "gateway", id="2.x legacy, gateway"),
    pytest.param("2", "legacy", "1", ("json",), "absolute", id="2.x to a 1.x server"),
    pytest.param("1", "legacy", "1", (), "absolute", id="1.x"),
    pytest.param("1", "legacy", "2", (), "gateway", id="1.x to a 2.x server, gateway"),
]


@contextmanager
def client_of(
    sidecar: SidecarProcess, sdk: str, mode: str, way: str, port: int
) -> Iterator[Client]:
    if way == "gateway":
        url = f"http://127.0.0.1:{sidecar.ports['proxy']}/tools/docs/mcp"
        environment = bare_environment()
    else:
        url, environment = f"http://127.0.0.1:{port}/mcp", sidecar.client_environment("mcp-run")
    client = Client(sdk, mode, url, environment)
    try:
        assert client.answer() == {"connected": True}
        yield client
    finally:
        client.close()


def records(sidecar: SidecarProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in sidecar.log.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(("sdk", "mode", "server", "words", "way"), LINE_UP)
def test_a_session_in_which_some_tools_are_allowed(
    sdk: str, mode: str, server: str, words: tuple[str, ...], way: str, tmp_path: Path
) -> None:
    """Listed is what is allowed; a refusal reaches the model and the session goes on; a kill holds
    for the next call and the next list; a timeout is told in the protocol."""
    sections = "  timeouts_ms: {docs.hang: 700}\n"
    with (
        mcp_server(server, *words) as port,
        running(tmp_path, policy(port, sections=sections)) as sidecar,
        client_of(sidecar, sdk, mode, way, port) as client,
    ):
        allowed = ["hang", "release", "search", "steps"]
        assert client.tools() == allowed
        assert client.call("search", arguments={"q": "cats"})["text"] == "found cats, 1 so far"
        denied = client.call("delete", arguments={"q": "cats"})
        assert denied["is_error"]
        assert "'docs.delete' is not on the allowlist" in denied["text"]
        assert denied["meta"]["toolbooth/code"] == "tool_not_allowed"
        assert client.call("search", arguments={"q": "dogs"})["text"] == "found dogs, 2 so far"

        late = client.call("hang")
        assert (late["is_error"], late["meta"]["toolbooth/code"]) == (True, "timeout")

        killed = sidecar.toolbooth("kill", "docs.search", "--reason", "too many cats")
        assert killed.returncode == 0, killed.stderr
        refused = client.call("search", arguments={"q": "cats"})
        assert (refused["is_error"], refused["meta"]["toolbooth/code"]) == (True, "tool_disabled")
        assert "too many cats" in refused["text"]
        assert client.tools() == ["hang", "release", "steps"]
        assert sidecar.toolbooth("revive", "docs.search").returncode == 0
        assert client.call("search", arguments={"q": "cats"})["text"] == "found cats, 3 so far"
        assert client.tools() == allowed
    found = [record for record in records(sidecar) if record["tool"] == "docs.search"]
    assert [record["code"] for record in found] == ["ok", "ok", "tool_disabled", "ok"]
    assert [record["cost_usd"] for record in found] == [0.01, 0.01, 0, 0.01]


@pytest.mark.parametrize(("sdk", "mode", "server", "words", "way"), LINE_UP)
def test_progress_streams_through(
    sdk: str, mode: str, server: str, words: tuple[str, ...], way: str, tmp_path: Path
) -> None:
    """The first progress is heard while the call is under way: only then it is released."""
    if "json" in words:
        pytest.skip("a server that answers in JSON reports no progress")
    with (
        mcp_server(server, *words) as port,
        running(tmp_path, policy(port)) as sidecar,
        client_of(sidecar, sdk, mode, way, port) as client,
    ):
        said = client.call("steps", then="release")
        assert said["text"] == "all steps taken"
        assert said["progress"] == ["half way", "done"]


@pytest.mark.parametrize(("sdk", "mode", "server", "words", "way"), LINE_UP)
def test_limits_reach_the_model_and_the_session_lives_on(
    sdk: str, mode: str, server: str, words: tuple[str, ...], way: str, tmp_path: Path
) -> None:
    """Rate limited, spent, and beyond single tools: each is told, none ends the session."""
    sections = "  rate_limits: {docs.steps: {requests: 1, per_seconds: 600}}\n"
    with mcp_server(server, *words) as port:
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


@pytest.mark.parametrize(("sdk", "mode", "server", "words", "way"), LINE_UP)
def test_a_kill_ends_a_call_under_way(
    sdk: str, mode: str, server: str, words: tuple[str, ...], way: str, tmp_path: Path
) -> None:
    """Within a second, with the reason for the model; the next call of another tool works. Then
    the server as a whole is switched off, and after that everything."""
    if "json" in words:
        pytest.skip("a server that answers in JSON gives no sign of life to wait for")
    with (
        mcp_server(server, *words) as port,
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
