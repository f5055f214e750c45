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

from tests.scenarios.processes import ROOT, SidecarProcess, policy, running

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
        [sys.executable, "-m", "proxy", "doctor", "--json", *arguments],
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


@pytest.mark.skipif(shutil.which("java") is None, reason="no java on this machine")
def test_java_told_by_its_own_properties(sidecar: SidecarProcess, closed: str) -> None:
    """It goes through, without its run: system properties carry none."""
    environment = sidecar.client_environment(JAVA_TOOL_OPTIONS=java_options(sidecar))
    report = doctor(environment, "--only", "java", "--egress", closed)
    if report.checks.get("java", {}).get("verdict") == "unchecked":
        pytest.skip("this java has no compiler")
    assert report.code == 0
    for how in ("HttpClient", "URLConnection"):
        check = report.checks[f"java {how}"]
        assert (check["verdict"], "no run id" in check["detail"]) == ("warning", True)


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
