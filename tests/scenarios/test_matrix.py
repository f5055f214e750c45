"""Every client by every way in that makes sense, through one real sidecar: the origin gets the
request, and the record says by which way, for which tool and for whose run it came."""

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.scenarios.clients import CLIENTS, Client
from tests.scenarios.matrix import CELLS, WAYS, names_its_run
from tests.scenarios.mcp_processes import mcp_server
from tests.scenarios.processes import (
    HttpOrigin,
    SidecarProcess,
    bare_environment,
    local_tool,
    policy,
    running,
)

pytestmark = pytest.mark.scenario

ADDRESS = "shared:127.0.0.1"
KEY = "gate-RealKey-22"
NAMES = ("opaque.localhost", "seen.localhost", "gate.localhost", "localhost")
MODELS = {
    "/v1/chat/completions": {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "from the model"}}],
    },
    "/v1/messages": {
        "id": "x", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
        "content": [{"type": "text", "text": "from the model"}],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
}  # fmt: skip
TOOLS = {"absolute": "plain", "connect": "opaque", "intercepted": "seen", "gateway": "gate"}


def run(command: list[str], environment: dict[str, str], **more: Any) -> str:
    """A client's output; fails with what it said."""
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=90, check=False, **more
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    said: str = done.stdout
    return said


