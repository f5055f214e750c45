"""What an agent may try inside a tunnel whose TLS ends in the sidecar, and what clients rely on.

On both event loops: production runs uvloop, whose TLS and callbacks are its own.
"""

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import uvloop

from proxy.app.assemble import swap_policy
from proxy.listeners.front import FrontLimits
from proxy.listeners.intercept import TlsClientConnection
from proxy.listeners.ways_in import Inside
from proxy.model.call import Caller, Mode, Origin
from proxy.model.reason import Reason
from proxy.policy.compile import load_policy
from tests.fakes import waiting
from tests.fakes.origin import OriginConnection, Script, answer_all
from tests.fakes.sidecar import Sidecar, policy_text, read_answer
from tests.fakes.sockets import open_files, reset_when_closed
from tests.fakes.tunnel import HandClient, TlsOrigin, client_tls, connect_head, open_tls

HOST = "tool.localhost"


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """Runs one scenario on a loop of its own; a transport left open is a warning, and an error."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def go(scenario: Awaitable[None]) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await scenario

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())

    return go


Run = Callable[[Awaitable[None]], None]


def policy(origin: TlsOrigin, folder: Path, tool: str = "", extra: str = "") -> str:
    trust = origin.trust_file(str(folder / "origin.pem"))
    lines = f"intercept_tls: true\ntrust_file: {trust}\n{tool}"
    return policy_text(origin.port, host=HOST, tool=lines, extra=extra)


def request(authority: str, path: str = "/", method: str = "GET", *lines: str) -> bytes:
    fields = "".join(f"{line}\r\n" for line in (f"Host: {authority}", *lines))
    return f"{method} {path} HTTP/1.1\r\n{fields}\r\n".encode()


until = partial(waiting.until, within_s=10)


class Setting:
    """`async with Setting(folder)`: an origin behind TLS, a sidecar that intercepts it."""

    def __init__(
        self, folder: Path, *, tool: str = "", extra: str = "", script: Script | None = None,
        limits: FrontLimits | None = None,
    ) -> None:  # fmt: skip
        self._folder, self._tool, self._extra = folder, tool, extra
        self.origin = TlsOrigin(script, HOST)
        self._limits = limits or FrontLimits()

    async def __aenter__(self) -> "Setting":
        await self.origin.__aenter__()
        text = policy(self.origin, self._folder, self._tool, self._extra)
        self.sidecar = Sidecar(text, self._limits)
        await self.sidecar.__aenter__()
        self.authority = f"{HOST}:{self.origin.port}"
        self.tls = client_tls(self.sidecar)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sidecar.__aexit__()
        await self.origin.__aexit__()

    async def open(self, *lines: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await open_tls(self.sidecar, self.authority, self.tls, *lines)

    @property
    def codes(self) -> list[tuple[Mode, Reason]]:
        return [(record.mode, record.code) for record in self.sidecar.records]


def test_each_request_inside_is_a_call_of_its_own(run: Run, tmp_path: Path) -> None:
    """Paths, budgets and records as for plain HTTP; the CONNECT has its record, and is free."""
    extra = "runtime:\n  env: {AGENT_MAX_TOOL_CALLS: 2}\n"

    async def scenario() -> None:
        async with Setting(tmp_path, extra=extra) as it:
            text = policy(it.origin, tmp_path, "", extra)
            await it.sidecar.__aexit__()
            it.sidecar = Sidecar(text.replace("ports:", 'paths: ["/ok"], ports:'))
            await it.sidecar.__aenter__()
            it.tls = client_tls(it.sidecar)
            reader, writer = await it.open("Proxy-Authorization: Basic cjE6")
            answers = []
            for path in ("/ok", "/secret", "/ok", "/ok"):
                writer.write(request(it.authority, path))
                answers.append(await read_answer(reader))
            writer.close()
            assert [a[9:12] for a in answers] == [b"200", b"403", b"200", b"403"]
            assert b"Toolbooth-Code: max_tool_calls" in answers[3]
            records = it.sidecar.records
            assert it.codes == [
                (Mode.CONNECT, Reason.OK),
                (Mode.INTERCEPTED, Reason.OK),
                (Mode.INTERCEPTED, Reason.TOOL_UNKNOWN),
                (Mode.INTERCEPTED, Reason.OK),
                (Mode.INTERCEPTED, Reason.MAX_TOOL_CALLS),
            ]
            assert {r.caller.run_id for r in records if r.caller} == {"r1"}
            assert (records[0].attempts, records[0].tool, records[1].path) == (0, "echo", "/ok")
            assert records[1].scheme == "https"
            heads = it.origin.heads
            assert len(heads) == 2
            assert all(b"proxy-authorization" not in head.lower() for head in heads)

    run(scenario())


@pytest.mark.parametrize("step", ["whole", "bytes"])
def test_the_hello_may_come_with_the_head_or_byte_by_byte(
    run: Run, tmp_path: Path, step: str
) -> None:
    """And the client's last flight in one segment with its first request."""

    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            client = HandClient(it.tls, HOST)
            reader, writer = await it.sidecar.open()
            raw = connect_head(it.authority) + client.hello()
            for piece in [raw] if step == "whole" else [raw[i : i + 1] for i in range(len(raw))]:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await client.finish(reader, writer, request(it.authority, "/first"))
            assert (await client.read_until(reader, b"ok")).startswith(b"HTTP/1.1 200 ")
            writer.close()
            assert it.codes == [(Mode.CONNECT, Reason.OK), (Mode.INTERCEPTED, Reason.OK)]

    run(scenario())


