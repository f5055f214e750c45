"""`toolbooth ca`: what is printed for clients, and never a key."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from proxy.ca.keeping import mint_into
from proxy.ca.names import constraints_for
from tests.ca.test_authority import authority
from tests.cli.conftest import Sidecar, Toolbooth

BEGIN = "-----BEGIN CERTIFICATE-----"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    mint_into(tmp_path / "ca", constraints_for(["a.test"]), 1_800_000_000.0)
    return tmp_path / "ca"


def test_from_the_directory(kept: Path, toolbooth: Toolbooth) -> None:
    result = toolbooth("ca", "export", "--dir", str(kept))
    assert (result.code, result.err) == (0, "")
    assert result.out == (kept / "ca.pem").read_text()


def test_from_the_directory_of_the_environment(
    kept: Path, toolbooth: Toolbooth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLBOOTH_CA_DIR", str(kept))
    assert toolbooth("ca", "export").out == (kept / "ca.pem").read_text()


def test_a_key_in_the_wrong_file_is_not_printed(kept: Path, toolbooth: Toolbooth) -> None:
    both = (kept / "ca.key").read_text() + (kept / "ca.pem").read_text()
    (kept / "ca.pem").write_text(both)
    result = toolbooth("ca", "export", "--dir", str(kept), "--json")
    assert "PRIVATE" not in result.out
    assert json.loads(result.out)["certificate"].count(BEGIN) == 1


def test_from_the_running_sidecar(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    source = authority("a.test")
    sidecar.desk.ca = source.view
    view = source.view()
    assert view is not None
    assert toolbooth("ca", "export").out == view.pem
    shown = json.loads(toolbooth("ca", "export", "--json").out)
    assert (shown["certificate"], shown["permitted"][0]) == (view.pem, "a.test")


@pytest.mark.usefixtures("sidecar")
def test_a_sidecar_without_a_ca_says_so(toolbooth: Toolbooth) -> None:
    result = toolbooth("ca", "export")
    assert (result.code, result.out) == (1, "")
    assert "intercept_tls" in result.err


def test_a_directory_without_a_ca_says_when_there_will_be_one(
    tmp_path: Path, toolbooth: Toolbooth
) -> None:
    result = toolbooth("ca", "export", "--dir", str(tmp_path))
    assert result.code == 1
    assert "does not exist; a sidecar makes it" in result.err


def test_a_bundle_adds_this_machines_roots_after_ours(
    kept: Path, tmp_path: Path, toolbooth: Toolbooth, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = tmp_path / "roots.pem"
    mint_into(tmp_path / "root", constraints_for(["b.test"]), 1_800_000_000.0)
    shutil.copy(tmp_path / "root" / "ca.pem", roots)
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    out = tmp_path / "bundle.pem"
    result = toolbooth("ca", "export", "--dir", str(kept), "--bundle", "--out", str(out))
    assert (result.code, result.out) == (0, "")
    assert out.read_text() == (kept / "ca.pem").read_text() + roots.read_text()


def test_a_file_that_cannot_be_written_is_told(kept: Path, toolbooth: Toolbooth) -> None:
    result = toolbooth("ca", "export", "--dir", str(kept), "--out", "/nonexistent/ca.pem")
    assert (result.code, result.err) == (
        1, "toolbooth: /nonexistent/ca.pem cannot be written: no such file or directory.\n",
    )  # fmt: skip


def test_the_environment_is_read_by_a_shell_as_it_is(tmp_path: Path, toolbooth: Toolbooth) -> None:
    """Also where the path has a space; and says what adds to the roots and what replaces them."""
    path = tmp_path / "a b.pem"
    lines = toolbooth("ca", "env", "--file", str(path)).out
    (tmp_path / "env").write_text(lines)
    script = '. ./env && printf "%s|%s|%s" "$SSL_CERT_FILE" "$NODE_EXTRA_CA_CERTS" "$PIP_CERT"'
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=10,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.stdout == "|".join([str(path)] * 3)
    adds, replaces = lines.partition("# These take the place")[::2]
    assert "NODE_EXTRA_CA_CERTS" in adds
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"):
        assert name in replaces
    assert "keytool -importcert" in replaces


def test_the_environment_as_json(toolbooth: Toolbooth) -> None:
    shown = json.loads(toolbooth("ca", "env", "--file", "/t/ca.pem", "--json").out)
    assert (
        shown["replace"]["SSL_CERT_FILE"] == shown["extend"]["NODE_EXTRA_CA_CERTS"] == "/t/ca.pem"
    )
    assert shown["java"]["JAVA_TOOL_OPTIONS"].startswith("-Djavax.net.ssl.trustStore=/t/ca-java")
