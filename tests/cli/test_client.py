"""Reaching the control port, and saying exactly what is in the way."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from proxy.cli.client import ControlClient
from proxy.cli.exit_codes import CommandError
from proxy.control.access import Access
from proxy.control.api import control_app
from proxy.settings import ListenAddress
from tests.cli.conftest import TOKEN, Sidecar, Toolbooth
from tests.control.desk import BoundAt, Desk


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture
def stranger() -> Iterator[int]:
    """Something that answers, but is not ours: it says `reply` to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"SSH-2.0-OpenSSH_9.0\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def test_no_sidecar(toolbooth: Toolbooth, closed_port: int) -> None:
    """The commonest mistake has the clearest sentence."""
    result = toolbooth("status", "--control", f"127.0.0.1:{closed_port}")
    assert result == (
        1,
        "",
        f"toolbooth: No sidecar answers at 127.0.0.1:{closed_port}; is it running? "
        "(toolbooth run)\n",
    )


def test_no_socket_file(toolbooth: Toolbooth, tmp_path: Path) -> None:
    """The same for a Unix socket."""
    result = toolbooth("status", "--control", f"unix:{tmp_path}/none")
    assert result.code == 1
    assert f"No sidecar answers at unix:{tmp_path}/none" in result.err


def test_a_stranger(toolbooth: Toolbooth, stranger: int) -> None:
    """Another server on the port is not taken for ours."""
    result = toolbooth("status", "--control", f"127.0.0.1:{stranger}")
    assert result.code == 1
    assert "is not the control port of a sidecar" in result.err


def test_a_health_port_is_not_a_control_port(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """HTTP, but not ours to ask."""
    result = toolbooth("status", "--control", f"127.0.0.1:{sidecar.ports[1]}")
    assert result.code == 1
    assert "is not the control port" in result.err


def test_tokens(
    sidecar: Sidecar, toolbooth: Toolbooth, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Wrong, missing, read-only, from a file: each said as it is, and never shown."""
    monkeypatch.setenv("TOOLBOOTH_CONTROL_TOKEN", "guessed")
    wrong = toolbooth("status")
    assert (wrong.code, "was refused" in wrong.err, "guessed" in wrong.err) == (1, True, False)
    monkeypatch.delenv("TOOLBOOTH_CONTROL_TOKEN")
    assert "is needed" in toolbooth("status").err
    token_file = tmp_path / "token"
    token_file.write_text(f"{TOKEN}\n")
    assert toolbooth("status", "--token-file", str(token_file)).code == 0
    monkeypatch.setenv("TOOLBOOTH_CONTROL_TOKEN", "viewer-token")
    assert toolbooth("status").code == 0
    assert "only reads" in toolbooth("kill", "--all", "--reason", "x").err
    monkeypatch.setenv("TOOLBOOTH_CONTROL_TOKEN", "a\nb")
    assert "no HTTP header can carry" in toolbooth("status").err


@pytest.mark.parametrize(
    ("option", "value"), [("--control", "nonsense"), ("--token-file", "/nowhere/token")]
)
def test_bad_options_are_bad_usage(toolbooth: Toolbooth, option: str, value: str) -> None:
    """Named as they were typed, not as the variable they stand for."""
    result = toolbooth("status", option, value)
    assert result.code == 2
    assert option in result.err


def test_bad_variables_are_bad_usage(toolbooth: Toolbooth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named as they are."""
    monkeypatch.setenv("TOOLBOOTH_CONTROL_LISTEN", "nonsense")
    result = toolbooth("status")
    assert result.code == 2
    assert "TOOLBOOTH_CONTROL_LISTEN" in result.err


async def test_a_unix_socket(tmp_path: Path) -> None:
    """The same API by a file."""
    desk = Desk()
    runner = web.AppRunner(control_app(desk.operator, Access(None, None, BoundAt("unix", ""))))
    await runner.setup()
    path = str(tmp_path / "control")
    await web.UnixSite(runner, path).start()
    client = ControlClient(ListenAddress("unix", path=path), None)
    assert (await asyncio.to_thread(client.engage, "all", "x", None))["key"] == "all"
    with pytest.raises(CommandError, match="No run"):
        await asyncio.to_thread(client.run, "r1")
    await runner.cleanup()


def test_a_wildcard_listener_is_reached_by_loopback(sidecar: Sidecar) -> None:
    """0.0.0.0 is where one listens, not where one calls."""
    client = ControlClient(ListenAddress("tcp", "0.0.0.0", sidecar.ports[0]), TOKEN)
    assert client.get("/v1/status")["draining"] is False