def test_a_connection_that_ends_is_closed_at_once(run: Run, tmp_path: Path) -> None:
    """A client that waits for the close of its last answer does not wait for a timeout."""

    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            loop = asyncio.get_running_loop()
            reader, writer = await it.open()
            started_s = loop.time()
            writer.write(request(it.authority, "/", "GET", "Connection: close"))
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer.endswith(b"ok")
            assert loop.time() - started_s < 1.0
            writer.close()

    run(scenario())


def test_a_slow_reader_gets_its_last_answer_whole(run: Run, tmp_path: Path) -> None:
    """Closing waits for what has not left yet, not for a clock."""
    size = 6_000_000

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        await connection.send(b"x" * size)
        await connection.read_some()

    async def scenario() -> None:
        limits = FrontLimits(linger_s=0.3)
        async with Setting(tmp_path, script=script, limits=limits) as it:
            watch = it.sidecar.booth.spawn(it.sidecar.front.watch())
            reader, writer = await it.open()
            writer.write(request(it.authority, "/", "GET", "Connection: close"))
            got = 0
            while part := await asyncio.wait_for(reader.read(400_000), 5):
                got += len(part)
                await asyncio.sleep(0.1)
            assert got > size
            writer.close()
            watch.cancel()

    run(scenario())


def test_large_bodies_pass_both_ways(run: Run, tmp_path: Path) -> None:
    """With backpressure, and nothing lost."""
    size = 3_000_000

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        body = await connection.read(size)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body)

    async def scenario() -> None:
        async with Setting(tmp_path, script=script) as it:
            body = os.urandom(size)
            reader, writer = await it.open()
            writer.write(request(it.authority, "/", "POST", f"Content-Length: {size}") + body)
            await reader.readuntil(b"\r\n\r\n")
            assert await asyncio.wait_for(reader.readexactly(size), 20) == body
            writer.close()

    run(scenario())


