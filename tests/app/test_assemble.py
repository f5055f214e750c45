"""A policy is swapped while calls are under way: real sockets on loopback, in the test's loop."""

import asyncio
import logging
from pathlib import Path

import pytest

from proxy.app.assemble import swap_policy
from proxy.policy.compile import load_policy
from tests.fakes.mcp import STREAM, call, chunk, mcp_policy, post, request
from tests.fakes.origin import Origin, OriginConnection, Script, answer_all
from tests.fakes.sidecar import Sidecar, policy_text, read_answer


def swap(sidecar: Sidecar, text: str) -> None:
    policy = load_policy(text)
    redactor = sidecar.telemetry.redactor_of(policy)
    swap_policy(sidecar.booth, sidecar.telemetry, policy, redactor)


def _raw(port: int) -> str:
    """A policy whose tunnels may carry anything."""
    return policy_text(port, tool="tunnel: {raw: true}")


def without_echo(port: int) -> str:
    return policy_text(port).replace("allowlist: [echo]", "allowlist: [other]")


async def _until_live(sidecar: Sidecar) -> None:
    async with asyncio.timeout(5):
        while not len(sidecar.booth.live):
            await asyncio.sleep(0)


async def _hold(connection: OriginConnection) -> None:
    """Begins an answer and goes on with it for ever."""
    await connection.read_head()
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    await asyncio.Event().wait()


async def test_the_next_call_meets_the_new_policy() -> None:
    async with Origin() as origin, Sidecar(_raw(origin.port)) as sidecar:
        assert (await sidecar.get(f"{origin.url}/")).startswith(b"HTTP/1.1 200")
        swap(sidecar, without_echo(origin.port))
        assert b"tool_not_allowed" in await sidecar.get(f"{origin.url}/")
        swap(sidecar, _raw(origin.port))
        assert (await sidecar.get(f"{origin.url}/")).startswith(b"HTTP/1.1 200")
        versions = [record.policy_version for record in sidecar.records]
        assert versions[0] == versions[2] != versions[1]


async def test_a_call_under_way_keeps_the_rules_it_was_let_through_with() -> None:
    """Its budget and its timeout were reserved under them."""
    gate = asyncio.Event()

    async def wait(connection: OriginConnection) -> None:
        await gate.wait()
        await answer_all(connection)

    async with Origin(wait) as origin, Sidecar(_raw(origin.port)) as sidecar:
        call = asyncio.ensure_future(sidecar.get(f"{origin.url}/"))
        await _until_live(sidecar)
        tighter = policy_text(origin.port, extra="budgets: {max_bytes: 1}\n")
        swap(sidecar, tighter)
        gate.set()
        assert (await call).startswith(b"HTTP/1.1 200")
        assert sidecar.records[0].policy_version != sidecar.booth.policy.version


