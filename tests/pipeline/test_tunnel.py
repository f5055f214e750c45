"""The rules of opaque tunnels: what may pass, how much of it, and for how long."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from proxy.model.reason import Reason
from proxy.upstream.tunnel import Splice
from tests.fakes.origin import Origin, OriginConnection
from tests.fakes.sidecar import Sidecar, policy_text
from tests.fakes.tunnel import TlsOrigin, connect_head
from tests.fakes.waiting import until

HOST = "tool.localhost"


async def echo(connection: OriginConnection) -> None:
    while data := await connection.read_some():
        await connection.send(data)


async def greet(connection: OriginConnection) -> None:
    """Speaks first, as SSH, SMTP, FTP and MySQL do."""
    await connection.send(b"SSH-2.0-test\r\n")
    await connection.read_some()


def shared(port: int, first: str, second: str) -> str:
    """Two tools at one host and port."""
    return policy_text(port, tool=f"tunnel: {{{first}}}").replace("[echo]", "[echo, other]") + (
        f'    other:\n      match: [{{host: "127.0.0.1", ports: [{port}]}}]\n'
        f'      allow_addresses: ["127.0.0.0/8"]\n      tunnel: {{{second}}}\n'
    )


async def open_tunnel(
    sidecar: Sidecar, authority: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await sidecar.open()
    writer.write(connect_head(authority))
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 200 ")
    return reader, writer


RAW = [
    pytest.param("raw: true", "raw: true", None, id="all tools say raw"),
    pytest.param("raw: true", "raw: false", "tools.catalog.other.tunnel.raw", id="one does not"),
    pytest.param("raw: false", "raw: true", "tools.catalog.echo.tunnel.raw", id="the first not"),
    pytest.param("", "", "tools.catalog.echo.tunnel.raw", id="the default is no"),
]


@pytest.mark.parametrize(("first", "second", "rule"), RAW)
async def test_other_protocols_pass_only_where_every_tool_says_raw(
    first: str, second: str, rule: str | None
) -> None:
    async with Origin(echo) as origin, Sidecar(shared(origin.port, first, second)) as sidecar:
        reader, writer = await open_tunnel(sidecar, f"127.0.0.1:{origin.port}")
        writer.write(b"\x00ping")
        got = await asyncio.wait_for(reader.read(5), 5)
        writer.close()
        await until(lambda: sidecar.records)
        record = sidecar.records[0]
        if rule is None:
            assert (got, record.code) == (b"\x00ping", Reason.OK)
        else:
            assert (got, record.code, record.rule) == (b"", Reason.TOOL_NOT_ALLOWED, rule)
            assert origin.received == b""


@pytest.mark.parametrize(("raw", "heard"), [("true", b"SSH-2.0-test\r\n"), ("false", b"")])
async def test_an_upstream_is_not_heard_before_the_client_was_judged(
    raw: str, heard: bytes
) -> None:
    text = f"tunnel: {{raw: {raw}}}"
    async with Origin(greet) as origin, Sidecar(policy_text(origin.port, tool=text)) as sidecar:
        reader, writer = await open_tunnel(sidecar, f"127.0.0.1:{origin.port}")
        assert await asyncio.wait_for(reader.readline(), 5) == heard
        writer.close()
        await until(lambda: sidecar.records)
        record = sidecar.records[0]
        assert record.response_bytes == len(heard)
        assert record.code is (Reason.OK if heard else Reason.TOOL_NOT_ALLOWED)


async def test_tls_passes_without_raw(tmp_path: Path) -> None:
    async with (
        TlsOrigin(host=HOST) as origin,
        Sidecar(policy_text(origin.port, host=HOST)) as sidecar,
    ):
        trust = ssl.create_default_context(cafile=origin.trust_file(str(tmp_path / "ca.pem")))
        reader, writer = await open_tunnel(sidecar, f"{HOST}:{origin.port}")
        await writer.start_tls(trust, server_hostname=HOST)
        writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert (await asyncio.wait_for(reader.readuntil(b"ok"), 5)).startswith(b"HTTP/1.1 200")
        writer.transport.abort()


LIMITS = [
    pytest.param("max_bytes: 10", "max_bytes: 100", 10, "echo", id="the first is stricter"),
    pytest.param("max_bytes: 100", "max_bytes: 10", 10, "other", id="the second is stricter"),
    pytest.param("raw: true", "max_bytes: 10", 10, "other", id="only the second has one"),
]


@pytest.mark.parametrize(("first", "second", "limit", "name"), LIMITS)
async def test_a_tunnel_ends_after_its_bytes_both_ways_together(
    first: str, second: str, limit: int, name: str
) -> None:
    """Not one byte more passes."""
    raw = "raw: true, "
    text = shared(0, raw + first if "raw" not in first else first, raw + second)
    async with Origin(echo) as origin, Sidecar(text.replace("[0]", f"[{origin.port}]")) as sidecar:
        reader, writer = await open_tunnel(sidecar, f"127.0.0.1:{origin.port}")
        writer.write(b"\x00" * 4)
        assert len(await asyncio.wait_for(reader.readexactly(4), 5)) == 4
        writer.write(b"\x00" * 50)
        rest = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await until(lambda: sidecar.records)
        record = sidecar.records[0]
        assert record.code is Reason.REQUEST_TOO_LARGE
        assert record.rule == f"tools.catalog.{name}.tunnel.max_bytes"
        assert record.request_bytes + record.response_bytes == limit
        assert len(origin.received) <= limit - 4
        assert rest == b""


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [("max_seconds: 0.1", "max_seconds: 60", "echo"), ("max_seconds: 60", "max_seconds: 0.1",
     "other")],
)  # fmt: skip
async def test_a_tunnel_ends_when_it_is_old(first: str, second: str, name: str) -> None:
    """However busy it is."""
    text = shared(0, f"raw: true, {first}", f"raw: true, {second}")
    async with Origin(echo) as origin, Sidecar(text.replace("[0]", f"[{origin.port}]")) as sidecar:
        reader, writer = await open_tunnel(sidecar, f"127.0.0.1:{origin.port}")
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionError):  # it is cut, in the middle of our talk
                writer.write(b"\x00")
                while await reader.read(100):
                    writer.write(b"\x00")
                    await asyncio.sleep(0.01)
        writer.close()
        await until(lambda: sidecar.records)
        record = sidecar.records[0]
        assert record.code is Reason.TIMEOUT
        assert record.rule == f"tools.catalog.{name}.tunnel.max_seconds"


async def test_a_runs_end_comes_first_where_it_is_nearer() -> None:
    extra = "runtime:\n  env: {AGENT_MAX_SECONDS: 1}\n"
    text = policy_text(0, tool="tunnel: {raw: true, max_seconds: 60}", extra=extra)
    async with Origin(echo) as origin, Sidecar(text.replace("[0]", f"[{origin.port}]")) as sidecar:
        reader, writer = await open_tunnel(sidecar, f"127.0.0.1:{origin.port}")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await until(lambda: sidecar.records)
        assert sidecar.records[0].code is Reason.MAX_SECONDS


def test_a_splice_without_a_limit_counts_none() -> None:
    """The usual tunnel pays nothing for it."""
    loop = asyncio.new_event_loop()
    passed: list[int] = []
    splice = Splice(
        asyncio.Transport(), asyncio.Transport(), judge=None, on_bytes=passed.append, loop=loop
    )
    data = b"x" * 10
    assert splice.let_pass(data) is data
    assert passed == [10]
    loop.close()