DISAGREEING = [
    pytest.param(b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n", id="another Host"),
    pytest.param(b"GET https://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n", id="absolute"),
    pytest.param(b"CONNECT other.test:443 HTTP/1.1\r\nHost: other.test\r\n\r\n", id="CONNECT"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
    pytest.param(b"\x00\x01\x02\x03", id="no HTTP at all"),
]


@pytest.mark.parametrize("raw", DISAGREEING)
def test_what_is_inside_must_be_what_the_tunnel_was_opened_for(
    run: Run, tmp_path: Path, raw: bytes
) -> None:
    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            reader, writer = await it.open()
            writer.write(raw)
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 505 "))
            writer.close()
            assert len(it.sidecar.records) == 2
            assert it.sidecar.records[1].mode is Mode.INTERCEPTED
            assert it.origin.heads == []

    run(scenario())


OPENINGS = [
    pytest.param("hello other.test", Reason.TOOL_NOT_ALLOWED, "tunnel.server_name",
                 id="a server name that is not the host"),
    pytest.param("hello", Reason.TOOL_NOT_ALLOWED, "tunnel.server_name", id="no server name"),
    pytest.param(b"SSH-2.0-x\r\n", Reason.TOOL_NOT_ALLOWED, "tunnel.client_tls",
                 id="another protocol"),
    pytest.param(b"PRI * HTTP/2.0\r\n\r\n", Reason.TOOL_NOT_ALLOWED, "tunnel.server_name",
                 id="HTTP/2 without TLS"),
    pytest.param(b"\x16\x03\x01\x00\x05hello", Reason.TOOL_NOT_ALLOWED, "tunnel.server_name",
                 id="a record that is no ClientHello"),
    pytest.param("silence", Reason.BAD_REQUEST, "tunnel.client_tls", id="nothing in time"),
    pytest.param("half", Reason.BAD_REQUEST, "tunnel.client_tls", id="half a handshake in time"),
    pytest.param("distrust", Reason.BAD_REQUEST, "tunnel.client_tls",
                 id="a client that does not trust the CA"),
    pytest.param("leave", Reason.CLIENT_GONE, "", id="a client that leaves before it has begun"),
    pytest.param("leave after hello", Reason.BAD_REQUEST, "tunnel.client_tls",
                 id="a client that leaves in its handshake"),
    pytest.param("reset after hello", Reason.BAD_REQUEST, "tunnel.client_tls",
                 id="a client that resets in its handshake"),
    pytest.param("garbage after hello", Reason.BAD_REQUEST, "tunnel.client_tls",
                 id="garbage in place of the last flight"),
    pytest.param("alert", Reason.BAD_REQUEST, "tunnel.client_tls", id="an alert"),
]  # fmt: skip


async def _open_badly(it: Setting, how: str | bytes) -> asyncio.StreamWriter:
    """Open a tunnel and do something other than TLS with the right name."""
    reader, writer = await it.sidecar.open()
    writer.write(connect_head(it.authority))
    await reader.readuntil(b"\r\n\r\n")
    if isinstance(how, bytes):
        writer.write(how)
        return writer
    name = how.partition(" ")[2] if how.startswith("hello ") else HOST
    if how == "hello":
        plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        plain.check_hostname = False
        plain.verify_mode = ssl.CERT_NONE
        writer.write(HandClient(plain, None).hello())
    elif how == "distrust":
        with pytest.raises(ssl.SSLCertVerificationError):
            await writer.start_tls(ssl.create_default_context(), server_hostname=HOST)
    elif how not in ("silence", "leave"):
        hello = HandClient(it.tls, name).hello()
        writer.write(hello[:20] if how == "half" else hello)
    if "after" in how or how == "alert":
        await reader.read(10)
    if how == "garbage after hello":
        writer.write(b"\x17\x03\x03\x00\x20" + b"\x00" * 32)
    elif how == "alert":
        writer.write(b"\x15\x03\x03\x00\x02\x02\x30")  # fatal, unknown_ca
    elif how == "reset after hello":
        _reset(writer)
    elif how.startswith("leave"):
        writer.close()
    return writer


def _reset(writer: asyncio.StreamWriter) -> None:
    reset_when_closed(writer.get_extra_info("socket"))
    writer.transport.abort()


@pytest.mark.parametrize(("how", "code", "rule"), OPENINGS)
def test_a_tunnel_that_does_not_open_as_it_should_has_one_clear_record(
    run: Run, tmp_path: Path, how: str | bytes, code: Reason, rule: str
) -> None:
    async def scenario() -> None:
        async with Setting(tmp_path, limits=FrontLimits(head_s=0.3)) as it:
            writer = await _open_badly(it, how)
            await until(lambda: it.sidecar.records)
            record = it.sidecar.records[0]
            assert (record.mode, record.code, record.rule) == (Mode.CONNECT, code, rule)
            assert (record.host, record.cost_micros) == (HOST, 0)
            writer.close()
            await until(lambda: not it.sidecar.front.tunnels and not len(it.sidecar.front))
            assert len(it.sidecar.records) == 1
            assert it.origin.connections == []

    run(scenario())


def test_an_alert_is_told_in_words(run: Run, tmp_path: Path) -> None:
    """`unknown ca` is what a client without our certificate says."""

    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            writer = await _open_badly(it, "alert")
            await until(lambda: it.sidecar.records)
            assert "does not trust the sidecar's CA" in it.sidecar.records[0].detail
            assert "toolbooth ca export" in it.sidecar.records[0].detail
            writer.close()

    run(scenario())


def test_plain_http_in_a_tunnel_to_an_intercepted_tool_is_governed(
    run: Run, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            reader, writer = await it.sidecar.open()
            writer.write(connect_head(it.authority) + request(it.authority, "/a"))
            await reader.readuntil(b"\r\n\r\n")
            assert (await read_answer(reader)).startswith(b"HTTP/1.1 502 ")  # the origin wants TLS
            writer.close()
            await until(lambda: len(it.sidecar.records) == 2)
            assert {r.mode for r in it.sidecar.records} == {Mode.CONNECT, Mode.TUNNEL_HTTP}

    run(scenario())


def test_the_next_request_hears_of_a_kill(run: Run, tmp_path: Path) -> None:
    """In a readable answer; a new CONNECT hears of it too."""

    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            reader, writer = await it.open()
            writer.write(request(it.authority))
            assert (await read_answer(reader)).endswith(b"ok")
            it.sidecar.booth.switches.engage("tool:echo", "it leaks", "test")
            writer.write(request(it.authority))
            assert b"Toolbooth-Code: tool_disabled" in await read_answer(reader)
            writer.close()
            reader, writer = await it.sidecar.open()
            writer.write(connect_head(it.authority))
            assert (await reader.readline()) == b"HTTP/1.1 403 tool_disabled echo\r\n"
            writer.close()

    run(scenario())


def test_writes_switched_off_leave_reads_inside(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            it.sidecar.booth.switches.engage("writes", "night", "test")
            reader, writer = await it.open()
            writer.write(request(it.authority))
            assert (await read_answer(reader)).startswith(b"HTTP/1.1 200 ")
            writer.write(request(it.authority, "/", "POST", "Content-Length: 0"))
            assert b"Toolbooth-Code: writes_disabled" in await read_answer(reader)
            writer.close()

    run(scenario())


def test_a_websocket_inside_passes_both_ways(run: Run, tmp_path: Path) -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        while data := await connection.read_some():
            await connection.send(data)

    async def scenario() -> None:
        async with Setting(tmp_path, script=script) as it:
            reader, writer = await it.open()
            lines = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")  # fmt: skip
            writer.write(request(it.authority, "/ws", "GET", *lines))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            writer.write(b"frame" * 100_000)
            assert await asyncio.wait_for(reader.readexactly(500_000), 5) == b"frame" * 100_000
            it.sidecar.booth.switches.engage("tool:echo", "enough", "test")
            assert await asyncio.wait_for(reader.read(), 2) == b""
            writer.close()
            await until(lambda: len(it.sidecar.records) == 2)
            assert it.codes[1] == (Mode.INTERCEPTED, Reason.TOOL_DISABLED)

    run(scenario())


def test_a_client_that_half_closes_its_tls_is_gone(run: Run, tmp_path: Path) -> None:
    """TLS has no half-close that works: the call under way ends, in one record."""

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.read_some()  # never answers

    async def scenario() -> None:
        async with Setting(tmp_path, script=script, limits=FrontLimits(linger_s=0.3)) as it:
            client = HandClient(it.tls, HOST)
            reader, writer = await it.sidecar.open()
            writer.write(connect_head(it.authority) + client.hello())
            await reader.readuntil(b"\r\n\r\n")
            await client.finish(reader, writer, request(it.authority))
            await until(lambda: it.origin.heads)
            writer.write(client.goodbye())
            await until(lambda: len(it.sidecar.records) == 2)
            assert it.codes[1] == (Mode.INTERCEPTED, Reason.CLIENT_GONE)
            it.sidecar.front.close_idle()  # a second close changes nothing
            await until(lambda: not len(it.sidecar.front))
            writer.close()

    run(scenario())


def test_an_answer_leaves_before_the_goodbye_that_came_with_its_request(
    run: Run, tmp_path: Path
) -> None:
    """TLS closes at once then; what waits for the end of the turn would come too late."""

    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            client = HandClient(it.tls, HOST)
            reader, writer = await it.sidecar.open()
            writer.write(connect_head(it.authority) + client.hello())
            await reader.readuntil(b"\r\n\r\n")
            it.sidecar.booth.switches.engage("tool:echo", "test", "me")
            await client.finish(reader, writer, request(it.authority))
            assert (await client.read_until(reader, b"}")).startswith(b"HTTP/1.1 403 ")
            client.tls.write(request(it.authority))
            writer.write(client.goodbye())  # both in one segment
            # Whoever has said goodbye cannot decrypt what comes: an alert takes 24 bytes.
            assert len(await asyncio.wait_for(reader.read(), 5)) > 200
            assert it.codes[1:] == [(Mode.INTERCEPTED, Reason.TOOL_DISABLED)] * 2
            writer.close()

    run(scenario())


class _Full(asyncio.Transport):
    """Takes everything and sends nothing."""

    held = 0
    is_closed = False

    def write(self, data: object) -> None:
        self.held += len(bytes(data))  # type: ignore[call-overload]

    def get_write_buffer_size(self) -> int:
        return self.held

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("192.0.2.7", 1) if name == "peername" else default

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def test_an_end_waits_for_a_last_answer_of_the_same_turn(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            origin, caller = Origin("https", HOST, 443), Caller("run", "agent", run_given=True)
            transport = _Full()
            connection = TlsClientConnection(it.sidecar.front, Inside(origin, caller), transport)
            connection.connection_made(transport)
            connection.write(b"the last answer")
            connection._end()
            found = (transport.held, transport.is_closed)
            connection.connection_lost(None)
            assert found == (15, False)

    run(scenario())


def test_a_drain_ends_idle_connections(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            reader, writer = await it.open()
            writer.write(request(it.authority))
            await read_answer(reader)
            it.sidecar.booth.is_draining = True
            it.sidecar.front.close_idle()
            it.sidecar.front.close_idle()
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
            await until(lambda: not len(it.sidecar.front))

    run(scenario())


def test_an_address_is_intercepted_as_a_name_is(run: Run, tmp_path: Path) -> None:
    """Its clients send no server name; the certificate is for the address."""

    async def scenario() -> None:
        async with TlsOrigin(host="127.0.0.1") as origin:
            trust = origin.trust_file(str(tmp_path / "origin.pem"))
            text = policy_text(origin.port, tool=f"intercept_tls: true\ntrust_file: {trust}")
            async with Sidecar(text) as sidecar:
                authority = f"127.0.0.1:{origin.port}"
                reader, writer = await open_tls(sidecar, authority, client_tls(sidecar))
                writer.write(request(authority))
                assert (await read_answer(reader)).endswith(b"ok")
                writer.close()

    run(scenario())


def test_an_upstream_that_is_not_trusted_is_never_spoken_to(run: Run, tmp_path: Path) -> None:
    """The interception verifies for the client, which cannot."""

    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            stranger = TlsOrigin(answer_all, HOST)
            stranger.trust_file(str(tmp_path / "origin.pem"))  # another CA than the origin's
            reader, writer = await it.open()
            writer.write(request(it.authority))
            answer = await read_answer(reader)
            assert b"Toolbooth-Code: upstream_tls" in answer
            assert it.origin.heads == []
            Path(tmp_path / "origin.pem").unlink()
            writer.write(request(it.authority))
            answer = await read_answer(reader)
            assert b"Toolbooth-Code: upstream_tls" in answer
            assert b"trust_file" in answer
            writer.close()

    run(scenario())


def test_a_new_policy_is_heard_by_the_next_request(run: Run, tmp_path: Path) -> None:
    from proxy.app.assemble import swap_policy
    from proxy.policy.compile import load_policy

    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            reader, writer = await it.open()
            text = policy(it.origin, tmp_path).replace("allowlist: [echo]", "allowlist: [none]")
            new, telemetry = load_policy(text), it.sidecar.telemetry
            swap_policy(it.sidecar.booth, telemetry, new, telemetry.redactor_of(new))
            writer.write(request(it.authority))
            assert b"Toolbooth-Code: tool_not_allowed" in await read_answer(reader)
            writer.close()

    run(scenario())


def test_a_host_the_ca_may_not_vouch_for_is_refused_with_the_remedy(
    run: Run, tmp_path: Path
) -> None:
    from proxy.app.assemble import swap_policy
    from proxy.policy.compile import load_policy

    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            new = load_policy(policy(it.origin, tmp_path).replace(HOST, "later.test"))
            telemetry = it.sidecar.telemetry
            swap_policy(it.sidecar.booth, telemetry, new, telemetry.redactor_of(new))
            reader, writer = await it.sidecar.open()
            writer.write(connect_head(f"later.test:{it.origin.port}"))
            answer = await read_answer(reader)
            assert answer.startswith(b"HTTP/1.1 403 tool_not_allowed echo\r\n")
            assert b"toolbooth ca export" in answer
            writer.close()
            assert it.sidecar.booth.authority.prepare() != []

    run(scenario())


def test_opaque_tunnels_end_when_their_host_is_to_be_read(run: Run, tmp_path: Path) -> None:
    """An open tunnel would otherwise stay a way around methods and paths."""
    from proxy.app.assemble import swap_policy
    from proxy.policy.compile import load_policy

    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            read = policy(it.origin, tmp_path)
            telemetry, booth = it.sidecar.telemetry, it.sidecar.booth
            opaque = load_policy(read.replace("intercept_tls: true", "intercept_tls: false"))
            swap_policy(booth, telemetry, opaque, telemetry.redactor_of(opaque))
            reader, writer = await it.sidecar.open()
            trust = ssl.create_default_context(cafile=str(tmp_path / "origin.pem"))
            writer.write(connect_head(it.authority))
            await reader.readuntil(b"\r\n\r\n")
            await writer.start_tls(trust, server_hostname=HOST)
            again = load_policy(read)
            swap_policy(booth, telemetry, again, telemetry.redactor_of(again))
            await until(lambda: it.sidecar.records)
            assert it.sidecar.records[0].code is Reason.TOOL_NOT_ALLOWED
            writer.transport.abort()

    run(scenario())


def test_handshakes_that_fail_leave_nothing_behind(run: Run, tmp_path: Path) -> None:
    """Hundreds of half, aborted, mute and garbage handshakes, with good ones between them."""
    ways: list[str | bytes] = [
        "half", "leave", "leave after hello", "reset after hello", "garbage after hello", "alert",
        b"SSH-2.0-x\r\n", "good",
    ]  # fmt: skip
    rounds = int(os.environ.get("SOAK_ROUNDS", "5"))

    async def one(it: Setting, how: str | bytes) -> None:
        if how == "good":
            reader, writer = await it.open()
            writer.write(request(it.authority))
            assert (await read_answer(reader)).endswith(b"ok")
            writer.transport.abort()
            return
        writer = await _open_badly(it, how)
        if how != "reset after hello":
            writer.transport.abort() if how == "half" else writer.close()

    async def scenario() -> None:
        async with Setting(tmp_path, limits=FrontLimits(head_s=5.0, linger_s=0.3)) as it:
            await one(it, "good")
            await until(lambda: not it.sidecar.front.tunnels and not len(it.sidecar.front))
            descriptors, tasks = open_files(), len(asyncio.all_tasks())
            for _ in range(rounds):
                await asyncio.gather(*(one(it, how) for how in ways for _ in range(5)))
            await until(lambda: not it.sidecar.front.tunnels and not len(it.sidecar.front))
            await until(lambda: len(it.sidecar.booth.live) == 0)
            for connection in it.origin.connections:
                connection.writer.close()
            it.sidecar.booth.pool.close()
            await until(lambda: len(asyncio.all_tasks()) <= tasks)
            await until(lambda: open_files() <= descriptors)
            assert len(it.sidecar.records) == 2 + rounds * 5 * (len(ways) + 1)
            assert it.sidecar.front.ended_tls == 0

    run(scenario())


def test_so_many_connections_end_their_tls_here_and_no_more(run: Run, tmp_path: Path) -> None:
    """The next CONNECT hears `busy`, and is welcome once a place is free."""

    async def scenario() -> None:
        async with Setting(tmp_path, limits=FrontLimits(max_tls=1)) as it:
            _, writer = await it.open()
            refused = await it.sidecar.exchange(connect_head(it.authority))
            assert refused.startswith(b"HTTP/1.1 503 busy ")
            assert it.sidecar.front.turned_away == 1
            writer.close()
            await until(lambda: it.sidecar.front.ended_tls == 0)
            reader, writer = await it.open()
            writer.write(request(it.authority))
            assert (await read_answer(reader)).endswith(b"ok")
            writer.transport.abort()

    run(scenario())


def test_a_tunnel_without_a_handshake_costs_no_certificate(run: Run, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            reader, writer = await it.sidecar.open()
            writer.write(connect_head(it.authority))
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            assert len(it.sidecar.booth.authority._contexts) == 0
            writer.transport.abort()

    run(scenario())


def test_what_a_tunnel_carries_is_its_opener_s_whatever_the_policy_asks_by_then(
    run: Run, tmp_path: Path
) -> None:
    """A run id asked for since the CONNECT is asked of the requests inside, in an answer."""

    async def scenario() -> None:
        async with Setting(tmp_path) as it:
            reader, writer = await it.sidecar.open()
            writer.write(connect_head(it.authority))
            assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            new = load_policy(policy(it.origin, tmp_path, extra=_REJECT))
            swap_policy(it.sidecar.booth, it.sidecar.telemetry, new,
                        it.sidecar.telemetry.redactor_of(new))  # fmt: skip
            writer.write(request(it.authority))
            assert (await read_answer(reader)).startswith(b"HTTP/1.1 407 ")
            writer.transport.abort()

    run(scenario())


_REJECT = "budgets: {on_missing_run: reject}\n"
