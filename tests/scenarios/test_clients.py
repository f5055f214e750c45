"""Real clients, as people have them, through a real sidecar."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import trustme

from tests.scenarios.processes import HttpOrigin, bare_environment, local_tool, policy, running

pytestmark = pytest.mark.scenario


def run(command: list[str], environment: dict[str, str], cwd: Path | None = None) -> str:
    """A client's output; fails with what it said."""
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def records(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


PYTHON_CLIENTS = [
    pytest.param("import requests; print(requests.get('{url}').text)", id="requests"),
    pytest.param("import httpx; print(httpx.get('{url}').text)", id="httpx"),
    pytest.param(
        "import urllib.request as u; print(u.urlopen('{url}').read().decode())", id="urllib"
    ),
    pytest.param(
        "import asyncio, aiohttp\n"
        "async def main():\n"
        "    async with aiohttp.ClientSession(trust_env=True) as s:\n"
        "        print(await (await s.get('{url}')).text())\n"
        "asyncio.run(main())",
        id="aiohttp with trust_env",
    ),
]


@pytest.mark.parametrize("code", PYTHON_CLIENTS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_python_clients(code: str, scheme: str, tmp_path: Path) -> None:
    """Each library's own proxy support works, in the clear and through CONNECT, and the run id in
    the proxy's URL arrives."""
    authority = trustme.CA()
    tls = None
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    if scheme == "https":
        import ssl

        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("tool.localhost").configure_cert(tls)
    with HttpOrigin(tls=tls) as origin:
        text = policy(local_tool("web.get", "tool.localhost", origin.port))
        with running(tmp_path, text) as sidecar:
            environment = sidecar.client_environment(
                "py-run", SSL_CERT_FILE=str(ca_file), REQUESTS_CA_BUNDLE=str(ca_file)
            )
            url = f"{scheme}://tool.localhost:{origin.port}/hello"
            output = run([sys.executable, "-c", code.replace("{url}", url)], environment)
            assert '"path": "/hello"' in output
        assert origin.hits["/hello"] == 1
        assert "Proxy-Authorization" not in origin.heads[0]
        record = records(sidecar.log)[0]
        assert (record["run_id"], record["tool"], record["code"]) == ("py-run", "web.get", "ok")
        assert record["mode"] == ("connect" if scheme == "https" else "absolute")


def test_curl(tmp_path: Path) -> None:
    """curl: a GET, a POST with Expect, a refusal with its reason, a refused tunnel."""
    assert shutil.which("curl"), "curl is part of the test environment"
    with HttpOrigin() as origin:
        text = policy(local_tool("web.get", "tool.localhost", origin.port))
        with running(tmp_path, text) as sidecar:
            environment = sidecar.client_environment()
            url = f"http://tool.localhost:{origin.port}/c"
            # --resolve is not needed: the proxy resolves, and curl asks it by name.
            assert '"path": "/c"' in run(["curl", "-sS", url], environment)
            big = tmp_path / "big"
            big.write_bytes(b"x" * 2_000_000)
            run(["curl", "-sS", "-T", str(big), "-X", "POST", url, "-H", "Expect: 100-continue"],
                environment)  # fmt: skip
            assert len(origin.bodies[-1]) == 2_000_000
            refused = run(["curl", "-sS", "http://denied.example/"], environment)
            assert json.loads(refused)["code"] == "tool_unknown"
            tunnel = subprocess.run(
                ["curl", "-sS", "-v", "https://denied.example/"],
                env=environment, capture_output=True, text=True, timeout=30, check=False,
            )  # fmt: skip
            assert tunnel.returncode == 56
            assert "403 tool_unknown" in tunnel.stderr


def test_node(tmp_path: Path) -> None:
    """Node's http module in absolute-form, and its https over CONNECT."""
    assert shutil.which("node"), "node is part of the test environment"
    import ssl

    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("tool.localhost").configure_cert(tls)
    script = tmp_path / "client.js"
    script.write_text(
        """
        const http = require('http'), tls = require('tls');
        const [port, plain, secure] = process.argv.slice(2);
        const auth = 'Basic ' + Buffer.from('node-run:x').toString('base64');
        http.get({host: '127.0.0.1', port, path: `http://tool.localhost:${plain}/plain`,
                  headers: {Host: `tool.localhost:${plain}`, 'Proxy-Authorization': auth}}, r => {
          r.on('data', d => process.stdout.write(d));
          r.on('end', () => {
            http.request({host: '127.0.0.1', port, method: 'CONNECT',
                          path: `tool.localhost:${secure}`,
                          headers: {'Proxy-Authorization': auth}})
              .on('connect', (res, socket) => {
                const s = tls.connect({socket, servername: 'tool.localhost'}, () =>
                  s.write('GET /secure HTTP/1.1\\r\\nHost: tool.localhost\\r\\n'
                          + 'Connection: close\\r\\n\\r\\n'));
                s.on('data', d => process.stdout.write(d));
              }).end();
          });
        });
        """,
        encoding="utf-8",
    )
    with HttpOrigin() as plain, HttpOrigin(tls=tls) as secure:
        text = policy(
            local_tool("web.plain", "tool.localhost", plain.port),
            local_tool("web.secure", "tool.localhost", secure.port),
        )
        with running(tmp_path, text) as sidecar:
            environment = {**bare_environment(), "NODE_EXTRA_CA_CERTS": str(ca_file)}
            ports = [str(sidecar.ports["proxy"]), str(plain.port), str(secure.port)]
            output = run(["node", str(script), *ports], environment)
            assert '"path": "/plain"' in output
            assert '"path": "/secure"' in output
        seen = {(r["mode"], r["run_id"]) for r in records(sidecar.log)}
        assert seen == {("absolute", "node-run"), ("connect", "node-run")}


def test_git_clone(tmp_path: Path) -> None:
    """git clones through the proxy with its own HTTP client."""
    assert shutil.which("git"), "git is part of the test environment"
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a",
                   "GIT_AUTHOR_EMAIL": "a@b.c", "GIT_COMMITTER_NAME": "a",
                   "GIT_COMMITTER_EMAIL": "a@b.c"}  # fmt: skip
    source, served = tmp_path / "source", tmp_path / "served"
    run(["git", "init", "-q", str(source)], environment)
    (source / "README").write_text("through the booth\n")
    run(["git", "-C", str(source), "add", "."], environment)
    run(["git", "-C", str(source), "commit", "-q", "-m", "one"], environment)
    run(["git", "clone", "-q", "--bare", str(source), str(served / "r.git")], environment)
    run(["git", "-C", str(served / "r.git"), "update-server-info"], environment)
    with HttpOrigin(folder=served) as origin:
        text = policy(local_tool("git.clone", "git.localhost", origin.port))
        with running(tmp_path, text) as sidecar:
            url = f"http://git.localhost:{origin.port}/r.git"
            client = {**sidecar.client_environment(), "GIT_CONFIG_GLOBAL": "/dev/null"}
            run(["git", "clone", "-q", url, str(tmp_path / "clone")], client)
        assert (tmp_path / "clone" / "README").read_text() == "through the booth\n"
        assert {r["tool"] for r in records(sidecar.log)} == {"git.clone"}


def test_pip_download_through_connect(tmp_path: Path) -> None:
    """pip fetches a package from an HTTPS index through a tunnel."""
    import ssl

    served = tmp_path / "served" / "simple" / "tiny"
    served.mkdir(parents=True)
    wheel = served / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "answer = 42\n")
        info = "tiny-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    (served / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("index.localhost").configure_cert(tls)
    with HttpOrigin(tls=tls, folder=tmp_path / "served") as origin:
        text = policy(local_tool("pip.index", "index.localhost", origin.port))
        with running(tmp_path, text) as sidecar:
            environment = {
                **sidecar.client_environment("pip-run"),
                "PIP_CONFIG_FILE": "/dev/null",
            }  # fmt: skip
            run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-cache-dir",
                 "--disable-pip-version-check", "--cert", str(ca_file), "--dest",
                 str(tmp_path / "got"), "--index-url",
                 f"https://index.localhost:{origin.port}/simple", "tiny"], environment,
            )  # fmt: skip
        assert (tmp_path / "got" / wheel.name).exists()
        seen = records(sidecar.log)
        assert {r["mode"] for r in seen} == {"connect"}
        assert {r["run_id"] for r in seen} == {"pip-run"}


