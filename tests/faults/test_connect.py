"""F01 to F06: the way to an upstream, until its connection stands."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from proxy.model.reason import Reason
from proxy.upstream.resolver import Address
from tests.conformance.world import END, GET, POLICY, POST, World
from tests.fakes.network import PUBLIC
from tests.fakes.origin import OK, OriginConnection
from tests.fakes.tunnel import connect_head
from tests.fakes.waiting import until
from tests.faults.fault import LOOPS, Fault, NewLoop, Run, run_on
from tests.faults.world import a_world, dialling, is_told, unanswering
from tests.numbered import NumberedTests

FAULTS = (
    Fault(
        1,
        "connection refused",
        "The name's next address is tried, then the call again as `retries` says; else 502. The "
        "circuit breaker counts each attempt.",
        ("ok", "upstream_connect", "circuit_open"),
        "a POST is not sent again by itself, though nothing of it was sent: only `retry_writes` or "
        "an idempotency key makes it one that may be.",
    ),
    Fault(
        2,
        "reset as soon as the connection stands",
        "502; tried again where the call may be repeated, also when the reset comes within TLS's "
        "handshake.",
        ("ok", "upstream_reset", "upstream_tls"),
    ),
    Fault(
        3,
        "no answer to the SYN",
        "504 when `timeouts_ms.connect` is over, of each attempt; calls to other hosts go on.",
        ("ok", "timeout"),
    ),
    Fault(
        4,
        "the upstream's backlog is full",
        "As without an answer; the breaker opens, and later calls cost no time.",
        ("timeout", "circuit_open"),
    ),
    Fault(
        5,
        "accepted, then silence",
        "504 when the call's time or `timeouts_ms.idle` is over; not tried again.",
        ("timeout",),
    ),
    Fault(
        6,
        "IPv6 dead, IPv4 alive",
        "The other family is tried after 250 ms. Each address is judged, whatever its family; "
        "those that must not be reached are left out.",
        ("ok", "address_denied"),
    ),
)
faults = NumberedTests()

GET_TLS = GET.replace(b"http:", b"https:") + END
RETRIED = POLICY.replace("{max: 0}", "{max: 2, backoff_ms: [1, 2]}")
BREAKER = "  circuit_breaker: {error_rate: 0.5, min_requests: 2, open_seconds: 60}\n"
WATCHED = POLICY.replace("  catalog:\n", f"{BREAKER}  catalog:\n")
OTHER = "8.8.8.8"  # as public as PUBLIC
PUBLIC_V6 = "2606:4700:4700::1111"


def with_times(policy: str, default_ms: int = 20_000, connect_ms: int = 10_000) -> str:
    """`policy` with these timeouts."""
    return policy.replace(
        "{default: 20000, connect: 10000}", f"{{default: {default_ms}, connect: {connect_ms}}}"
    )


@faults("F01: a refused connection is a 502 and counts for the breaker")
async def _refused() -> None:
    calls = ["upstream_connect"] * 2 + ["circuit_open"]
    async with a_world(policy=WATCHED, calls=calls) as world:
        with dialling(world, {PUBLIC: "127.0.0.2"}) as handed:  # the origin is at 127.0.0.1
            for code in map(Reason, calls):
                assert is_told(await world.ask(GET + END), code)
        assert handed == [PUBLIC] * 2
        assert "connection refused" in world.sidecar.records[0].detail
        assert world.seen == b""


@faults("F01: the next address of the name is tried within the attempt")
async def _next_address() -> None:
    async with a_world(calls=["ok"]) as world:
        world.network.answers["a.test"] = [[PUBLIC, OTHER]]
        with dialling(world, {PUBLIC: "127.0.0.2", OTHER: "127.0.0.1"}):
            assert (await world.ask(GET + END)).endswith(b"ok")
        assert world.sidecar.records[0].attempts == 1


@faults("F01: a call is tried again as often as its tool says, a POST not by itself")
async def _refused_again() -> None:
    async with a_world(policy=RETRIED, calls=["upstream_connect"] * 2) as world:
        with dialling(world, {PUBLIC: "127.0.0.2"}):
            for raw in (GET + END, POST + b"Content-Length: 2\r\n\r\nhi"):
                assert is_told(await world.ask(raw), Reason.UPSTREAM_CONNECT)
        assert [record.attempts for record in world.sidecar.records] == [3, 1]


@faults("F01: a tunnel to an address that refuses is a 502 in the answer to its CONNECT")
async def _refused_tunnel() -> None:
    async with a_world(calls=["upstream_connect"]) as world:
        with dialling(world, {PUBLIC: "127.0.0.2"}):
            got = await world.to_the_end(connect_head("a.test:443"))
        assert got.startswith(b"HTTP/1.1 502 upstream_connect a\r\n")
        assert is_told(got, Reason.UPSTREAM_CONNECT)


async def reset(connection: OriginConnection) -> None:
    connection.reset()


@contextmanager
def reset_before_use(world: World) -> Iterator[None]:
    """A connection is handed over when its reset has come."""

    async def late(addresses: tuple[Address, ...], port: int) -> socket.socket:
        sock = await world.network.dial(addresses, port)
        with contextlib.suppress(ConnectionResetError):
            await asyncio.get_running_loop().sock_recv(sock, 1)
        return sock

    with patch("proxy.upstream.pool.dial", late):
        yield


@faults("F02: a reset after the accept is a 502, tried again where the call may be repeated")
async def _reset() -> None:
    async with a_world(reset, policy=RETRIED, calls=["upstream_reset"] * 2) as world:
        for raw in (GET + END, POST + b"Content-Length: 2\r\n\r\nhi"):
            assert is_told(await world.ask(raw), Reason.UPSTREAM_RESET)
        assert [record.attempts for record in world.sidecar.records] == [3, 1]
        assert len(world.origin.connections) == 4


@faults("F02: a reset that comes before the connection is used is no other")
async def _reset_before_use() -> None:
    post = POST + b"Content-Length: 2\r\n\r\nhi"
    for raw, attempts in ((GET + END, 3), (GET_TLS, 3), (post, 1)):
        async with a_world(reset, policy=RETRIED, calls=["upstream_reset"]) as world:
            with reset_before_use(world):
                assert is_told(await world.ask(raw), Reason.UPSTREAM_RESET)
            record = world.sidecar.records[0]
            assert (record.attempts, record.cost_micros) == (attempts, 0)
    async with a_world(reset, calls=["upstream_reset"]) as world:
        with reset_before_use(world):
            got = await world.to_the_end(connect_head("a.test:443"))
        assert got.startswith(b"HTTP/1.1 502 upstream_reset")


@faults("F02: a reset within the TLS handshake is tried again")
async def _reset_in_handshake() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_some()
        connection.reset()

    async with a_world(script, policy=RETRIED, calls=["upstream_tls"]) as world:
        assert is_told(await world.ask(GET_TLS), Reason.UPSTREAM_TLS)
        assert world.sidecar.records[0].attempts == 3
        assert "hung up" in world.sidecar.records[0].detail


@faults("F02: the attempt after a reset may well succeed")
async def _reset_once() -> None:
    async def script(connection: OriginConnection) -> None:
        if len(connection.origin.connections) == 1:
            connection.reset()
            return
        await connection.read_head()
        await connection.send(OK)

    async with a_world(script, policy=RETRIED, calls=["ok"]) as world:
        got = await world.ask(GET + END)
        assert got.endswith(b"ok")
        assert b"\r\nToolbooth-Attempts: 2\r\n" in got


@faults("F03: a SYN that nobody answers is a 504, and other hosts do not wait for it")
async def _unanswered() -> None:
    policy = with_times(POLICY, connect_ms=300).replace("a.test", "'*.test'")
    async with a_world(policy=policy, calls=["ok"] + ["timeout"] * 3) as world:
        world.network.answers["dark.test"] = [[OTHER]]
        dark = GET.replace(b"a.test", b"dark.test") + END
        with (
            unanswering("127.0.0.2", world.origin.port),
            dialling(world, {PUBLIC: "127.0.0.1", OTHER: "127.0.0.2"}) as handed,
        ):
            waiting = [asyncio.ensure_future(world.ask(dark)) for _ in range(3)]
            await until(lambda: handed == [OTHER] * 3)
            assert (await world.ask(GET + END)).endswith(b"ok")
            assert not any(one.done() for one in waiting)
            for got in await asyncio.gather(*waiting):
                assert is_told(got, Reason.TIMEOUT)
                assert b"Could not connect in time." in got


@faults("F03: each attempt has the connect timeout, and all of them the call's time")
async def _unanswered_again() -> None:
    for default_ms, connect_ms, attempts in ((20_000, 60, 3), (60, 10_000, 1)):
        policy = with_times(RETRIED, default_ms, connect_ms)
        async with a_world(policy=policy, calls=["timeout"]) as world:
            with (
                unanswering("127.0.0.2", world.origin.port),
                dialling(world, {PUBLIC: "127.0.0.2"}),
            ):
                assert is_told(await world.ask(GET + END), Reason.TIMEOUT)
            assert world.sidecar.records[0].attempts == attempts


@faults("F03: so has a tunnel")
async def _unanswered_tunnel() -> None:
    async with a_world(policy=with_times(POLICY, connect_ms=60), calls=["timeout"]) as world:
        with unanswering("127.0.0.2", world.origin.port), dialling(world, {PUBLIC: "127.0.0.2"}):
            got = await world.to_the_end(connect_head("a.test:443"))
        assert got.startswith(b"HTTP/1.1 504 timeout a\r\n")
        assert is_told(got, Reason.TIMEOUT)


@faults("F04: a full backlog is a 504 until the breaker opens")
async def _full_backlog() -> None:
    policy = with_times(WATCHED, connect_ms=60)
    async with a_world(policy=policy, calls=["timeout"] * 2 + ["circuit_open"] * 20) as world:
        with (
            unanswering("127.0.0.2", world.origin.port),
            dialling(world, {PUBLIC: "127.0.0.2"}) as handed,
        ):
            for _ in range(2):
                assert is_told(await world.ask(GET + END), Reason.TIMEOUT)
            for _ in range(20):
                assert is_told(await world.ask(GET + END), Reason.CIRCUIT_OPEN)
        assert len(handed) == 2


@faults("F05: silence after the accept is a 504 at the call's deadline or the idle timeout")
async def _silence() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        assert await connection.reader.read() == b""  # until the sidecar hangs up

    for times in ("default: 100", "default: 20000, idle: 100"):
        policy = RETRIED.replace("default: 20000", times)
        async with a_world(script, policy=policy, calls=["timeout"]) as world:
            assert is_told(await world.ask(GET + END), Reason.TIMEOUT)
            assert len(world.origin.heads) == 1
            await until(lambda: world.origin.connections[0].reader.at_eof())


def dead_v6() -> str:
    """Where the IPv6 address leads: a machine without IPv6 has other loopback addresses."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return "127.0.0.2"
    return "::1"


