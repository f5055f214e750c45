"""`toolbooth doctor` as a command: fake programs on a PATH of their own, the real data path."""

import asyncio
import json
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.cli import main
from proxy.cli.doctor import examine
from tests.fakes.sidecar import Sidecar

EMPTY = "tools: {allowlist: [], catalog: {}}\n"
# A client that asks as $http_proxy says; its last argument is the URL.
THROUGH = """
import base64, os, socket, sys
from urllib.parse import urlsplit
url = urlsplit(sys.argv[-1])
proxy = urlsplit(os.environ["http_proxy"])
credentials = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
name = "Proxy-Authorization: Basic " + credentials + "\\r\\n"
if os.environ.get("NAMELESS"):
    name = ""
if url.scheme == "http":
    head = f"GET {url.geturl()} HTTP/1.1\\r\\nHost: {url.netloc}\\r\\nUser-Agent: fake/1\\r\\n"
else:
    head = f"CONNECT {url.netloc}:443 HTTP/1.1\\r\\nHost: {url.netloc}:443\\r\\n"
with socket.create_connection((proxy.hostname, proxy.port), 5) as sock:
    sock.sendall((head + name + "\\r\\n").encode())
    sys.exit(0 if b" 200 " in sock.recv(1000) else 1)
"""
AROUND = "import sys; sys.exit('curl: (6) Could not resolve host: toolbooth.invalid')"
GO_BUILD = """
import os, sys
binary = sys.argv[sys.argv.index("-o") + 1]
assert sys.argv[1] == "build" and sys.argv[-1].endswith("probe.go")
with open(sys.argv[-1]) as file:
    assert "net/http" in file.read()
with open(binary, "w") as file:
    file.write(open(os.path.join(os.environ["FAKES"], "curl")).read())
os.chmod(binary, 0o755)
"""


class Container:
    """A folder of fake programs, and the environment that names them."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self._patch = folder, patch
        for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "no_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        patch.delenv("NODE_USE_ENV_PROXY", raising=False)
        patch.setenv("PATH", str(folder))
        patch.setenv("FAKES", str(folder))

    def has(self, name: str, program: str) -> None:
        path = self.folder / name
        path.write_text(f"#!{sys.executable}\n{program}", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def sets(self, **values: str) -> None:
        for name, value in values.items():
            self._patch.setenv(name, value)

    def points_at(self, port: int, run: str = "run-7:x@") -> None:
        url = f"http://{run}127.0.0.1:{port}"
        self.sets(http_proxy=url, HTTP_PROXY=url, https_proxy=url, HTTPS_PROXY=url)


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Container:
    return Container(tmp_path, monkeypatch)


@pytest.fixture
def closed() -> Iterator[str]:
    """An address on loopback that nobody listens on."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{silent.getsockname()[1]}"


async def run(*arguments: str) -> int:
    """One command, beside the sidecar's loop."""
    return await asyncio.to_thread(main, ["doctor", *arguments])


async def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, str]]:
    """The checks of a JSON report by their names."""
    code = await run("--json", *arguments)
    document = json.loads(capsys.readouterr().out)
    assert code == (0 if document["verdict"] == "ok" else 1)
    return {check["name"]: check for check in document["checks"]}


