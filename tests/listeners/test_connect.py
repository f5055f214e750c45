"""CONNECT tunnels through the real data path."""

import asyncio
import socket
import ssl
from functools import partial

import pytest
import trustme

from proxy.model.call import Mode
from proxy.model.reason import Reason
from tests.fakes.origin import Origin, OriginConnection
from tests.fakes.sidecar import Sidecar, policy_text, read_answer
from tests.fakes.sockets import reset_when_closed
from tests.fakes.waiting import until

RAW = "tunnel: {raw: true}"


async def echo(connection: OriginConnection) -> None:
    """Send back what comes; after EOF say goodbye, which needs the other half still open."""
    while data := await connection.read_some():
        await connection.send(data)
    await connection.send(b"goodbye")


async def connect(
    sidecar: Sidecar, authority: str, *, version: str = "1.1", early: bytes = b"",
    lines: tuple[str, ...] = (),
) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:  # fmt: skip
    reader, writer = await sidecar.open()
    fields = "".join(f"{line}\r\n" for line in lines)
    if version == "1.1":
        fields = f"Host: {authority}\r\n{fields}"
    writer.write(f"CONNECT {authority} HTTP/{version}\r\n{fields}\r\n".encode() + early)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    return head, reader, writer


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_bytes_pass_both_ways(version: str) -> None:
    """A tunnel carries bytes both ways, opened by an HTTP/1.0 client without Host too."""
    async with Origin(echo) as origin, Sidecar(policy_text(origin.port, tool=RAW)) as sidecar:
        head, reader, writer = await connect(sidecar, f"127.0.0.1:{origin.port}", version=version)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"content-length" not in head.lower()
        assert b"transfer-encoding" not in head.lower()
        writer.write(b"\x00ping")
        assert await asyncio.wait_for(reader.readexactly(5), 5) == b"\x00ping"
        writer.close()


async def test_early_bytes_arrive_once_and_in_order() -> None:
    """Bytes sent together with the CONNECT head are delivered first, exactly once."""
    async with Origin(echo) as origin, Sidecar(policy_text(origin.port, tool=RAW)) as sidecar:
        _, reader, writer = await connect(sidecar, f"127.0.0.1:{origin.port}", early=b"early-")
        writer.write(b"late")
        assert await asyncio.wait_for(reader.readexactly(10), 5) == b"early-late"
        assert origin.received == b"early-late"
        writer.close()


async def test_half_close_is_kept() -> None:
    """After the client's FIN the other direction goes on until it ends too."""
    async with Origin(echo) as origin, Sidecar(policy_text(origin.port, tool=RAW)) as sidecar:
        _, reader, writer = await connect(sidecar, f"127.0.0.1:{origin.port}")
        writer.write(b"\x01last")
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b"\x01lastgoodbye"
        writer.close()
        await until(lambda: len(sidecar.records) == 1)
        record = sidecar.records[0]
        assert (record.code, record.mode, record.request_bytes) == (Reason.OK, Mode.CONNECT, 5)
        assert record.response_bytes == 12


async def test_a_server_may_speak_first() -> None:
    """Where bytes may be raw, what the upstream says first is passed on at once."""

    async def script(connection: OriginConnection) -> None:
        await connection.send(b"220 hello\r\n")
        await connection.read_some()

    async with Origin(script) as origin, Sidecar(policy_text(origin.port, tool=RAW)) as sidecar:
        _, reader, writer = await connect(sidecar, f"127.0.0.1:{origin.port}")
        assert await asyncio.wait_for(reader.readline(), 5) == b"220 hello\r\n"
        writer.close()


REFUSED = [
    pytest.param("denied.test:443", b"HTTP/1.1 403 tool_unknown\r\n", id="an unknown host"),
    pytest.param("127.0.0.1:22", b"HTTP/1.1 403 tool_unknown\r\n", id="a port of no tool"),
    pytest.param("allowed.test", b"HTTP/1.1 400 bad_request\r\n", id="no port"),
    pytest.param("/", b"HTTP/1.1 400 bad_request\r\n", id="no authority"),
    pytest.param("u:p@allowed.test:443", b"HTTP/1.1 400 bad_request\r\n", id="userinfo"),
    pytest.param("[allowed.test]:443", b"HTTP/1.1 400 bad_request\r\n", id="a name in brackets"),
]


