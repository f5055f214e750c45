"""A real sidecar that ends the TLS of its clients: whom it tells, and what it keeps of its CA. The
clients that trust it are in `test_matrix`."""

import http.client
import json
import os
import shlex
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from tests.scenarios.clients import CLIENTS
from tests.scenarios.processes import HttpOrigin, local_tool, policy, running
from tests.sidecar_command import TOOLBOOTH

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

    def tool(self, name: str, port: int) -> str:
        """A catalog line that intercepts."""
        return local_tool(name, HOST, port, f"intercept_tls: true, trust_file: {self.trust_file}")


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    return Upstream(tmp_path)


@pytest.mark.parametrize("name", ["curl", "Node 20", "httpx"])
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
        [*TOOLBOOTH, "run", "--policy", str(tmp_path / "policy.yaml")],
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
