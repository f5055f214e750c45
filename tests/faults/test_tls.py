"""F07 to F11: TLS, towards upstreams and towards clients."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trustme

from proxy.ca.authority import Authority, NoContextError
from proxy.ca.keeping import KEY
from proxy.model.reason import Reason
from proxy.policy.compile import load_policy
from proxy.policy.problem import PolicyError
from proxy.upstream.dial import upstream_tls
from proxy.upstream.trust import TrustStore
from tests.conformance.world import END, GET, POLICY, World
from tests.fakes.clock import FakeClock
from tests.fakes.network import PUBLIC
from tests.fakes.nobody import unprivileged
from tests.fakes.origin import OriginConnection, Script
from tests.fakes.tunnel import HandClient, TlsOrigin, connect_head
from tests.fakes.waiting import until
from tests.faults.fault import LOOPS, Fault, NewLoop, Run, run_on
from tests.faults.world import a_world, is_told
from tests.numbered import NumberedTests

FAULTS = (
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
        ("timeout", "upstream_tls", "upstream_reset"),
        "TLS 1.3 misses a client certificate only behind the handshake: `upstream_reset`.",
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
faults = NumberedTests()

GET_TLS = GET.replace(b"http:", b"https:") + END
RETRIED = POLICY.replace("{max: 0}", "{max: 2, backoff_ms: [1, 2]}")


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

        policy = RETRIED
        if code is Reason.TIMEOUT:
            policy = policy.replace("connect: 10000", "connect: 60")
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


@faults("F08: an alert behind the handshake, for want of a client certificate, is a hang-up")
async def _late_alert() -> None:
    roots = trustme.CA()
    server = issued(roots)
    server.verify_mode = ssl.CERT_REQUIRED
    roots.configure_trust(server)
    async with a_tls_world(["upstream_reset"], server, roots) as (world, secure):
        assert is_told(await world.ask(GET_TLS), Reason.UPSTREAM_RESET)
        assert secure.heads == []


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


@faults("F11: the alert that such a client sends is in the record's words")
async def _alert_of_a_client() -> None:
    async with a_world(policy=INTERCEPTED, calls=["bad_request"]) as world:
        reader, writer = await world.sidecar.open()
        writer.write(connect_head("b.test:443"))
        await reader.readuntil(b"\r\n\r\n")
        client = HandClient(ssl.create_default_context(), "b.test")
        with pytest.raises(ssl.SSLCertVerificationError):
            await client.finish(reader, writer)
        writer.write(client.goodbye())  # the alert was due
        await until(partial(has_records, world, 1))
        detail = world.sidecar.records[0].detail
        assert detail.startswith("The client does not trust the sidecar's CA (tlsv1 alert unknown")
        writer.close()


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("run", faults.params)
def test_fault(run: Run, new_loop: NewLoop) -> None:
    run_on(new_loop, run)