@pytest.mark.parametrize(("authority", "line"), REFUSED)
async def test_refused_tunnels_say_why_in_the_reason_phrase(authority: str, line: bytes) -> None:
    """Clients show nothing else of a refused CONNECT, so the code stands there; what follows is
    never read as another request."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        inner = f"GET {origin.url}/ HTTP/1.1\r\nHost: {origin.url[7:]}\r\n\r\n"
        raw = f"CONNECT {authority} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n{inner}"
        writer.write(raw.encode())
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(line)
        assert answer.count(b"HTTP/1.1 ") == 1
        assert origin.heads == []
        assert len(sidecar.records) == 1
        writer.close()


async def test_connect_with_content_is_refused() -> None:
    """Content and tunnel bytes would be the same bytes read in two ways."""
    async with Sidecar(policy_text(1)) as sidecar:
        answer = await sidecar.exchange(
            b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
        )
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_plain_http_inside_a_tunnel_is_governed() -> None:
    """Each request inside is a call of its own, and the tunnel itself costs nothing."""
    budget = "runtime:\n  env: {AGENT_MAX_TOOL_CALLS: 2}\n"

    async with Origin() as origin:
        text = policy_text(origin.port, extra=budget).replace(
            f"ports: [{origin.port}]", f'ports: [{origin.port}], paths: ["/ok"]'
        )

        async with Sidecar(text) as sidecar:
            authority = f"127.0.0.1:{origin.port}"
            _, reader, writer = await connect(
                sidecar, authority, lines=("Proxy-Authorization: Basic cjE6",)
            )
            codes = []
            for path in ("/ok", "/secret", "/ok", "/ok"):
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
                codes.append((await read_answer(reader))[9:12])
            assert codes == [b"200", b"403", b"200", b"403"]
            assert [r.code for r in sidecar.records] == [
                Reason.OK, Reason.OK, Reason.TOOL_UNKNOWN, Reason.OK, Reason.MAX_TOOL_CALLS,
            ]  # fmt: skip
            assert {r.caller.run_id for r in sidecar.records if r.caller} == {"r1"}
            assert len(origin.heads) == 2
            writer.close()


INSIDE = [
    pytest.param("GET / HTTP/1.1\r\nHost: denied.test\r\n\r\n", id="another Host"),
    pytest.param("GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n\r\n", id="another URL"),
    pytest.param("CONNECT denied.test:443 HTTP/1.1\r\nHost: denied.test\r\n\r\n", id="a tunnel"),
    pytest.param("get / HTTP/1.1\r\nHost: denied.test\r\n\r\n", id="a method in lower case"),
]


@pytest.mark.parametrize("request_head", INSIDE)
async def test_a_tunnel_cannot_change_its_destination(request_head: str) -> None:
    """Plain HTTP in a tunnel that names another host is refused and reaches nobody."""
    async with Origin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        _, reader, writer = await connect(sidecar, f"127.0.0.1:{origin.port}")
        writer.write(request_head.encode())
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert origin.heads == []
        writer.close()


async def test_http2_with_prior_knowledge_is_closed() -> None:
    """HTTP/2 in the clear cannot be governed, so it is not let through."""
    async with Origin(echo) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        _, reader, writer = await connect(sidecar, f"127.0.0.1:{origin.port}")
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        await until(lambda: sidecar.records)
        assert sidecar.records[0].code is Reason.TOOL_NOT_ALLOWED
        assert origin.received == b""
        writer.close()


def tls_contexts(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.mark.parametrize(
    ("server_name", "passes"),
    [("tls.localhost", True), ("other.localhost", False), (None, False)],
    ids=["the host of the CONNECT", "another name", "no name at all"],
)
async def test_the_tls_server_name_must_agree(server_name: str | None, passes: bool) -> None:
    """A ClientHello for another server than the CONNECT named never reaches the upstream."""
    server_tls, client_tls = tls_contexts("tls.localhost")
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(5))
        writer.write(b"hello")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls)
    port = server.sockets[0].getsockname()[1]
    async with Sidecar(policy_text(port, host="tls.localhost")) as sidecar:
        _, reader, writer = await connect(sidecar, f"tls.localhost:{port}")
        client_tls.check_hostname = False
        handshake = writer.start_tls(client_tls, server_hostname=server_name or "")
        if passes:
            await asyncio.wait_for(handshake, 5)
            writer.write(b"12345")
            assert await asyncio.wait_for(reader.read(5), 5) == b"hello"
            assert seen == [b"12345"]
        else:
            with pytest.raises((ConnectionError, ssl.SSLError, ValueError)):
                await asyncio.wait_for(handshake if server_name else no_name(writer), 5)
            await until(lambda: sidecar.records)
            assert sidecar.records[0].code is Reason.TOOL_NOT_ALLOWED
            assert seen == []
            if not server_name:
                handshake.close()
        writer.close()
    server.close()


async def no_name(writer: asyncio.StreamWriter) -> None:
    """A TLS client that sends no server name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    await writer.start_tls(context)


