"""Real clients through a real sidecar that ends their TLS and judges each request."""

import http.client
import json
import os
import shlex
import shutil
import ssl
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import trustme

from tests.scenarios.intercepted_clients import CLIENTS, MODELS, Client
from tests.scenarios.processes import HttpOrigin, SidecarProcess, local_tool, policy, running

pytestmark = pytest.mark.scenario

HOST = "tool.localhost"


def run(command: list[str], environment: dict[str, str], cwd: Path | None = None) -> str:
    """A client's output; fails with what it said."""
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def records(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


class Upstream:
    """A TLS context for `HOST` from a CA that only the sidecar trusts."""

    def __init__(self, folder: Path) -> None:
        self.trust_file = folder / "upstream.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.trust_file))
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(HOST).configure_cert(self.tls)

    def tool(self, name: str, port: int, match: str = "", more: str = "") -> str:
        """A catalog line that intercepts."""
        own = f"intercept_tls: true, trust_file: {self.trust_file}{more}"
        line = local_tool(name, HOST, port, own)
        return line.replace(f"ports: [{port}]", f"ports: [{port}]{match}")


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path)


def trusting(sidecar: SidecarProcess, folder: Path, client: Client) -> dict[str, str]:
    """The client's environment, with the CA as `toolbooth ca` hands it out."""
    ca = folder / "booth.pem"
    exported = sidecar.toolbooth("ca", "export", "--out", str(ca))
    assert exported.returncode == 0, exported.stderr
    told = json.loads(sidecar.toolbooth("ca", "env", "--file", str(ca), "--json").stdout)
    known = {**told["extend"], **told["replace"]}
    environment = sidecar.client_environment("a-run")
    for name in client.trust:
        if name == "java":
            environment |= java_trust(folder, told["java"])
        else:
            environment[name] = known[name]
    return environment


def java_trust(folder: Path, told: dict[str, object]) -> dict[str, str]:
    """Runs the very commands that are printed for Java."""
    if shutil.which("java") is None or shutil.which("keytool") is None:
        pytest.skip("no Java here")
    settings = subprocess.run(
        ["java", "-XshowSettings:properties", "-version"],
        capture_output=True, text=True, check=True, timeout=60,
    ).stderr  # fmt: skip
    home = next(line for line in settings.splitlines() if "java.home" in line).split("=")[1]
    commands = told["commands"]
    assert isinstance(commands, list)
    for command in commands:
        run(["sh", "-c", command], {**os.environ, "JAVA_HOME": home.strip()}, folder)
    return {"JAVA_TOOL_OPTIONS": str(told["JAVA_TOOL_OPTIONS"])}


@pytest.mark.parametrize("client", CLIENTS, ids=[client.name for client in CLIENTS])
def test_a_client_that_trusts_the_ca(client: Client, upstream: Upstream, tmp_path: Path) -> None:
    """It gets its answer, the request has a record of its own, and what the policy leaves out is
    refused in an answer it can read."""
    assert shutil.which(client.command[0]), f"{client.command[0]} is part of the test environment"
    with HttpOrigin(tls=upstream.tls) as origin:
        text = policy(upstream.tool("web", origin.port, ', methods: [GET], paths: ["/hello"]'))
        with running(tmp_path, text) as sidecar:
            environment = trusting(sidecar, tmp_path, client)
            url = f"https://{HOST}:{origin.port}"
            assert '"path": "/hello"' in run(client.start(tmp_path, f"{url}/hello"), environment)
            refused = subprocess.run(
                client.start(tmp_path, f"{url}/secret"), env=environment, capture_output=True,
                text=True, timeout=90, check=False,
            )  # fmt: skip
            if "urllib" not in client.name:  # which raises for a 403, body unread
                assert "tool_unknown" in refused.stdout
        assert dict(origin.hits) == {"/hello": 1}
        seen = records(sidecar.log)
        assert [(r["mode"], r["code"]) for r in seen] == [
            ("connect", "ok"), ("intercepted", "ok"),
            ("connect", "ok"), ("intercepted", "tool_unknown"),
        ]  # fmt: skip
        assert (seen[1]["path"], seen[1]["scheme"], seen[1]["method"]) == ("/hello", "https", "GET")
        if client.names_its_run:
            assert {r["run_id"] for r in seen} == {"a-run"}


