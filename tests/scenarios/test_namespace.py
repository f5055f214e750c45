"""An agent in a network that leads to the booth and nowhere else: what holds there holds because
of the network, whatever the agent's programs do."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from tests.scenarios.namespaces import (
    BOOTH_INSIDE,
    WORLD,
    Networks,
    NoNamespacesError,
    inside,
    three_networks,
)
from tests.scenarios.processes import ROOT, SidecarProcess, bare_environment, policy
from tests.sidecar_command import TOOLBOOTH

pytestmark = pytest.mark.scenario

_WORLD_SERVER = """
import http.server, ssl, sys, threading
address, certificate = sys.argv[1:3]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"the world answers " + self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass
servers = [http.server.ThreadingHTTPServer((address, 0), Handler) for _ in range(2)]
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(certificate)
servers[1].socket = tls.wrap_socket(servers[1].socket, server_side=True)
for server in servers:
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(*(server.server_port for server in servers), flush=True)
sys.stdin.read()
"""
_GET = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
"""
_DIRECT = """
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
for act in sys.argv[3:]:
    try:
        if act == "tcp":
            socket.create_connection((host, port), 2).close()
        elif act == "udp":
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"?", (host, port))
        else:
            socket.getaddrinfo(act, 80)
        print(act, "open")
    except OSError as error:
        print(act, "closed")
"""


class Place(NamedTuple):
    networks: Networks
    sidecar: SidecarProcess
    http_port: int
    https_port: int
    ca_file: Path

    def as_agent(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """A program of the agent, in its network, with its variables."""
        url = f"http://agent-run:x@{BOOTH_INSIDE}:{self.sidecar.ports['proxy']}"
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        environment = bare_environment() | dict.fromkeys(names, url)
        return subprocess.run(
            [*inside(self.networks.agent), *command],
            env=environment | {"SSL_CERT_FILE": str(self.ca_file)} | more,
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def doctor(self, *arguments: str) -> tuple[int, dict[str, str]]:
        """Its exit code, and the verdicts by name."""
        done = self.as_agent(*TOOLBOOTH, "doctor", "--json", *arguments)
        checks = json.loads(done.stdout)["checks"]
        return done.returncode, {check["name"]: check["verdict"] for check in checks}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """The world serves, the booth listens towards the agent, its control port on loopback."""
    authority = trustme.CA()
    ca_file, certificate = tmp_path / "ca.pem", tmp_path / "world.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    authority.issue_cert(WORLD).private_key_and_cert_chain_pem.write_to_path(str(certificate))
    try:
        with three_networks() as networks:
            yield from _served(networks, tmp_path, ca_file, certificate)
    except NoNamespacesError as reason:
        pytest.skip(str(reason))


def _served(networks: Networks, folder: Path, ca_file: Path, certificate: Path) -> Iterator[Place]:
    world = subprocess.Popen(
        [*inside(networks.world), sys.executable, "-c", _WORLD_SERVER, WORLD, str(certificate)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with world:
        assert world.stdout is not None
        http_port, https_port = map(int, world.stdout.readline().split())
        ports = f"[{http_port}, {https_port}]"
        tool = (
            f'web.get: {{match: [{{host: "{WORLD}", ports: {ports}}}], '
            f'upstream: "http://{WORLD}:{http_port}", allow_addresses: ["{WORLD}/32"]}}'
        )
        sidecar = SidecarProcess(
            folder, policy(tool), inside=inside(networks.booth),
            TOOLBOOTH_PROXY_LISTEN=f"{BOOTH_INSIDE}:0",
        )  # fmt: skip
        try:
            yield Place(networks, sidecar, http_port, https_port, ca_file)
        finally:
            sidecar.stop()
            world.kill()


def test_the_network_leads_to_the_booth_alone(place: Place) -> None:
    """Directly nothing of the world is reached, by TCP, UDP or name, nor the booth's control port;
    through the booth what the policy names is, each way in, and the control port still is not."""
    closed = place.as_agent(
        sys.executable, "-c", _DIRECT, WORLD, str(place.http_port), "tcp", "udp", "world.example"
    )
    assert closed.stdout.split("\n")[:3] == ["tcp closed", "udp closed", "world.example closed"]
    control = str(place.sidecar.ports["control"])
    for address in (BOOTH_INSIDE, "127.0.0.1"):
        got = place.as_agent(sys.executable, "-c", _DIRECT, address, control, "tcp")
        assert got.stdout == "tcp closed\n"

    booth = f"http://{BOOTH_INSIDE}:{place.sidecar.ports['proxy']}"
    for url, environment in (
        (f"http://{WORLD}:{place.http_port}/plain", {}),
        (f"https://{WORLD}:{place.https_port}/tunnel", {}),
        (f"{booth}/tools/web.get/gateway", {"no_proxy": BOOTH_INSIDE}),
    ):
        got = place.as_agent(sys.executable, "-c", _GET, url, **environment)
        assert got.stdout == f"the world answers /{url.rpartition('/')[2]}\n", got.stderr
    for url in (f"http://127.0.0.1:{control}/", f"http://{BOOTH_INSIDE}:{control}/"):
        got = place.as_agent(sys.executable, "-c", _GET, url)
        assert "HTTP Error 403" in got.stderr

    lines = [json.loads(line) for line in place.sidecar.log.read_text("utf-8").splitlines()]
    assert [(line["mode"], line["code"]) for line in lines[:3]] == [
        ("absolute", "ok"), ("connect", "ok"), ("gateway", "ok"),
    ]  # fmt: skip
    assert all(line["code"] != "ok" for line in lines[3:])


def test_the_doctor_sees_a_way_around(place: Place) -> None:
    """In the closed network it finds nothing; with a route around, the same clients go through
    as before, and it fails for the way that is open."""
    world = f"{WORLD}:{place.http_port}"
    code, verdicts = place.doctor("--only", "python,curl", "--egress", world)
    assert (code, verdicts[world], verdicts["curl"]) == (0, "ok", "ok")
    assert verdicts["python urllib"] == "ok"
    place.networks.open_a_way_around()
    code, verdicts = place.doctor("--only", "python,curl", "--egress", world)
    assert (code, verdicts[world], verdicts["curl"]) == (1, "bypass", "ok")
    got = place.as_agent(sys.executable, "-c", _DIRECT, WORLD, str(place.http_port), "tcp")
    assert got.stdout == "tcp open\n"


def test_a_program_that_ignores_the_variables_reaches_nothing(place: Place) -> None:
    """The doctor calls it broken, not a bypass: the network is what stops it."""
    world = f"{WORLD}:{place.http_port}"
    done = place.as_agent(
        *TOOLBOOTH, "doctor", "--json", "--only", "curl", "--egress", world,
        http_proxy="", https_proxy="",
    )  # fmt: skip
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 1
    assert checks["curl"]["verdict"] == "broken"
    assert "reaches nothing" in checks["curl"]["detail"]


def test_namespaces_are_gone_afterwards() -> None:
    """Also when the test inside fails."""
    names: list[str] = []

    def fail_inside() -> None:
        with three_networks() as networks:
            names.extend(networks)
            raise ZeroDivisionError

    try:
        with pytest.raises(ZeroDivisionError):
            fail_inside()
    except NoNamespacesError as reason:
        pytest.skip(str(reason))
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert not [name for name in names if name in left.stdout]
