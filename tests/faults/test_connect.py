"""F01 to F11: the way to an upstream, from the first SYN to the end of its TLS."""

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import trustme

from proxy.ca.authority import Authority, NoContextError
from proxy.ca.keeping import KEY
from proxy.model.reason import Reason
from proxy.policy.compile import load_policy
from proxy.policy.problem import PolicyError
from proxy.upstream.dial import upstream_tls
from proxy.upstream.resolver import Address
from proxy.upstream.trust import TrustStore
from tests.conformance.world import END, GET, POLICY, POST, World
from tests.fakes.clock import FakeClock
from tests.fakes.network import PUBLIC
from tests.fakes.nobody import unprivileged
from tests.fakes.origin import OK, OriginConnection, Script
from tests.fakes.tunnel import TlsOrigin, connect_head
from tests.faults.fault import LOOPS, Fault, FaultTests, NewLoop, Run, run_on
from tests.faults.world import a_world, dialling, is_told, unanswering, until

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
    Fault(
        7,
        "certificate expired, not valid yet, of another name, self-signed, of an unknown CA, "
        "without its intermediate",
        "502, and `detail` says which. Never plain HTTP instead; nothing in a policy or a request "
        "turns the check off.",
        ("ok", "upstream_tls"),
        "revocation is not looked up, neither by CRL nor by OCSP.",
    ),
    Fault(
        8,
        "TLS handshake stalls, ends by an alert, offers an old version, is garbage or breaks off",
        "504 when `timeouts_ms.connect` is over, else 502; only what broke off is tried again.",
        ("timeout", "upstream_tls"),
    ),
    Fault(
        9,
        "TLS ends without its closing alert behind an answer that ends by close",
        "The answer is broken off where the client can see it, and recorded so.",
        ("ok", "upstream_reset"),
    ),
    Fault(
        10,
        "the CA for interception cannot be read, is half there or has expired",
        "No start, with a sentence that says why. If it happens later, tunnels to intercepted "
        "tools are refused and everything else goes on.",
        ("ok", "tool_not_allowed"),
        "there is no start in a plain mode: calls that have to be read would pass unread.",
    ),
    Fault(
        11,
        "a client that does not trust the CA for interception",
        "The CONNECT's record says so and what to do; nothing is dialled.",
        ("bad_request",),
        "each CONNECT has its record, none is left out: a client that tries again and again shows.",
    ),
)
faults = FaultTests()

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


# --- TCP ------------------------------------------------------------------------------------


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


@faults("F03: each attempt has the connect timeout, and all of them the call's")
async def _unanswered_again() -> None:
    for default_ms, attempts in ((20_000, 3), (90, 2)):
        policy = with_times(RETRIED, default_ms, connect_ms=60)
        async with a_world(policy=policy, calls=["timeout"]) as world:
            with (
                unanswering("127.0.0.2", world.origin.port),
                dialling(world, {PUBLIC: "127.0.0.2"}),
            ):
                assert is_told(await world.ask(GET + END), Reason.TIMEOUT)
            assert world.sidecar.records[0].attempts == attempts


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


# --- TLS ------------------------------------------------------------------------------------


@asynccontextmanager
async def a_tls_world(
    calls: list[str], server: ssl.SSLContext, roots: trustme.CA, script: Script | None = None
) -> AsyncIterator[tuple[World, TlsOrigin]]:
    """A world whose port 443 leads to an origin with the certificate in `server`; the sidecar's
    own context trusts `roots`."""
    secure = TlsOrigin(script, "a.test")
    secure._tls = server
    with roots.cert_pem.tempfile() as path:
        trusting = upstream_tls(path)
    async with secure, a_world(calls=calls) as world:
        world.sidecar.booth.pool._trust = TrustStore(lambda _: trusting)
        world.network.leads_to[443] = secure.port
        yield world, secure