MODEL_ANSWERS = {
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


@pytest.mark.parametrize("client", MODELS, ids=[client.name for client in MODELS])
def test_the_sdks_of_models(client: Client, upstream: Upstream, tmp_path: Path) -> None:
    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        return 200, {"Content-Type": "application/json"}, json.dumps(MODEL_ANSWERS[path]).encode()

    with HttpOrigin(answer, tls=upstream.tls) as origin:
        text = policy(upstream.tool("llm", origin.port, more=", kind: model"))
        with running(tmp_path, text) as sidecar:
            environment = trusting(sidecar, tmp_path, client)
            url = f"https://{HOST}:{origin.port}"
            assert run(client.start(tmp_path, url), environment).strip() == "from the model"
        assert [r["mode"] for r in records(sidecar.log)] == ["connect", "intercepted"]


def test_git_clones(upstream: Upstream, tmp_path: Path) -> None:
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
    git = Client("git", (), ("GIT_SSL_CAINFO",))
    with HttpOrigin(tls=upstream.tls, folder=served) as origin:
        text = policy(upstream.tool("git", origin.port, ", methods: [GET]"))
        with running(tmp_path, text) as sidecar:
            client = {**trusting(sidecar, tmp_path, git), "GIT_CONFIG_GLOBAL": "/dev/null"}
            url = f"https://{HOST}:{origin.port}/r.git"
            run(["git", "clone", "-q", url, str(tmp_path / "clone")], client)
        assert (tmp_path / "clone" / "README").read_text() == "through the booth\n"
        seen = records(sidecar.log)
        assert {r["mode"] for r in seen} == {"connect", "intercepted"}
        assert sum(r["mode"] == "intercepted" for r in seen) > 3


def test_pip_downloads(upstream: Upstream, tmp_path: Path) -> None:
    served = tmp_path / "served" / "simple" / "tiny"
    served.mkdir(parents=True)
    wheel = served / "tiny-1.0-py3-none-any.whl"
    info = "tiny-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "answer = 42\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    (served / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    pip = Client("pip", (), ("PIP_CERT",))
    with HttpOrigin(tls=upstream.tls, folder=tmp_path / "served") as origin:
        with running(tmp_path, policy(upstream.tool("index", origin.port))) as sidecar:
            environment = {**trusting(sidecar, tmp_path, pip), "PIP_CONFIG_FILE": "/dev/null"}
            run(
                [sys.executable, "-m", "pip", "download", "--quiet", "--no-cache-dir",
                 "--disable-pip-version-check", "--dest", str(tmp_path / "got"), "--index-url",
                 f"https://{HOST}:{origin.port}/simple", "tiny"], environment,
            )  # fmt: skip
        assert (tmp_path / "got" / wheel.name).exists()
        paths = [r["path"] for r in records(sidecar.log) if r["mode"] == "intercepted"]
        assert paths == ["/simple/tiny/", f"/simple/tiny/{wheel.name}"]


@pytest.mark.parametrize("name", ["curl", "Node", "httpx"])
def test_a_client_that_does_not_trust_the_ca_is_told_in_the_record(
    name: str, upstream: Upstream, tmp_path: Path
) -> None:
    client = next(client for client in CLIENTS if client.name == name)
    with HttpOrigin(tls=upstream.tls) as origin:
        with running(tmp_path, policy(upstream.tool("web", origin.port))) as sidecar:
            done = subprocess.run(
                client.start(tmp_path, f"https://{HOST}:{origin.port}/"),
                env=sidecar.client_environment(), capture_output=True, text=True, timeout=30,
                check=False,
            )  # fmt: skip
            assert done.returncode != 0
        assert not origin.hits
        seen = records(sidecar.log)
        assert len(seen) == 1
        if name == "curl":  # the others hang up without a word, before or after the handshake
            assert (seen[0]["code"], seen[0]["rule"]) == ("bad_request", "tunnel.client_tls")
            assert "toolbooth ca export" in str(seen[0]["detail"])


@pytest.fixture
def kept(tmp_path: Path, upstream: Upstream) -> tuple[Path, str]:
    return tmp_path / "ca", policy(upstream.tool("web", 4443))


def test_a_kept_ca_survives_a_restart(kept: tuple[Path, str], tmp_path: Path) -> None:
    folder, text = kept
    exported = []
    for number in range(2):
        place = tmp_path / str(number)
        place.mkdir()
        with running(place, text, TOOLBOOTH_CA_DIR=str(folder)) as sidecar:
            exported.append(sidecar.toolbooth("ca", "export").stdout)
            assert not any("only in memory" in line for line in sidecar.said)
    assert exported[0] == exported[1] == (folder / "ca.pem").read_text()
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600


def test_a_ca_in_memory_is_said_at_the_start(kept: tuple[Path, str], tmp_path: Path) -> None:
    with running(tmp_path, kept[1]) as sidecar:
        assert any("only in memory" in line for line in sidecar.said)


def test_a_spoilt_ca_is_no_start(kept: tuple[Path, str], tmp_path: Path) -> None:
    """One sentence and exit 1; no key in it."""
    folder, text = kept
    with running(tmp_path, text, TOOLBOOTH_CA_DIR=str(folder)):
        pass
    (folder / "ca.key").chmod(0o644)
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "run", "--policy", str(tmp_path / "policy.yaml")],
        env={**os.environ, "TOOLBOOTH_CA_DIR": str(folder), "TOOLBOOTH_PROXY_LISTEN": "127.0.0.1:0",
             "TOOLBOOTH_CONTROL_LISTEN": "127.0.0.1:0", "TOOLBOOTH_HEALTH_LISTEN": "127.0.0.1:0"},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot start: TOOLBOOTH_CA_DIR: " in done.stderr
    assert "open to other users" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_operator_without_a_token_may_not_read_it_and_nobody_the_key(
    kept: tuple[Path, str], tmp_path: Path
) -> None:
    with running(tmp_path, kept[1]) as sidecar:
        answers = []
        for headers in ({}, {"Authorization": "Bearer let-me-in"}):
            connection = http.client.HTTPConnection("127.0.0.1", sidecar.ports["control"])
            connection.request("GET", "/v1/ca", headers=headers)
            answer = connection.getresponse()
            answers.append((answer.status, answer.read()))
            connection.close()
        assert [status for status, _ in answers] == [401, 200]
        assert b"BEGIN CERTIFICATE" in answers[1][1]
        assert all(b"PRIVATE" not in body for _, body in answers)


def test_the_printed_environment_can_be_sourced(
    kept: tuple[Path, str], upstream: Upstream, tmp_path: Path
) -> None:
    """The way the documentation says: a bundle, its variables, and curl."""
    with (
        HttpOrigin(tls=upstream.tls) as origin,
        running(tmp_path, policy(upstream.tool("web", origin.port))) as sidecar,
    ):
        bundle = tmp_path / "bundle.pem"
        made = sidecar.toolbooth("ca", "export", "--bundle", "--out", str(bundle))
        if made.returncode:
            pytest.skip(made.stderr)
        lines = sidecar.toolbooth("ca", "env", "--file", str(bundle)).stdout
        (tmp_path / "env").write_text(lines)
        script = (
            f"set -a; . {shlex.quote(str(tmp_path / 'env'))}; set +a; "
            f"curl -sS https://{HOST}:{origin.port}/hello"
        )
        assert "/hello" in run(["sh", "-c", script], sidecar.client_environment())
