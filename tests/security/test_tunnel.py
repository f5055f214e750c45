"""Tunnels on the loop that production runs: uvloop orders its callbacks differently."""

import asyncio

import uvloop

from tests.fakes.origin import Origin, OriginConnection
from tests.fakes.sidecar import Sidecar, policy_text


async def greet(connection: OriginConnection) -> None:
    """Speaks first, as SSH, SMTP, FTP and MySQL do."""
    await connection.send(b"SSH-2.0-test\r\n")
    await connection.read_some()


async def _greeting() -> bytes:
    async with (
        Origin(greet) as origin,
        Sidecar(policy_text(origin.port, tool="tunnel: {raw: true}")) as sidecar,
    ):
        reader, writer = await sidecar.open()
        authority = f"127.0.0.1:{origin.port}"
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            greeting = await reader.readline()
        writer.close()
        return greeting


def test_an_upstream_that_speaks_first_is_heard_through_a_tunnel() -> None:
    """Its first bytes can come before the tunnel has taken the connection over."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(_greeting()) == b"SSH-2.0-test\r\n"