async def test_a_killed_tool_ends_its_tunnels() -> None:
    """A switch closes open tunnels of its tool at once and their record says why."""
    async with Origin(echo) as origin, Sidecar(policy_text(origin.port, tool=RAW)) as sidecar:
        _, reader, writer = await connect(sidecar, f"127.0.0.1:{origin.port}")
        writer.write(b"\x00x")
        await reader.readexactly(2)
        sidecar.booth.switches.engage("tool:echo", "it leaks", "test")
        assert await asyncio.wait_for(reader.read(), 1) == b""
        await until(lambda: sidecar.records)
        assert sidecar.records[0].code is Reason.TOOL_DISABLED
        writer.close()
        head, _, again = await connect(sidecar, f"127.0.0.1:{origin.port}")
        assert head.startswith(b"HTTP/1.1 403 tool_disabled echo\r\n")
        again.close()


async def test_an_idle_tunnel_is_closed() -> None:
    """A tunnel through which nothing passes ends after the idle timeout."""
    async with Origin(echo) as origin:
        text = policy_text(origin.port, tool=RAW).replace(
            "tools:\n", "tools:\n  timeouts_ms: {idle: 100}\n", 1
        )
        async with Sidecar(text) as sidecar:
            _, reader, writer = await connect(sidecar, f"127.0.0.1:{origin.port}")
            assert await asyncio.wait_for(reader.read(), 2) == b""
            await until(lambda: sidecar.records)
            assert sidecar.records[0].code is Reason.TIMEOUT
            writer.close()


async def test_a_tunnel_ends_with_its_run() -> None:
    """The run's seconds bound an open tunnel; its byte budget does too."""
    for limit, code in (
        ("AGENT_MAX_SECONDS: 1", Reason.MAX_SECONDS),
        ("AGENT_MAX_SECONDS: 60}\nbudgets: {max_bytes: 1000", Reason.MAX_BYTES),
    ):
        async with Origin(echo) as origin:
            extra = f"runtime:\n  env: {{{limit}}}\n"
            async with Sidecar(policy_text(origin.port, extra=extra, tool=RAW)) as sidecar:
                _, reader, writer = await connect(sidecar, f"127.0.0.1:{origin.port}")
                writer.write(b"\x00" * 2000)
                await asyncio.wait_for(reader.read(), 3)
                while await asyncio.wait_for(reader.read(4096), 3):
                    pass
                await until(partial(len, sidecar.records))
                assert sidecar.records[0].code is code
                writer.close()


async def test_connect_failures_have_their_codes() -> None:
    """A tunnel that cannot be opened is a 502 before any 200."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with Sidecar(policy_text(port)) as sidecar:
            head, _, writer = await connect(sidecar, f"127.0.0.1:{port}")
            assert head.startswith(b"HTTP/1.1 502 upstream_connect echo\r\n")
            writer.close()


async def test_many_half_closed_and_reset_tunnels_leave_nothing() -> None:
    """Hundreds of tunnels, half-closed, reset and killed, release every slot and every call."""
    async with Origin(echo) as origin, Sidecar(policy_text(origin.port, tool=RAW)) as sidecar:

        async def one(number: int) -> None:
            _, reader, writer = await connect(sidecar, f"127.0.0.1:{origin.port}")
            writer.write(b"\x00abc")
            await reader.readexactly(4)
            if number % 3 == 0:
                writer.write_eof()
                await reader.read()
            elif number % 3 == 1:
                reset_when_closed(writer.get_extra_info("socket"))
            writer.close()

        for _ in range(6):
            await asyncio.gather(*(one(number) for number in range(50)))
        await until(lambda: len(sidecar.records) == 300)
        assert sidecar.booth.slots.in_flight("echo") == 0
        assert len(sidecar.booth.live) == 0