def serving(*parts: bytes) -> ssl.SSLContext:
    """The server's side with this key and these certificates, in this order."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(b"".join(parts)).tempfile() as path:
        context.load_cert_chain(path)
    return context


def issued(authority: trustme.CA, name: str = "a.test", days: int = 0) -> ssl.SSLContext:
    """A certificate of `authority`; `days` off from being valid, before or after today."""
    today = datetime.now(UTC)
    start = today + timedelta(days=days or -1)
    leaf = authority.issue_cert(
        name, not_before=start if days > 0 else today - timedelta(days=99),
        not_after=today + timedelta(days=99 if days >= 0 else days),
    )  # fmt: skip
    return serving(leaf.private_key_pem.bytes(), *(pem.bytes() for pem in leaf.cert_chain_pems))


def below(authority: trustme.CA, order: Callable[[list[bytes]], list[bytes]]) -> ssl.SSLContext:
    """A certificate of an intermediate; `order` arranges the chain behind it."""
    leaf = authority.create_child_ca().create_child_ca().issue_cert("a.test")
    first, *others = [pem.bytes() for pem in leaf.cert_chain_pems]
    return serving(leaf.private_key_pem.bytes(), first, *order(others))


def itself(authority: trustme.CA) -> ssl.SSLContext:
    """A certificate that nobody but itself has signed."""
    return serving(authority.private_key_pem.bytes(), authority.cert_pem.bytes())


BAD_CERTIFICATES: tuple[tuple[str, Callable[[trustme.CA], ssl.SSLContext], str], ...] = (
    ("that has expired", lambda ca: issued(ca, days=-2), "certificate has expired"),
    ("that is not valid yet", lambda ca: issued(ca, days=2), "not yet valid"),
    ("of another name", lambda ca: issued(ca, "b.test"), "mismatch"),
    ("signed by itself", lambda _: itself(trustme.CA()), "self-signed certificate"),
    ("of an unknown CA", lambda _: issued(trustme.CA()), "unable to get local issuer"),
    ("without its intermediates", lambda ca: below(ca, lambda _: []), "unable to get"),
)  # fmt: skip
for _what, _make, _words in BAD_CERTIFICATES:

    @faults(f"F07: a certificate {_what} is refused, and told apart")
    async def _distrusted(
        make: Callable[[trustme.CA], ssl.SSLContext] = _make, words: str = _words
    ) -> None:
        roots = trustme.CA()
        async with a_tls_world(["upstream_tls"], make(roots), roots) as (world, secure):
            got = await world.ask(GET_TLS)
            assert is_told(got, Reason.UPSTREAM_TLS)
            assert words in world.sidecar.records[0].detail
            assert words.encode() in got
            assert world.network.dialled == [(PUBLIC, 443)]  # and never port 80
            assert (world.seen, secure.heads) == (b"", [])


@faults("F07: a chain in another order verifies all the same")
async def _chain_order() -> None:
    roots = trustme.CA()
    server = below(roots, lambda chain: [*reversed(chain), trustme.CA().cert_pem.bytes()])
    async with a_tls_world(["ok"], server, roots) as (world, _):
        assert (await world.ask(GET_TLS)).endswith(b"ok")


@faults("F07: no key of a policy turns verification off")
async def _no_switch() -> None:
    context = upstream_tls()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    for line in ("verify: false", "insecure: true", "tls_verify: false", 'trust_file: ""'):
        with pytest.raises(PolicyError):
            load_policy(POLICY.replace("tunnel:", f"{line}, tunnel:"))


OLD_HELLO = (
    b"\x16\x03\x02\x00\x31\x02\x00\x00\x2d\x03\x02" + bytes(range(32))
    + b"\x00\xc0\x13\x00\x00\x05\xff\x01\x00\x01\x00"
)  # fmt: skip
HANDSHAKES = (
    ("an alert", b"\x15\x03\x03\x00\x02\x02\x28", Reason.UPSTREAM_TLS, "handshake failure"),
    ("a version that is too old", OLD_HELLO, Reason.UPSTREAM_TLS, "unsupported protocol"),
    ("plain HTTP", b"HTTP/1.1 400 Bad\r\n\r\n", Reason.UPSTREAM_TLS, "wrong version number"),
    ("garbage", b"\x16\x03\x03\x00\x04\xff\xff\xff\xff", Reason.UPSTREAM_TLS, "TLS failed: "),
    ("silence", b"", Reason.TIMEOUT, "in time"),
    ("silence in the middle", OLD_HELLO[:20], Reason.TIMEOUT, "in time"),
)
for _what, _bytes, _code, _words in HANDSHAKES:

    @faults(f"F08: {_what} for a ServerHello is `{_code}`")
    async def _handshake(sent: bytes = _bytes, code: Reason = _code, words: str = _words) -> None:
        async def script(connection: OriginConnection) -> None:
            await connection.read_some()
            await connection.send(sent)
            await connection.reader.read()

        policy = with_times(RETRIED, connect_ms=60 if code is Reason.TIMEOUT else 10_000)
        async with a_world(script, policy=policy, calls=[code]) as world:
            assert is_told(await world.ask(GET_TLS), code)
            record = world.sidecar.records[0]
            assert words in record.detail
            assert record.attempts == (3 if code is Reason.TIMEOUT else 1)
            assert b"GET" not in world.seen


@faults("F08: a handshake that ends by close is tried again")
async def _handshake_over() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_some()

    async with a_world(script, policy=RETRIED, calls=["upstream_tls"]) as world:
        assert is_told(await world.ask(GET_TLS), Reason.UPSTREAM_TLS)
        assert world.sidecar.records[0].attempts == 3


for _how, _end in (("with", "ok"), ("without", "upstream_reset")):

    @faults(f"F09: an answer that ends by close, {_how} TLS's closing alert, is `{_end}`")
    async def _end_of_tls(how: str = _how, code: str = _end) -> None:
        async def script(connection: OriginConnection) -> None:
            await connection.read_head()
            await connection.send(b"HTTP/1.1 200 OK\r\n\r\nhel")
            await asyncio.sleep(0.02)  # so that it was relayed before it breaks off
            if how == "without":
                connection.writer.transport.abort()

        roots = trustme.CA()
        async with a_tls_world([code] * 2, issued(roots), roots, script) as (world, _):
            got = await world.to_the_end(GET_TLS)
            assert b"\r\n\r\n3\r\nhel\r\n" in got
            assert got.endswith(b"\r\n0\r\n\r\n") is (how == "with")
            old = GET_TLS.replace(b"HTTP/1.1", b"HTTP/1.0")  # where close is the normal end, too
            if how == "with":
                assert (await world.to_the_end(old)).endswith(b"\r\n\r\nhel")
            else:
                with pytest.raises(ConnectionResetError):
                    await world.to_the_end(old)


# --- interception ---------------------------------------------------------------------------

INTERCEPTED = POLICY.replace("[a]", "[a, b]") + (
    "    b: {match: [{host: b.test}], intercept_tls: true}\n"
)


@contextmanager
def a_kept_ca(clock: FakeClock) -> Iterator[tuple[Path, Authority]]:
    """A CA in a directory of its own, made and in use."""
    with tempfile.TemporaryDirectory() as folder:
        authority = started(Path(folder, "ca"), clock)
        for path in (Path(folder), Path(folder, "ca")):
            path.chmod(0o755)  # so that others would find the key, which they may not read
        yield Path(folder, "ca"), authority


def started(folder: Path, clock: FakeClock) -> Authority:
    """As at the start of a sidecar. Raises `NoContextError`, which is no start."""
    authority = Authority(folder, clock)
    authority.follow(load_policy(INTERCEPTED))
    authority.prepare()
    return authority


@faults("F10: a CA that cannot be read, is half there or has expired is no start")
async def _no_ca() -> None:
    clock = FakeClock()
    with a_kept_ca(clock) as (folder, _):
        started(folder, clock)  # as long as it is good
        with (
            unprivileged(),
            pytest.raises(NoContextError, match=r"ca\.key cannot be read: permission denied"),
        ):
            started(folder, clock)
        clock.advance(20 * 365 * 86_400)
        with pytest.raises(NoContextError, match="expired on"):
            started(folder, clock)
        (folder / KEY).unlink()
        with pytest.raises(NoContextError, match="without"):
            started(folder, clock)


async def _refuses_tunnels(authority: Authority, words: bytes) -> None:
    async with a_world(policy=INTERCEPTED, calls=["tool_not_allowed", "ok"]) as world:
        world.sidecar.booth.authority = authority
        got = await world.to_the_end(connect_head("b.test:443"))
        assert got.startswith(b"HTTP/1.1 403 ")
        assert words in got
        assert world.sidecar.records[0].rule == "tools.catalog.b.intercept_tls"
        assert world.network.asked == []
        assert (await world.ask(GET + END)).endswith(b"ok")


@faults("F10: tunnels are refused and other calls go on where the CA has expired meanwhile")
async def _ca_expires() -> None:
    clock = FakeClock()
    with a_kept_ca(clock) as (_, authority):
        authority.check("b.test")
        clock.advance(20 * 365 * 86_400)
        await _refuses_tunnels(authority, b"CA has expired")


@faults("F10: and where a new policy is the first to need a CA that is spoilt")
async def _ca_spoilt() -> None:
    clock = FakeClock()
    with a_kept_ca(clock) as (folder, _):
        (folder / KEY).unlink()
        authority = Authority(folder, clock)
        authority.follow(load_policy(INTERCEPTED))
        await _refuses_tunnels(authority, b"without ca.key")


def has_records(world: World, count: int) -> bool:
    return len(world.sidecar.records) == count


@faults("F11: a client that does not trust the CA is told in the record of each CONNECT")
async def _distrusting_client() -> None:
    async with a_world(policy=INTERCEPTED, calls=["bad_request"] * 3) as world:
        for count in (1, 2, 3):
            reader, writer = await world.sidecar.open()
            writer.write(connect_head("b.test:443"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            with pytest.raises(ssl.SSLCertVerificationError):
                await writer.start_tls(ssl.create_default_context(), server_hostname="b.test")
            await until(partial(has_records, world, count))
            record = world.sidecar.records[-1]
            assert "does not trust the sidecar's CA" in record.detail
            assert "toolbooth ca export" in record.detail
            assert (record.attempts, record.host) == (0, "b.test")
            writer.close()
        assert world.network.asked == []


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("run", faults.params)
def test_fault(run: Run, new_loop: NewLoop) -> None:
    run_on(new_loop, run)