@faults("F06: a dead IPv6 address does not keep a call from the IPv4 one")
async def _dead_v6() -> None:
    dead = dead_v6()
    async with a_world(calls=["ok"]) as world:
        world.network.answers["a.test"] = [[PUBLIC_V6, PUBLIC]]
        with (
            unanswering(dead, world.origin.port),
            dialling(world, {PUBLIC_V6: dead, PUBLIC: "127.0.0.1"}) as handed,
        ):
            assert (await world.ask(GET + END)).endswith(b"ok")  # well before `connect`, 10 s
        assert handed == [PUBLIC_V6, PUBLIC]
        assert world.sidecar.records[0].attempts == 1


@faults("F06: addresses of both families are judged")
async def _judged() -> None:
    answers = (
        ["fd00::1", PUBLIC], [PUBLIC_V6, "10.0.0.1"], ["::ffff:127.0.0.1", PUBLIC],
        ["fe80::1", "192.168.0.1"], ["64:ff9b::a00:1"],
    )  # fmt: skip
    dialled = [[PUBLIC], [PUBLIC_V6], [PUBLIC], [], []]
    for found, expected in zip(answers, dialled, strict=True):
        code = "ok" if expected else "address_denied"
        async with a_world(calls=[code]) as world:
            world.network.answers["a.test"] = [found]
            got = await world.ask(GET + END)
            assert got.endswith(b"ok") or is_told(got, Reason.ADDRESS_DENIED)
            assert [address for address, _ in world.network.dialled] == expected


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("run", faults.params)
def test_fault(run: Run, new_loop: NewLoop) -> None:
    run_on(new_loop, run)
