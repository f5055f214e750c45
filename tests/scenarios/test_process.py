"""The process as an operator meets it: starting, being killed, draining, staying small."""

import json
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.asking import wait_for
from tests.scenarios.processes import (
    ROOT,
    HttpOrigin,
    SidecarProcess,
    bare_environment,
    local_tool,
    policy,
    running,
)
from tests.sidecar_command import TOOLBOOTH

pytestmark = pytest.mark.scenario


def send(port: int, raw: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(raw)
    return connection


def get(origin: HttpOrigin, path: str = "/") -> bytes:
    host = f"127.0.0.1:{origin.port}"
    return f"GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def ask(port: int, raw: bytes) -> bytes:
    """The first bytes of the answer, on a connection of its own."""
    with send(port, raw) as connection:
        return connection.recv(65536)


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def read_all(connection: socket.socket) -> bytes:
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
    except OSError:
        pass
    return data


def status_of(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return response.status, response.read().decode().strip()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode().strip()


def rss_mib(sidecar: SidecarProcess) -> float:
    text = Path(f"/proc/{sidecar.process.pid}/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


def slow(seconds: float) -> Callable[[str], tuple[int, dict[str, str], bytes]]:
    def answer(_: str) -> tuple[int, dict[str, str], bytes]:
        time.sleep(seconds)
        return 200, {}, b"done"

    return answer


def test_sigterm_drains(tmp_path: Path) -> None:
    """What is under way finishes, nothing new begins, and the exit code is 0."""
    with HttpOrigin(slow(0.7)) as origin:
        text = policy(local_tool("echo", "127.0.0.1", origin.port))
        with running(tmp_path, text) as sidecar:
            ports = sidecar.ports
            under_way = send(ports["proxy"], get(origin))
            idle = socket.create_connection(("127.0.0.1", ports["proxy"]), timeout=5)
            wait_for(lambda: origin.hits["/"] == 1)
            assert status_of(f"http://127.0.0.1:{ports['health']}/readyz") == (200, "ready")
            sidecar.process.send_signal(signal.SIGTERM)
            wait_for(
                lambda: status_of(f"http://127.0.0.1:{ports['health']}/readyz") == (503, "draining")
            )
            assert status_of(f"http://127.0.0.1:{ports['health']}/livez")[0] == 200
            assert not is_listening(ports["proxy"])
            assert read_all(idle) == b""
            assert read_all(under_way).endswith(b"done")
            idle.close()
            under_way.close()
            assert sidecar.process.wait(5) == 0
            record = json.loads(sidecar.log.read_text().splitlines()[0])
            assert record["code"] == "ok"


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """The grace is for those who can wait."""
    with HttpOrigin(slow(8)) as origin:
        text = policy(local_tool("echo", "127.0.0.1", origin.port))
        with running(tmp_path, text, TOOLBOOTH_DRAIN_SECONDS="30") as sidecar:
            under_way = send(sidecar.ports["proxy"], get(origin))
            wait_for(lambda: origin.hits["/"] == 1)
            sidecar.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            started = time.monotonic()
            sidecar.process.send_signal(signal.SIGTERM)
            assert sidecar.process.wait(5) == 0
            assert time.monotonic() - started < 2
            assert b"draining" in read_all(under_way)
            under_way.close()
            record = json.loads(sidecar.log.read_text().splitlines()[0])
            assert record["code"] == "draining"


def start_failing(tmp_path: Path, text: str, **settings: str) -> tuple[int, list[str]]:
    (tmp_path / "policy.yaml").write_text(text)
    environment = {
        **bare_environment(), "TOOLBOOTH_PROXY_LISTEN": "127.0.0.1:0",
        "TOOLBOOTH_CONTROL_LISTEN": "127.0.0.1:0", "TOOLBOOTH_HEALTH_LISTEN": "127.0.0.1:0",
        **settings,
    }  # fmt: skip
    done = subprocess.run(
        [*TOOLBOOTH, "run", "--policy", str(tmp_path / "policy.yaml")],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    """It names the listener, the address and the variable, and nothing is half started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, lines = start_failing(tmp_path, policy(), TOOLBOOTH_HEALTH_LISTEN=f"127.0.0.1:{port}")
    assert code == 1
    assert lines == [
        f"toolbooth: cannot start: The health port cannot listen on 127.0.0.1:{port}: "
        "address already in use (TOOLBOOTH_HEALTH_LISTEN)."
    ]


def test_a_bad_policy_is_told_whole_and_nothing_starts(tmp_path: Path) -> None:
    """Every error with its line, exit code 2."""
    code, lines = start_failing(tmp_path, "tools: {allowlst: []}\nbudgets: {loop_limit: 0}\n")
    assert code == 2
    assert len(lines) == 3
    assert "line 1" in lines[0]
    assert "line 2" in lines[1]


REFUSED_SETTINGS = [
    pytest.param(
        {"TOOLBOOTH_CONTROL_LISTEN": "0.0.0.0:0"}, "TOOLBOOTH_CONTROL_TOKEN",
        id="a control port for everyone without a token",
    ),
    pytest.param({"TOOLBOOTH_STATE": "redis://x"}, "TOOLBOOTH_STATE", id="a store we do not have"),
    pytest.param({"TOOLBOOTH_AUDIT": "/x/"}, "TOOLBOOTH_AUDIT", id="an audit log that is no file"),
    pytest.param({"AGENT_MAX_STEPS": "many"}, "AGENT_MAX_STEPS", id="a limit that is no number"),
    pytest.param({"TOOLBOOTH_POLICY": "/none", "drop": "1"}, "policy", id="no policy at all"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "named"), REFUSED_SETTINGS)
def test_what_cannot_hold_is_refused_at_start(
    settings: dict[str, str], named: str, tmp_path: Path
) -> None:
    """A setting that would silently not hold stops the start and is named."""
    text = "nonsense: 1" if "drop" in settings else policy()
    code, lines = start_failing(tmp_path, text, **settings)
    assert code == 2
    assert any(named in line for line in lines)


def test_environment_budgets_win_over_the_policy(tmp_path: Path) -> None:
    """AGENT_MAX_TOOL_CALLS of the environment is the one that counts."""
    with HttpOrigin() as origin:
        text = policy(local_tool("echo", "127.0.0.1", origin.port), budget=50)
        with running(tmp_path, text, AGENT_MAX_TOOL_CALLS="2") as sidecar:
            answers = []
            for _ in range(3):
                connection = send(sidecar.ports["proxy"], get(origin))
                answers.append(connection.recv(65536))
                connection.close()
            assert [answer.split()[1] for answer in answers] == [b"200", b"200", b"403"]


def test_kill_from_the_command_line(tmp_path: Path) -> None:
    """`toolbooth kill` ends an open tunnel within a second, `revive` lets the next one pass, and
    both are told in `status`; an unknown tool is answered with a suggestion."""
    with socket.create_server(("127.0.0.1", 0)) as echo:
        port = echo.getsockname()[1]
        accepted: list[socket.socket] = []

        def accept_two() -> None:
            accepted.extend(echo.accept()[0] for _ in range(2))

        threading.Thread(target=accept_two, daemon=True).start()
        with running(tmp_path, policy(local_tool("db.read", "127.0.0.1", port))) as sidecar:
            connect = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            tunnel = send(sidecar.ports["proxy"], connect)
            assert tunnel.recv(4096).startswith(b"HTTP/1.1 200 ")
            tunnel.sendall(b"\x00")
            typo = sidecar.toolbooth("kill", "db.raed", "--reason", "typo")
            assert typo.returncode == 1
            assert "db.read" in typo.stdout + typo.stderr
            started = time.monotonic()
            done = sidecar.toolbooth("kill", "db.read", "--reason", "it drops tables")
            assert done.returncode == 0, done.stderr
            assert tunnel.recv(1) == b""
            assert time.monotonic() - started < 2  # most of it is the command's own start
            status = sidecar.toolbooth("status")
            assert "db.read" in status.stdout
            again = send(sidecar.ports["proxy"], connect)
            assert again.recv(4096).startswith(b"HTTP/1.1 403 tool_disabled db.read")
            assert sidecar.toolbooth("revive", "db.read").returncode == 0
            revived = send(sidecar.ports["proxy"], connect)
            assert revived.recv(4096).startswith(b"HTTP/1.1 200 ")
            assert sidecar.toolbooth("health").returncode == 0
            for connection in (tunnel, again, revived, *accepted):
                connection.close()


def test_the_control_port_is_not_reached_through_the_proxy(tmp_path: Path) -> None:
    """Even a policy that opens all of loopback does not lead to the control or health port."""
    text = policy('any: {match: [{host: "*"}], allow_addresses: ["127.0.0.0/8"]}')
    with running(tmp_path, text) as sidecar:
        for name in ("control", "health", "proxy"):
            port = sidecar.ports[name]
            raw = f"GET http://127.0.0.1:{port}/v1/tools HTTP/1.1\r\nHost: x\r\n\r\n"
            answer = ask(sidecar.ports["proxy"], raw.encode())
            assert b"Toolbooth-Code: address_denied\r\n" in answer
            raw = f"CONNECT localhost:{port} HTTP/1.1\r\nHost: x\r\n\r\n"
            assert b"403 address_denied" in ask(sidecar.ports["proxy"], raw.encode())


def test_a_gigabyte_passes_at_flat_memory(tmp_path: Path) -> None:
    """1 GiB of an answer goes through and leaves the process as small as it was."""
    size = 1 << 30
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            piece = b"x" * (1 << 20)
            for _ in range(size >> 20):
                connection.sendall(piece)
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        with running(tmp_path, policy(local_tool("big", "127.0.0.1", port))) as sidecar:
            raw = f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            before = rss_mib(sidecar)
            connection = send(sidecar.ports["proxy"], raw.encode())
            got, buffer, highest = 0, bytearray(1 << 20), 0.0
            while count := connection.recv_into(buffer):
                got += count
                if got % (64 << 20) < count:
                    highest = max(highest, rss_mib(sidecar))
            connection.close()
            assert got > size
            assert highest - before < 30


def test_full_tracing_with_a_blocked_sink_stays_small(tmp_path: Path) -> None:
    """Every call traced with large bodies into a pipe nobody reads: the calls go on, memory stays
    flat and what is lost is counted."""
    with HttpOrigin(lambda _: (200, {"Content-Type": "text/plain"}, b"y" * 60_000)) as origin:
        top = "observability: {result_sample_rate: 1.0, max_result_bytes: 65536}\n"
        text = policy(local_tool("echo", "127.0.0.1", origin.port), budget=10**6, top=top)
        fifo = tmp_path / "fifo"
        import os

        os.mkfifo(fifo)
        keeper = os.open(fifo, os.O_RDWR)  # open, never read
        try:
            with running(tmp_path, text, TOOLBOOTH_LOG=str(fifo)) as sidecar:
                connection = socket.create_connection(("127.0.0.1", sidecar.ports["proxy"]))
                reader = connection.makefile("rb")
                peak = 0.0
                for number in range(3000):
                    connection.sendall(get(origin))
                    while (line := reader.readline()) != b"\r\n":
                        assert line
                    assert len(reader.read(60_000)) == 60_000
                    if number % 500 == 499:
                        peak = max(peak, rss_mib(sidecar))
                assert peak < 150
                page = status_of(f"http://127.0.0.1:{sidecar.ports['health']}/metrics")[1]
                dropped = [
                    float(line.split()[-1])
                    for line in page.splitlines()
                    if line.startswith("toolbooth_captures_dropped_total")
                ]
                assert dropped[0] > 1000
                reader.close()
                connection.close()
        finally:
            os.close(keeper)


def test_a_hundred_calls_at_once_against_a_budget_of_twelve(tmp_path: Path) -> None:
    """Exactly twelve reach the upstream, and every refusal says max_tool_calls."""
    with HttpOrigin(slow(0.3)) as origin:
        text = policy(local_tool("echo", "127.0.0.1", origin.port), budget=12)
        with running(tmp_path, text) as sidecar:
            answers: list[bytes] = []
            start = threading.Barrier(100)

            def call() -> None:
                start.wait(10)
                answers.append(ask(sidecar.ports["proxy"], get(origin)))

            threads = [threading.Thread(target=call) for _ in range(100)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
            assert origin.hits["/"] == 12
            assert sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers) == 12
            assert sum(b"Toolbooth-Code: max_tool_calls" in answer for answer in answers) == 88