OPENAI = """
import openai, sys
client = openai.OpenAI(base_url=sys.argv[1], api_key="unused")
try:
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    print("answered")
except openai.APIStatusError as error:
    print(error.status_code, error.response.headers.get("toolbooth-code", "-"))
"""


@pytest.mark.parametrize(
    ("tool", "hits", "said"),
    [
        pytest.param("retry_writes: true", 3, "503 -", id="our retries are not multiplied by its"),
        pytest.param("retry_writes: false", 3, "503 -", id="a POST we send once is its to retry"),
    ],
)
def test_the_openai_client_against_a_failing_upstream(
    tool: str, hits: int, said: str, tmp_path: Path
) -> None:
    """The SDK tries three times by default; with our retries on, three requests in all reach the
    upstream, not nine."""
    with HttpOrigin(lambda _: (503, {}, b"{}")) as origin:
        more = f"kind: model, upstream: http://127.0.0.1:{origin.port}/v1, {tool}"
        with running(tmp_path, policy(local_tool("llm", "llm.localhost", origin.port, more))) as s:
            base = f"http://127.0.0.1:{s.ports['proxy']}/tools/llm"
            output = run([sys.executable, "-c", OPENAI, base], bare_environment())
            assert output.strip() == said
        assert origin.hits["/v1/chat/completions"] == hits


def test_the_openai_client_does_not_retry_a_refusal(tmp_path: Path) -> None:
    """A spent step budget is told once, with a code, and the SDK gives up at once."""
    answer = b'{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}'
    with HttpOrigin(lambda _: (200, {"Content-Type": "application/json"}, answer)) as origin:
        more = f"kind: model, upstream: http://127.0.0.1:{origin.port}/v1"
        text = policy(local_tool("llm", "llm.localhost", origin.port, more), budget=1)
        with running(tmp_path, text) as sidecar:
            base = f"http://127.0.0.1:{sidecar.ports['proxy']}/tools/llm"
            arguments = [sys.executable, "-c", OPENAI, base]
            assert run(arguments, bare_environment()).strip() == "answered"
            assert run(arguments, bare_environment()).strip() == "403 max_steps"
        assert len(records(sidecar.log)) == 2
        assert sum(origin.hits.values()) == 1