def repository(folder: Path) -> None:
    """`r.git`, as a web server without git would have it."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a",
                   "GIT_AUTHOR_EMAIL": "a@b.c", "GIT_COMMITTER_NAME": "a",
                   "GIT_COMMITTER_EMAIL": "a@b.c"}  # fmt: skip
    source, bare = str(folder / "source"), str(folder / "r.git")
    run(["git", "init", "-q", source], environment)
    (folder / "source" / "README").write_text("through the booth\n")
    run(["git", "-C", source, "add", "."], environment)
    run(["git", "-C", source, "commit", "-q", "-m", "one"], environment)
    run(["git", "clone", "-q", "--bare", source, bare], environment)
    run(["git", "-C", bare, "update-server-info"], environment)


def package_index(folder: Path) -> None:
    """`simple/`, with one package."""
    place = folder / "simple" / "tiny"
    place.mkdir(parents=True)
    wheel = place / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        info = "tiny-1.0.dist-info"
        archive.writestr("tiny.py", "answer = 42\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    (place / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')


def answers(folder: Path) -> Callable[[str], tuple[int, dict[str, str], bytes]]:
    """What all origins answer: greetings, models, and the files of `folder`."""

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if path in MODELS:
            return 200, {"Content-Type": "application/json"}, json.dumps(MODELS[path]).encode()
        file = folder / path.partition("?")[0].strip("/")
        if file.is_dir():
            file /= "index.html"
        if file.exists():
            kind = "text/html" if file.suffix == ".html" else "application/octet-stream"
            return 200, {"Content-Type": kind}, file.read_bytes()
        if path == "/hello":
            return 200, {}, b'{"path": "/hello"}'
        return 404, {}, b""

    return answer


class Rig:
    """One sidecar, and for each way an origin. `ran` holds what the cells of the table said."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.ran: dict[str, dict[str, str]] = defaultdict(dict)
        self._trusted: dict[Path, dict[str, Any]] = {}
        repository(folder)
        package_index(folder)
        authority = trustme.CA()
        self.roots, certificate = folder / "roots.pem", folder / "server.pem"
        authority.cert_pem.write_to_path(str(self.roots))
        issued = authority.issue_cert(*NAMES)
        issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued.configure_cert(tls)
        self.plain = stack.enter_context(HttpOrigin(answers(folder)))
        self.secure = stack.enter_context(HttpOrigin(answers(folder), tls=tls))
        self.mcp = stack.enter_context(mcp_server("2"))
        self.secure_mcp = stack.enter_context(mcp_server("2", f"tls={certificate}"))
        self.sidecar: SidecarProcess = stack.enter_context(
            running(folder, self._policy(), GATE_KEY=KEY)
        )
        self.ca = folder / "booth.pem"
        exported = self.sidecar.toolbooth("ca", "export", "--out", str(self.ca))
        assert exported.returncode == 0, exported.stderr

    def _policy(self) -> str:
        plain, secure, mcp, secure_mcp = (
            self.plain.port, self.secure.port, self.mcp, self.secure_mcp
        )  # fmt: skip
        inside = f"intercept_tls: true, trust_file: {self.roots}"
        docs = "kind: mcp, tools: {search: {effect: read}}"
        paths = 'methods: [GET, POST], paths: ["/hello", "/r.git/**", "/simple/**", "/v1/**"]'
        text = policy(
            local_tool("plain", "plain.localhost", plain),
            local_tool("opaque", "opaque.localhost", secure),
            local_tool("seen", "seen.localhost", secure, inside).replace("]}]", f"], {paths}}}]"),
            f"gate: {{upstream: https://gate.localhost:{secure}, trust_file: {self.roots}, "
            'allow_addresses: ["127.0.0.0/8"], credentials: {secret_env: GATE_KEY}}',
            local_tool("docs-plain", "localhost", mcp, docs),
            local_tool("docs-opaque", "opaque.localhost", secure_mcp, docs),
            local_tool("docs-seen", "localhost", secure_mcp, f"{docs}, {inside}"),
            f"docs-gate: {{upstream: https://localhost:{secure_mcp}, trust_file: {self.roots}, "
            f'allow_addresses: ["127.0.0.0/8"], {docs}}}',
        )
        names = ", ".join(
            f"{name}.search" for name in ("docs-plain", "docs-opaque", "docs-seen", "docs-gate")
        )
        return text.replace("allowlist: [", f"allowlist: [{names}, ")

    def url(self, client: Client, way: str) -> str:
        """Where the client is sent for this way."""
        tool = f"docs-{TOOLS[way]}" if client.is_mcp else TOOLS[way]
        if way == "gateway":
            return f"http://127.0.0.1:{self.sidecar.ports['proxy']}/tools/{tool}{client.at}"
        if client.is_mcp:
            if way == "absolute":
                return f"http://localhost:{self.mcp}{client.at}"
            host = "localhost" if way == "intercepted" else "opaque.localhost"
            return f"https://{host}:{self.secure_mcp}{client.at}"
        if way == "absolute":
            return f"http://plain.localhost:{self.plain.port}{client.at}"
        return f"https://{tool}.localhost:{self.secure.port}{client.at}"

    def environment(self, client: Client, way: str, name: str) -> dict[str, str]:
        """What the client's container would have set."""
        own = {"GIT_CONFIG_GLOBAL": "/dev/null", "PIP_CONFIG_FILE": "/dev/null",
               "PIP_TRUSTED_HOST": "plain.localhost",
               "GIT_CONFIG_PARAMETERS": "'http.proxyAuthMethod=basic'"}  # fmt: skip
        header = f"X-Agent-Run-Id: {name}"
        if way == "gateway":
            both = ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS")
            return {**bare_environment(), **own, **dict.fromkeys(both, header)}
        environment = self.sidecar.client_environment(name, **own)
        if way != "absolute":
            environment |= self.trust(client, self.ca if way == "intercepted" else self.roots)
        return environment

    def trust(self, client: Client, ca: Path) -> dict[str, str]:
        """The variables that `toolbooth ca env` prints for this file, for this client."""
        if ca not in self._trusted:
            told = self.sidecar.toolbooth("ca", "env", "--file", str(ca), "--json")
            self._trusted[ca] = json.loads(told.stdout)
        told_of = self._trusted[ca]
        if client.trust == "java":
            return java_trust(self.folder, told_of["java"])
        if client.trust == "wgetrc":  # GnuTLS: there is no variable
            file = ca.with_suffix(".wgetrc")
            file.write_text(f"ca_certificate = {ca}\n", encoding="utf-8")
            return {"WGETRC": str(file)}
        known = {**told_of["extend"], **told_of["replace"]}
        return {client.trust: known[client.trust]}

    def records(self, name: str, **wanted: str) -> list[dict[str, Any]]:
        """All records of a run, once one with these fields is there: the log is written behind."""
        until_s = time.monotonic() + 10
        while True:
            lines = self.sidecar.log.read_text(encoding="utf-8").splitlines()
            found = [r for r in map(json.loads, lines) if r["run_id"] == name]
            if any(wanted.items() <= record.items() for record in found):
                return found
            assert time.monotonic() < until_s, f"no {wanted} of {name}: {lines[-3:]}"
            time.sleep(0.02)


def java_trust(folder: Path, told: dict[str, Any]) -> dict[str, str]:
    """Runs the very commands that are printed for Java, once."""
    options = {"JAVA_TOOL_OPTIONS": str(told["JAVA_TOOL_OPTIONS"])}
    if Path(options["JAVA_TOOL_OPTIONS"].partition("trustStore=")[2].split()[0]).exists():
        return options
    java = shutil.which("java")
    assert java is not None
    home = Path(java).resolve().parent.parent
    for command in told["commands"]:
        run(["sh", "-c", command], {**os.environ, "JAVA_HOME": str(home)}, cwd=folder)
    return options


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with ExitStack() as stack:
        rig = Rig(tmp_path_factory.mktemp("matrix"), stack)
        yield rig
        lines = [f"  {name:14}" + "".join(f"{cells.get(way, '-'):16}" for way in WAYS)
                 for name, cells in rig.ran.items()]  # fmt: skip
        head = "".join(f"{way:16}" for way in WAYS)
        sys.stdout.write("\n".join(("", f"  {'':14}{head}", *lines, "")))