async def test_all_is_well(
    container: Container, closed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A client that goes through, one that has to be compiled first, nothing else on PATH, no way
    out: exit 0, and the page says who was seen."""
    async with Sidecar(EMPTY) as sidecar:
        container.points_at(sidecar.port)
        container.has("curl", THROUGH)
        container.has("go", GO_BUILD)
        assert await run("--egress", closed, "api.example.com") == 0
        page = capsys.readouterr().out
        assert "  ok         curl         HTTP and HTTPS go through, as run run-7.\n" in page
        assert "  ok         go net/http  HTTP and HTTPS go through, as run run-7.\n" in page
        assert "  not found  java         Not on PATH.\n" in page
        assert "No client goes around for this host." in page
        assert page.endswith("ok: Nothing goes around the booth, and nothing here is broken.\n")
        assert all(len(line) <= 80 for line in page.splitlines())


async def test_a_client_that_goes_around(
    container: Container, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a look at the ways out it is a bypass; its own word is not asked."""
    async with Sidecar(EMPTY) as sidecar:
        container.points_at(sidecar.port)
        container.has("curl", AROUND)
        container.has("wget", "print('all is well')")
        checks = await report(capsys, "--egress", "none")
        assert checks["curl"]["verdict"] == checks["wget"]["verdict"] == "bypass"


async def test_a_client_without_its_name(
    container: Container, closed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes through, and spends what is everybody's: a warning with what to set."""
    async with Sidecar(EMPTY) as sidecar:
        container.points_at(sidecar.port)
        container.has("git", THROUGH)
        container.sets(NAMELESS="1")
        checks = await report(capsys, "--egress", closed)
        assert checks["git"]["verdict"] == "warning"
        assert "proxyAuthMethod=basic" in checks["git"]["set"][0]


async def test_ways_out_and_slips(container: Container, capsys: pytest.CaptureFixture[str]) -> None:
    """An open way out and an entry of NO_PROXY are bypasses though every client goes through; the
    well-known addresses are tried only where none is given."""
    async with Sidecar(EMPTY) as sidecar:
        container.points_at(sidecar.port)
        container.sets(NO_PROXY="localhost,.example.com")
        way_out = f"127.0.0.1:{sidecar.port}"
        checks = await report(capsys, "--only", "go", "--egress", way_out, "a.example.com")
        assert checks[way_out]["verdict"] == "bypass"
        assert checks["entry .example.com"]["verdict"] == "bypass"
        assert checks["entry localhost"]["verdict"] == "ok"
        assert checks["a.example.com"]["verdict"] == "bypass"


async def test_the_default_ways_out_can_be_replaced(
    container: Container, closed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Sidecar(EMPTY) as sidecar:
        container.points_at(sidecar.port)
        arguments = main.__globals__["_parser"]().parse_args(["doctor", "--only", "go"])
        assert await asyncio.to_thread(examine.doctor, arguments, [closed]) == 0
        assert closed in capsys.readouterr().out


async def test_nothing_is_set(container: Container, capsys: pytest.CaptureFixture[str]) -> None:
    """No sidecar to ask: what is here cannot be checked, and that nothing is set is the bypass. A
    sidecar given by hand is asked, and then the client is seen to go around."""
    container.has("curl", AROUND)
    checks = await report(capsys, "--egress", "none")
    assert checks["http_proxy, HTTP_PROXY"]["verdict"] == "bypass"
    assert checks["curl"]["verdict"] == "unchecked"
    async with Sidecar(EMPTY) as sidecar:
        url = f"http://run-7:x@127.0.0.1:{sidecar.port}"
        checks = await report(capsys, "--egress", "none", "--proxy", url)
        assert checks["curl"]["verdict"] == "bypass"


async def test_an_unreachable_sidecar(
    container: Container, closed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    container.points_at(int(closed.rpartition(":")[2]))
    checks = await report(capsys, "--egress", "none")
    assert checks[closed]["verdict"] == "broken"


async def test_a_sidecar_that_does_not_say_whom_it_saw_proves_nothing(
    container: Container, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever says it is a Toolbooth and answers nothing else: no client is known to be well."""
    content = b'{"toolbooth":"0.1","run_given":true,"run_id":"run-7","intercepts":false}'

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        container.points_at(server.sockets[0].getsockname()[1])
        container.has("curl", THROUGH)
        checks = await report(capsys, "--egress", "none")
    assert checks["curl"]["verdict"] == "bypass"


async def test_a_compiler_that_fails_is_no_verdict(
    container: Container, closed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A JRE has no compiler: Java is there, but cannot be tried."""
    async with Sidecar(EMPTY) as sidecar:
        container.points_at(sidecar.port)
        container.has("java", "import sys; sys.exit('Module jdk.compiler not found')")
        checks = await report(capsys, "--egress", closed)
        assert checks["java"]["verdict"] == "unchecked"
        assert "jdk.compiler not found" in checks["java"]["detail"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "cobol"],
        ["--egress", "nowhere"],
        ["--proxy", "socks5://booth:1"],
        ["https://x/"],
        ["--timeout", "0"],
        ["--timeout", "x"],
    ],
)
def test_bad_usage(container: Container, arguments: list[str]) -> None:
    """Exit 2 before anything is tried."""
    try:
        code: object = main(["doctor", *arguments])
    except SystemExit as end:
        code = end.code
    assert code == 2


def test_it_needs_the_standard_library_alone(closed: str, tmp_path: Path) -> None:
    """It is copied into agents' containers, which have none of the sidecar's dependencies."""
    look = (
        "import sys; from proxy.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'aiohttp', 'uvloop', 'pydantic', 'orjson', 'yaml', 'cachetools', 're2'};"
        "print('imported:', sorted(heavy & sys.modules.keys())); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", look, "doctor", "--egress", closed],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith("imported: []\n")
