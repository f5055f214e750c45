"""`toolbooth doctor` beside a real sidecar, with the real programs of this machine."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.scenarios.processes import ROOT, SidecarProcess, local_tool, policy, running
from tests.sidecar_command import TOOLBOOTH

pytestmark = pytest.mark.scenario

GIT_NAMES_ITSELF = "'http.proxyAuthMethod=basic'"


class Report(NamedTuple):
    code: int
    verdict: str
    checks: dict[str, dict[str, str]]


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[SidecarProcess]:
    with running(tmp_path, policy()) as sidecar:
        yield sidecar


@pytest.fixture
def closed() -> Iterator[str]:
    """An address on loopback that nobody listens on."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{silent.getsockname()[1]}"


def doctor(environment: dict[str, str], *arguments: str) -> Report:
    done = subprocess.run(
        [*TOOLBOOTH, "doctor", "--json", *arguments],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    document = json.loads(done.stdout)
    checks = {check["name"]: check for check in document["checks"]}
    return Report(done.returncode, document["verdict"], checks)


def java_options(sidecar: SidecarProcess) -> str:
    port = sidecar.ports["proxy"]
    return (
        f"-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort={port} -Dhttps.proxyHost=127.0.0.1 "
        f"-Dhttps.proxyPort={port} -Dhttp.nonProxyHosts="
    )


def test_a_container_as_it_should_be(sidecar: SidecarProcess, closed: str) -> None:
    """Python's libraries, curl, git and wget go through with their run; each leaves its records
    and none of them a call on a budget. Exit 0."""
    environment = sidecar.client_environment("doctor-run", GIT_CONFIG_PARAMETERS=GIT_NAMES_ITSELF)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    report = doctor(environment, "--only", "python,curl,git,wget", "--egress", closed)
    assert (report.code, report.verdict) == (0, "ok")
    names = ["python urllib", "python requests", "python httpx", "python httpx2", "curl", "git"]
    for name in names:
        assert report.checks[name]["verdict"] == "ok", report.checks[name]
        assert "as run doctor-run" in report.checks[name]["detail"]
    assert report.checks["python aiohttp"]["verdict"] == "warning"
    if shutil.which("wget"):
        assert report.checks["wget"]["verdict"] == "ok"
    lines = [json.loads(line) for line in sidecar.log.read_text(encoding="utf-8").splitlines()]
    ours = [line for line in lines if line["host"].endswith("toolbooth.invalid")]
    assert {line["code"] for line in ours} == {"ok"}
    assert {line["tool"] for line in lines} == {""}
    assert "doctor-run" not in sidecar.toolbooth("runs").stdout


def test_a_container_with_what_is_usually_forgotten(sidecar: SidecarProcess) -> None:
    """Only the variables are set: git does not name itself, Java and Node before 22 go around.
    Go is reported as it is: tried where it is installed, else not found."""
    report = doctor(sidecar.client_environment(), "--only", "node,java,git,go", "--egress", "none")
    assert (report.code, report.verdict) == (1, "bypass")
    assert report.checks["git"]["verdict"] == "warning"
    if shutil.which("java"):
        java = [report.checks.get(f"java {how}") for how in ("HttpClient", "URLConnection")]
        assert "java" in report.checks or [c and c["verdict"] for c in java] == ["bypass", "bypass"]
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    for how in ("fetch", "http"):
        check = report.checks[f"node {how}"]
        assert check["verdict"] == "bypass"
        old = int(version.stdout.removeprefix("v").split(".")[0]) < 22
        assert ("Node 22 or newer" if old else "NODE_USE_ENV_PROXY=1") in check["set"][0]
    if shutil.which("go") is None:
        assert report.checks["go"]["verdict"] == "not found"


def test_an_entry_of_no_proxy_slips(sidecar: SidecarProcess, closed: str) -> None:
    """Every client goes through, and one host does not: exit 1. `*` takes the clients along."""
    environment = sidecar.client_environment(NO_PROXY="localhost,.example.com")
    report = doctor(environment, "--only", "curl", "--egress", closed, "api.example.com")
    assert (report.code, report.verdict) == (1, "bypass")
    assert report.checks["curl"]["verdict"] == "ok"
    assert "because of `.example.com`" in report.checks["api.example.com"]["detail"]
    report = doctor(environment | {"NO_PROXY": "*"}, "--only", "curl", "--egress", "none")
    assert report.checks["curl"]["verdict"] == "bypass"


def test_an_open_way_out(sidecar: SidecarProcess) -> None:
    """A listener that is reached without the proxy: exit 1, though nothing uses it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        way_out = f"127.0.0.1:{listener.getsockname()[1]}"
        report = doctor(sidecar.client_environment(), "--only", "curl", "--egress", way_out)
    assert (report.code, report.verdict) == (1, "bypass")
    assert report.checks[way_out]["verdict"] == "bypass"
    assert report.checks["curl"]["verdict"] == "ok"


def test_a_proxy_that_is_none_of_ours(sidecar: SidecarProcess, closed: str) -> None:
    """The health port speaks HTTP and is no Toolbooth: what points there goes elsewhere."""
    wrong = f"http://run-1:x@127.0.0.1:{sidecar.ports['health']}"
    environment = sidecar.client_environment() | {"HTTPS_PROXY": wrong, "https_proxy": wrong}
    report = doctor(environment, "--only", "curl", "--egress", closed)
    assert (report.code, report.verdict) == (1, "bypass")
    assert report.checks[f"127.0.0.1:{sidecar.ports['health']}"]["verdict"] == "bypass"
    assert "HTTPS do not reach the sidecar" in report.checks["curl"]["detail"]


def test_trust_in_the_ca_of_a_policy_that_opens_tls(tmp_path: Path, closed: str) -> None:
    """Without trust every client is broken, and told what to set; with the certificate from the
    probe host, where each looks for it, all of them are seen inside their tunnels."""
    tool = local_tool("web.get", "tool.localhost", 443, "intercept_tls: true")
    with running(tmp_path, policy(tool)) as sidecar:
        environment = sidecar.client_environment(
            "tls-run",
            GIT_CONFIG_PARAMETERS=GIT_NAMES_ITSELF,
            JAVA_TOOL_OPTIONS=java_options(sidecar),
        )
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        only = ["--only", "python,java,curl,git,wget", "--egress", closed]
        names = {
            "python urllib": "SSL_CERT_FILE", "python requests": "REQUESTS_CA_BUNDLE",
            "python httpx": "SSL_CERT_FILE", "python httpx2": "SSL_CERT_FILE",
            "python aiohttp": "SSL_CERT_FILE", "curl": "CURL_CA_BUNDLE", "git": "GIT_SSL_CAINFO",
        }  # fmt: skip
        if shutil.which("keytool"):
            names |= {"java HttpClient": "trustStore", "java URLConnection": "trustStore"}
        if shutil.which("wget"):
            names["wget"] = "wgetrc"
        report = doctor(environment, *only)
        assert (report.code, report.verdict) == (1, "broken")
        for name, words in names.items():
            check = report.checks[name]
            assert (check["verdict"], words in check["set"][-1]) == ("broken", True), check
            assert "does not trust" in check["detail"].lower()

        ca_file = tmp_path / "ca.pem"
        fetch = ["curl", "-sS", "http://toolbooth.invalid/ca.pem", "-o", str(ca_file)]
        subprocess.run(fetch, env=environment, check=True, timeout=20)
        report = doctor(trusting(environment, ca_file), *only)
        for name in names:
            check = report.checks[name]
            assert "trusting the CA" in check["detail"], check
            if name.startswith("java"):  # its properties carry no run
                assert (check["verdict"], "no run id" in check["detail"]) == ("warning", True)
        assert (report.code, report.verdict) == (0, "ok")


def trusting(environment: dict[str, str], ca_file: Path) -> dict[str, str]:
    """The same with the CA wherever a client looks."""
    variables = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
    wgetrc, store = ca_file.with_name("wgetrc"), ca_file.with_name("store.p12")
    wgetrc.write_text(f"ca_certificate = {ca_file}\n", encoding="utf-8")
    trusted = environment | dict.fromkeys(variables, str(ca_file)) | {"WGETRC": str(wgetrc)}
    if shutil.which("keytool"):
        command = ["keytool", "-importcert", "-noprompt", "-file", str(ca_file), "-keystore",
                   str(store), "-storepass", "changeit"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        trusted["JAVA_TOOL_OPTIONS"] += (
            f" -Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit"
        )
    return trusted