async def test_a_stream_that_the_new_policy_refuses_ends() -> None:
    """At once, cut so that the client sees it, with its record."""
    async with Origin(_hold) as origin, Sidecar(_raw(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        host = f"127.0.0.1:{origin.port}"
        writer.write(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            await reader.readuntil(b"hello")
            loop = asyncio.get_running_loop()
            swapped_s = loop.time()
            swap(sidecar, without_echo(origin.port))
            rest = await reader.read()
        assert loop.time() - swapped_s < 1
        assert not rest.endswith(b"0\r\n\r\n")
        writer.close()
        assert [str(record.code) for record in sidecar.records] == ["tool_not_allowed"]


async def _tunnel(sidecar: Sidecar, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await sidecar.open()
    writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    assert (await read_answer(reader, is_head=True)).startswith(b"HTTP/1.1 200")
    writer.write(b"\x00\x01not TLS, not HTTP")
    return reader, writer


async def _silent(connection: OriginConnection) -> None:
    await connection.read_some()
    await connection.send(b"heard")
    await asyncio.Event().wait()


async def test_a_tunnel_that_the_new_policy_refuses_ends() -> None:
    async with Origin(_silent) as origin, Sidecar(_raw(origin.port)) as sidecar:
        reader, writer = await _tunnel(sidecar, origin.port)
        async with asyncio.timeout(5):
            await reader.readexactly(5)
            swap(sidecar, without_echo(origin.port))
            assert await reader.read() == b""
        writer.close()
        assert [str(record.code) for record in sidecar.records] == ["tool_not_allowed"]


async def test_a_tunnel_outlives_a_policy_that_only_renames_its_tool() -> None:
    """And from then on it is the new tool's: its switch ends it."""
    async with Origin(_silent) as origin, Sidecar(_raw(origin.port)) as sidecar:
        reader, writer = await _tunnel(sidecar, origin.port)
        async with asyncio.timeout(5):
            await reader.readexactly(5)
            swap(sidecar, _raw(origin.port).replace("echo", "renamed"))
            await asyncio.sleep(0.02)
            assert not sidecar.records
            sidecar.booth.switches.engage("tool:renamed", "leak", "alice")
            assert await reader.read() == b""
        writer.close()
        assert [str(record.code) for record in sidecar.records] == ["tool_disabled"]


async def test_a_stream_of_a_tool_that_the_file_switches_off_ends() -> None:
    """`tools.disabled` is a kill that comes with the file."""
    async with Origin(_silent) as origin, Sidecar(_raw(origin.port)) as sidecar:
        reader, writer = await _tunnel(sidecar, origin.port)
        async with asyncio.timeout(5):
            await reader.readexactly(5)
            text = _raw(origin.port).replace("allowlist:", "disabled: [echo]\n  allowlist:")
            swap(sidecar, text)
            assert await reader.read() == b""
        writer.close()
        assert [str(record.code) for record in sidecar.records] == ["tool_disabled"]


async def test_a_raised_capture_is_redacted_as_far_as_it_reaches() -> None:
    """The redactor looks at no less than what is captured, also after the next swap."""
    async with Origin() as origin, Sidecar(_raw(origin.port)) as sidecar:
        telemetry, policy = sidecar.telemetry, sidecar.booth.policy
        before = telemetry.redactor_of(policy)
        telemetry.widen(policy, 200_000)
        for redactor in (telemetry._redactor, telemetry.redactor_of(policy)):
            assert redactor._limit_bytes > before._limit_bytes
            assert redactor._limit_bytes >= 200_000


async def test_a_policy_whose_secret_cannot_be_read_is_loaded_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It names the tool, neither the file nor what is in it, and says nothing of a good secret."""
    caplog.set_level(logging.WARNING)
    path = tmp_path / "the-key"
    path.write_text("bad\tsecret")
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        text = policy_text(
            origin.port, tool=f"upstream: {origin.url}\ncredentials: {{secret_file: {path}}}"
        )
        swap(sidecar, text)
        assert "tools.catalog.echo.credentials: the secret cannot be read now" in caplog.text
        assert "the-key" not in caplog.text
        assert "bad" not in caplog.text
        caplog.clear()
        sidecar.booth.secrets._sources.clear()
        path.write_text("good-secret")
        swap(sidecar, text)
        assert caplog.text == ""
        assert sidecar.booth.secrets.known == ("good-secret",)


async def test_a_new_policy_s_redactor_knows_the_secrets_at_once(
    tmp_path: Path,
) -> None:
    path = tmp_path / "key"
    path.write_text("s3cret-in-use")
    tool = "credentials: {secret_file: %s}"
    async with Origin() as origin:
        text = policy_text(origin.port, tool=f"upstream: {origin.url}\n{tool % path}")
        async with Sidecar(text) as sidecar:
            for _ in range(2):
                await sidecar.exchange(
                    b"GET /tools/echo/a/s3cret-in-use HTTP/1.1\r\nHost: booth\r\n\r\n"
                )
                assert sidecar.telemetry.recent.find()[0]["path"] == "/a/[redacted:secret]"
                swap(sidecar, text + "runtime: {env: {AGENT_MAX_STEPS: 9}}\n")


async def _mcp_stream(connection: OriginConnection) -> None:
    await connection.read_head()
    await connection.send(STREAM + chunk(b": hello\n\n"))
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("message", "allowlist", "ends"),
    [
        (call("search"), "docs.delete", True),
        (call("search"), "docs", True),
        (call("search"), "docs.*", False),
        (request("resources/read"), "docs.search", True),
        (request("resources/read"), "docs", False),
        (request("subscriptions/listen"), "docs.delete", False),
    ],
)
async def test_a_call_of_an_mcp_tool_that_the_new_policy_refuses_ends(
    message: object, allowlist: str, ends: bool
) -> None:
    async with (
        Origin(_mcp_stream) as origin,
        Sidecar(mcp_policy(origin.port, allowlist="docs, docs.search")) as sidecar,
    ):
        reader, writer = await sidecar.open()
        writer.write(post(origin.port, message))
        await reader.readuntil(b": hello\n\n")
        swap(sidecar, mcp_policy(origin.port, allowlist=allowlist))
        (live,) = sidecar.booth.live
        assert (live.stopped is not None) is ends
        if ends:
            assert b"tool_not_allowed" in await reader.readuntil(b"0\r\n\r\n")
        writer.close()


def _mcp(port: int) -> str:
    return policy_text(port, tool="kind: mcp").replace("[echo]", '["*"]')


async def test_a_tunnel_to_what_is_an_mcp_server_now_ends() -> None:
    """It would carry calls of its tools, judged by nobody."""
    async with Origin(_silent) as origin, Sidecar(_raw(origin.port)) as sidecar:
        reader, writer = await _tunnel(sidecar, origin.port)
        async with asyncio.timeout(5):
            await reader.readexactly(5)
            swap(sidecar, _mcp(origin.port))
            assert await reader.read() == b""
        writer.close()
        assert [str(record.code) for record in sidecar.records] == ["tool_not_allowed"]


_UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def _switch(connection: OriginConnection) -> None:
    await connection.read_head()
    await connection.send(f"HTTP/1.1 101 Switching Protocols\r\n{_UPGRADE}".encode())
    await connection.reader.read()


def _with_upstream(port: int, upstream: str) -> str:
    return policy_text(port, tool=f"upstream: {upstream}")


async def test_a_websocket_to_what_is_an_mcp_server_now_ends() -> None:
    async with Origin(_switch) as origin, Sidecar(_raw(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        host = f"127.0.0.1:{origin.port}"
        writer.write(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{_UPGRADE}".encode())
        assert b" 101 " in await read_answer(reader, is_head=True)
        swap(sidecar, _mcp(origin.port))
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("moves", [True, False])
@pytest.mark.parametrize(("script", "line"), [(_switch, _UPGRADE), (_hold, "\r\n")])
async def test_what_goes_on_at_a_gateway_tool_s_old_upstream_ends(
    script: Script, line: str, moves: bool
) -> None:
    """But not what a reload leaves where it is."""
    async with Origin(script) as origin:
        text = _with_upstream(origin.port, origin.url)
        async with Sidecar(text) as sidecar:
            reader, writer = await sidecar.open()
            writer.write(f"GET /tools/echo/ HTTP/1.1\r\nHost: booth\r\n{line}".encode())
            assert b"HTTP/1.1" in await read_answer(reader, is_head=True)
            (live,) = sidecar.booth.live
            other = "http://127.0.0.1:1" if moves else f"{origin.url}/below"
            swap(sidecar, _with_upstream(origin.port, other))
            assert (live.stopped is not None) is moves
            if moves:
                async with asyncio.timeout(5):
                    await reader.read()
                assert [str(record.code) for record in sidecar.records] == ["tool_unknown"]
            writer.close()
