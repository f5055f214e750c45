"""TLS to upstreams, and the pool's bounds."""

import asyncio
import errno
import ssl
import sys
from ipaddress import IPv4Address

import pytest
import trustme

from proxy.model.call import Origin
from proxy.model.clock import SystemClock
from proxy.model.errors import Stopped, UpstreamFailed
from proxy.model.reason import Reason
from proxy.policy.compile import load_policy
from proxy.policy.policy import ToolRule
from proxy.upstream.dial import dial, upstream_tls
from proxy.upstream.pool import Pool
from proxy.upstream.resolver import Resolver
from proxy.upstream.trust import TrustStore
from tests.fakes.origin import Origin as FakeOrigin
from tests.fakes.origin import OriginConnection
from tests.fakes.sidecar import Sidecar, policy_text


def the_rule(port: int, host: str = "127.0.0.1") -> ToolRule:
    return load_policy(policy_text(port, host=host)).tools["echo"]


CASES = [
    pytest.param("tool.localhost", True, None, id="a trusted certificate of that name"),
    pytest.param("other.localhost", True, Reason.UPSTREAM_TLS, id="a certificate of another name"),
    pytest.param("tool.localhost", False, Reason.UPSTREAM_TLS, id="an authority nobody trusts"),
]


@pytest.mark.parametrize(("name", "is_trusted", "reason"), CASES)
async def test_upstream_certificates_are_verified(
    name: str, is_trusted: bool, reason: Reason | None
) -> None:
    """An https target is fetched over verified TLS, or not at all."""
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    if is_trusted:
        authority.configure_trust(client_tls)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_tls)
    port = server.sockets[0].getsockname()[1]
    async with Sidecar(policy_text(port, host="tool.localhost")) as sidecar:
        sidecar.booth.pool._trust = TrustStore(lambda _: client_tls)
        got = await sidecar.get(f"https://tool.localhost:{port}/")
        if reason is None:
            assert got.endswith(b"ok")
        else:
            assert f"Toolbooth-Code: {reason}\r\n".encode() in got
            assert sidecar.records[0].code is reason
    server.close()


async def test_a_port_that_speaks_no_tls_is_a_tls_failure() -> None:
    """Never downgraded to plain HTTP."""

    async def script(connection: OriginConnection) -> None:
        await connection.read_some()
        await connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with FakeOrigin(script) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        got = await sidecar.get(f"https://127.0.0.1:{origin.port}/")
        assert got.startswith(b"HTTP/1.1 502 ")
        assert sidecar.records[0].code is Reason.UPSTREAM_TLS


async def test_a_connect_that_hangs_meets_its_own_timeout() -> None:
    """A peer that accepts but never shakes hands costs the connect timeout, not the call's."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = policy_text(port).replace("tools:\n", "tools:\n  timeouts_ms: {connect: 100}\n", 1)
    text = text.replace("{max: 2, backoff_ms: [1, 2]}", "{max: 0}")
    async with Sidecar(text) as sidecar:
        async with asyncio.timeout(3):
            got = await sidecar.get(f"https://127.0.0.1:{port}/")
        assert got.startswith(b"HTTP/1.1 504 ")
        assert sidecar.records[0].code is Reason.TIMEOUT
    server.close()


async def test_a_lookup_that_hangs_does_not_hold_up_others() -> None:
    """A slow name costs its own caller a 504; a name known already is served meanwhile."""
    import threading

    release = threading.Event()

    def lookup(host: str) -> list[str]:
        if host == "slow.test":
            release.wait(5)
        return ["127.0.0.1"]

    async with FakeOrigin() as origin:
        text = policy_text(origin.port, host="*").replace(
            "tools:\n", "tools:\n  timeouts_ms: {connect: 200}\n", 1
        )
        text = text.replace("{max: 2, backoff_ms: [1, 2]}", "{max: 0}")
        async with Sidecar(text) as sidecar:
            sidecar.booth.pool._resolver._lookup = lookup
            slow = asyncio.ensure_future(sidecar.get(f"http://slow.test:{origin.port}/"))
            assert b" 200 OK" in await sidecar.get(f"http://fast.test:{origin.port}/")
            assert (await slow).startswith(b"HTTP/1.1 504 ")
            release.set()


async def test_idle_connections_are_bounded_and_age() -> None:
    """More than the cap are closed, and so are those idle for too long."""
    clock = SystemClock()
    pool = Pool(Resolver(clock), clock, upstream_tls)
    async with FakeOrigin() as origin:
        rule = the_rule(origin.port)
        target = Origin("http", "127.0.0.1", origin.port)
        connections = [await pool.connect(target, rule) for _ in range(260)]
        for connection in connections:
            waiting = connection.begin(
                "GET", on_interim=lambda _: None, upgrade=False, idle_limit_s=0
            )
            connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await waiting
            pool.give_back(connection)
        assert pool.idle_count == 256
        taken = pool.take_idle(target, rule, clock.monotonic() - 60)
        assert taken is not None
        assert pool.idle_count == 255
        taken.idle_since_s = 0.0
        pool.give_back(taken)
        assert pool.take_idle(target, rule, clock.monotonic() + 1) is None  # all of them are older
        assert pool.idle_count == 0
        pool.close()


async def test_a_name_without_an_answer_is_remembered_for_a_moment() -> None:
    """A failing look-up is not repeated for every call."""
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        raise OSError(-2, "Name or service not known")

    resolver = Resolver(SystemClock(), lookup)
    for _ in range(3):
        with pytest.raises(UpstreamFailed) as caught:
            await resolver.resolve("nowhere.test")
        assert caught.value.reason is Reason.UPSTREAM_DNS
    assert asked == ["nowhere.test"]
    resolver.close()


async def test_beyond_the_last_descriptor_for_upstreams_a_call_is_told_to_come_back() -> None:
    """It is ours that are too many: no upstream failed, and the run has not used a call."""
    async with FakeOrigin() as origin, Sidecar(policy_text(origin.port)) as sidecar:
        url = f"http://127.0.0.1:{origin.port}/"
        sidecar.booth.pool.descriptors_end = 0
        refused = await sidecar.get(url)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in refused
        assert (sidecar.records[0].code, sidecar.records[0].rule) == (Reason.BUSY, "RLIMIT_NOFILE")
        assert sidecar.booth.pool.failed == 0
        sidecar.booth.pool.descriptors_end = sys.maxsize
        assert (await sidecar.get(url)).startswith(b"HTTP/1.1 200 ")


async def test_an_idle_connection_makes_room_for_one_that_is_wanted() -> None:
    async with FakeOrigin() as one, FakeOrigin() as other:
        text = policy_text(one.port).replace(f"[{one.port}]", f"[{one.port}, {other.port}]")
        async with Sidecar(text) as sidecar:
            await sidecar.get(f"http://127.0.0.1:{one.port}/")
            pool = sidecar.booth.pool
            assert pool.idle_count == 1
            pool.descriptors_end = 0
            got = await sidecar.get(f"http://127.0.0.1:{other.port}/")
            assert got.startswith(b"HTTP/1.1 200 ")
            assert list(pool._idle) == [Origin("http", "127.0.0.1", other.port)]


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE], ids=["process", "system"])
async def test_no_upstream_is_blamed_when_no_file_can_be_opened(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start_connection(*_: object, **__: object) -> None:
        raise OSError(number, "too many open files")

    monkeypatch.setattr("aiohappyeyeballs.start_connection", start_connection)
    with pytest.raises(Stopped) as stop:
        await dial((IPv4Address("127.0.0.1"),), 1)
    assert stop.value.refusal.reason is Reason.BUSY