@pytest.mark.parametrize(
    ("client", "way"), [pytest.param(c, way, id=f"{c.name}-{way}") for c, way in CELLS]
)
def test_a_client_by_a_way(client: Client, way: str, rig: Rig, tmp_path: Path) -> None:
    assert shutil.which(client.command[0]), f"{client.command[0]} is part of the test environment"
    name = f"{client.name.replace(' ', '-')}-{way}"
    environment = rig.environment(client, way, name)
    origin = rig.plain if way == "absolute" else rig.secure
    hits, heads = origin.hits[client.asks], len(origin.heads)
    url = rig.url(client, way)
    command = client.start(tmp_path, url, name if way == "gateway" else "")
    said = run(command, environment, input=client.orders)
    assert client.says in said
    assert (tmp_path / client.leaves).exists()

    if not client.is_mcp:
        assert origin.hits[client.asks] > hits
        for head in origin.heads[heads:]:
            assert not {"Proxy-Authorization", "X-Agent-Run-Id"} & set(head)
            assert (head.get("Authorization") == f"Bearer {KEY}") == (way == "gateway")
    run_id = name if names_its_run(client, way) else ADDRESS
    tool = f"docs-{TOOLS[way]}.search" if client.is_mcp else TOOLS[way]
    of_run = rig.records(run_id, tool=tool, mode=way)
    modes = {r["mode"] for r in of_run if r["tool"] in (tool, tool.partition(".")[0])}
    assert modes == ({way, "connect"} if way == "intercepted" else {way})
    calls = [r for r in of_run if (r["tool"], r["mode"]) == (tool, way)]
    # An MCP SDK that has its result may close before the end of the stream that brought it.
    assert {r["code"] for r in calls} <= {"ok", "client_gone" if client.is_mcp else "ok"}
    if way != "connect":
        assert {r["scheme"] for r in calls} == {"http" if way == "absolute" else "https"}
        asked = client.asks.partition("?")[0]
        assert any(r["path"].startswith(asked) for r in calls), calls
    rig.ran[client.name][way] = "as its address" if run_id != name else "ok"


READABLE = [c for c, way in CELLS if way == "intercepted" and c.asks == "/hello"]
READABLE.append(READABLE[0]._replace(name="curl with another variable", trust="SSL_CERT_FILE"))


@pytest.mark.parametrize("client", READABLE, ids=[client.name for client in READABLE])
def test_a_refusal_inside_can_be_read(client: Client, rig: Rig, tmp_path: Path) -> None:
    """What the policy leaves out is refused in an answer, and does not reach the upstream."""
    name = f"{client.name.replace(' ', '-')}-refused"
    url = rig.url(client, "intercepted").replace("/hello", "/secret")
    done = subprocess.run(
        client.start(tmp_path, url), env=rig.environment(client, "intercepted", name),
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    if client.name == "urllib":  # it raises for a 403, content unread
        assert "HTTP Error 403: Forbidden" in done.stderr
    else:
        assert "tool_unknown" in done.stdout
    assert not rig.secure.hits["/secret"]
    rig.records(name if client.names_its_run else ADDRESS,
                mode="intercepted", path="/secret", code="tool_unknown")  # fmt: skip


UNSEEN = [c for c in CLIENTS if c.is_mcp]


@pytest.mark.parametrize("client", UNSEEN, ids=[client.name for client in UNSEEN])
def test_an_opaque_tunnel_to_an_mcp_server_is_closed(
    client: Client, rig: Rig, tmp_path: Path
) -> None:
    """The cells that are left out: the client trusts the server, and still gets no TLS."""
    name = f"{client.name.replace(' ', '-')}-unseen"
    environment = rig.environment(client, "connect", name)
    done = subprocess.run(
        client.start(tmp_path, rig.url(client, "connect")), env=environment, input=client.orders,
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "ConnectError" in done.stderr
    (record,) = rig.records(name, tool="docs-opaque", mode="connect")
    assert record["code"] == "tool_not_allowed"
    assert "cannot be judged inside it" in record["detail"]
