"""The policy of a running process is replaced: by its file, by a signal, through the API."""

import json
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.asking import metric
from tests.scenarios.processes import HttpOrigin, SidecarProcess, local_tool, policy, running

pytestmark = pytest.mark.scenario
_LOOK_S = 2.0 + 0.25  # how often the file is looked at, and how long it must stand still
_ROOM_S = 1.5


def within(seconds: float, condition: Callable[[], object]) -> float:
    """How long it took until `condition` held."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "it did not happen in time"
        time.sleep(0.01)
    return time.monotonic() - begin


def ask(sidecar: SidecarProcess, origin: HttpOrigin) -> bytes:
    host = f"127.0.0.1:{origin.port}"
    with socket.create_connection(("127.0.0.1", sidecar.ports["proxy"]), timeout=5) as connection:
        connection.sendall(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return connection.recv(65536)


def is_allowed(sidecar: SidecarProcess, origin: HttpOrigin) -> bool:
    return ask(sidecar, origin).startswith(b"HTTP/1.1 200")


def status(sidecar: SidecarProcess) -> dict[str, object]:
    whole = json.loads(sidecar.toolbooth("status", "--json").stdout)["policy"]
    assert isinstance(whole, dict)
    return whole


def tunnel(sidecar: SidecarProcess, port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", sidecar.ports["proxy"]), timeout=5)
    connection.sendall(
        f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    )
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    return connection


def test_a_changed_file_holds_within_seconds(tmp_path: Path) -> None:
    """A typing error in it changes nothing and is seen everywhere; a good one holds from the next
    call on and ends the tunnels it refuses; what the environment says still wins."""
    file = tmp_path / "policy.yaml"
    with HttpOrigin() as origin:
        good = policy(local_tool("echo", "127.0.0.1", origin.port))
        closed = good.replace("allowlist:", "disabled: [echo]\n  allowlist:")
        assert closed != good
        with running(tmp_path, good, AGENT_MAX_STEPS="7") as sidecar:
            assert is_allowed(sidecar, origin)
            before = status(sidecar)["version"]

            file.write_text(good + "nonsense: 1\n")
            failed = 'toolbooth_policy_reloads_total{result="failed"}'
            within(_LOOK_S + _ROOM_S, lambda: metric(sidecar, failed) == 1)
            assert metric(sidecar, "toolbooth_policy_last_reload_success") == 0
            seen = status(sidecar)
            assert (seen["version"], "nonsense" in str(seen["last_error"])) == (before, True)
            assert any("policy: nonsense (line" in line for line in sidecar.said)
            assert is_allowed(sidecar, origin)

            with tunnel(sidecar, origin.port) as open_tunnel:
                file.write_text(closed)
                within(_LOOK_S + _ROOM_S, lambda: not is_allowed(sidecar, origin))
                open_tunnel.settimeout(1)
                assert open_tunnel.recv(1) == b""
            assert metric(sidecar, "toolbooth_policy_last_reload_success") == 1
            effective = json.loads(sidecar.toolbooth("policy", "show", "--json").stdout)
            assert effective["effective"]["budgets"]["max_steps"] == 7
            assert effective["last_error"] is None


def test_the_api_and_a_signal(tmp_path: Path) -> None:
    """What is put through the API holds at once, over a file that stays as it is; SIGHUP takes the
    file again, and ends nothing else."""
    with HttpOrigin() as origin:
        good = policy(local_tool("echo", "127.0.0.1", origin.port))
        closed = tmp_path / "closed.yaml"
        closed.write_text(good.replace("allowlist:", "disabled: [echo]\n  allowlist:"))
        with running(tmp_path, good) as sidecar:
            dry = sidecar.toolbooth("policy", "put", str(closed), "--dry-run")
            assert (dry.returncode, "~ disabled" in dry.stdout) == (0, True), dry.stderr
            assert is_allowed(sidecar, origin)
            put = sidecar.toolbooth("policy", "put", str(closed))
            assert (put.returncode, "in force" in put.stdout) == (0, True), put.stderr
            assert not is_allowed(sidecar, origin)
            assert status(sidecar)["source"] == "api"
            assert any('"policy.put"' in line for line in sidecar.said)
            sidecar.process.send_signal(signal.SIGHUP)
            within(_ROOM_S, lambda: is_allowed(sidecar, origin))
            assert status(sidecar)["source"] == "file"


def test_a_kill_holds_on_the_very_next_call_after_its_answer(tmp_path: Path) -> None:
    """Of a tool, through the API, with a tunnel open."""
    with HttpOrigin() as origin:
        good = policy(local_tool("echo", "127.0.0.1", origin.port))
        with running(tmp_path, good) as sidecar, tunnel(sidecar, origin.port) as open_tunnel:
            assert is_allowed(sidecar, origin)
            begin = time.monotonic()
            request = urllib.request.Request(
                f"http://127.0.0.1:{sidecar.ports['control']}/v1/switches/tool:echo",
                b'{"reason": "leak"}',
                {"Content-Type": "application/json", "Authorization": "Bearer let-me-in"},
                method="PUT",
            )
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=5) as answer:
                assert answer.status == 200
            assert not is_allowed(sidecar, origin)
            open_tunnel.settimeout(1)
            assert open_tunnel.recv(1) == b""
            assert time.monotonic() - begin < 1
