"""The rows of `abuse.jsonl` that are not one string of bytes: what happens over time, in numbers,
or to the policy. One function a row, under its id."""

import asyncio
import contextlib
import gzip
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from proxy.app.assemble import swap_policy
from proxy.guards.budget import Ledger, Reservation
from proxy.listeners.front import FrontLimits
from proxy.model.call import Kind
from proxy.model.clock import SystemClock
from proxy.model.reason import Reason
from proxy.policy.compile import load_policy
from proxy.policy.policy import BreakerRule, BudgetRule
from proxy.upstream.resolver import _MAX_NAMES, Resolver
from tests.app.test_reload import BAD, OTHER, Booth
from tests.fakes.clock import FakeClock
from tests.fakes.origin import OK, OriginConnection
from tests.fakes.sidecar import read_answer
from tests.fakes.tunnel import client_tls, open_tls
from tests.guards.rules import a_caller
from tests.security.abuse_stage import WORLDS, Stage, a_stage
from tests.wire.hellos import client_hello

Play = Callable[[], Awaitable[None]]
SCENES: dict[str, Play] = {}
GET = b"GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n\r\n"
CONNECT = b"CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n"
NAMES = WORLDS["names"]
ONLY_WILD = NAMES.replace("[allowed, wild]", "[wild]")
_CALLS = "runtime: {env: {AGENT_MAX_TOOL_CALLS: %d}}\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


def scene(*ids: str) -> Callable[[Play], Play]:
    def add(play: Play) -> Play:
        for one in ids:
            SCENES[one] = play
        return play

    return add


def adopt(stage: Stage, text: str) -> None:
    """As a reload does it."""
    policy = load_policy(text)
    telemetry = stage.sidecar.telemetry
    swap_policy(stage.sidecar.booth, telemetry, policy, telemetry.redactor_of(policy))


async def wait(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(8):
        while not condition():
            await asyncio.sleep(0.005)


async def silent(connection: OriginConnection) -> None:
    """Reads and never answers; a tunnel's other end."""
    while await connection.read_some():
        pass


@contextlib.asynccontextmanager
async def tunnel(stage: Stage) -> AsyncIterator[asyncio.StreamReader]:
    """An open one."""
    reader, writer = await stage.sidecar.open()
    writer.write(CONNECT)
    async with asyncio.timeout(5):
        assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    try:
        yield reader
    finally:
        writer.close()


# --- names, tunnels, interception -----------------------------------------------------------


@scene("dns-012")
async def _policy_outlived() -> None:
    """A kept connection, upstream and to the client, is no way around a newer policy."""
    async with a_stage("names") as stage:
        reader, writer = await stage.sidecar.open()
        writer.write(GET)
        assert b" 200 " in await read_answer(reader)
        assert stage.sidecar.booth.pool.idle_count == 1
        adopt(stage, ONLY_WILD)
        writer.write(GET)
        assert b" 403 " in await read_answer(reader)
        assert len(stage.origin.heads) == 1
        writer.close()


@scene("rel-004")
async def _tunnel_outlived() -> None:
    async with a_stage("names", silent) as stage, tunnel(stage) as reader:
        adopt(stage, ONLY_WILD)
        async with asyncio.timeout(2):
            assert await reader.read() == b""
        await wait(lambda: stage.sidecar.records)
        assert stage.sidecar.records[0].code is Reason.TOOL_NOT_ALLOWED


READ_INSIDE = NAMES.replace("ports: [80, 443]}]", "ports: [80, 443]}], intercept_tls: true", 1)


_OF_ANOTHER_HOST = (
    b"GET / HTTP/1.1\r\nHost: denied.test",
    b"GET http://denied.test/ HTTP/1.1\r\nHost: allowed.test",
    b"GET https://denied.test/ HTTP/1.1\r\nHost: denied.test",
)


@scene("auth-019", "auth-020")
async def _another_host_inside() -> None:
    """What is asked for inside a tunnel whose TLS ends here has to be the tunnel's host."""
    for start in _OF_ANOTHER_HOST:
        async with a_stage("names", silent, policy=READ_INSIDE) as stage:
            sidecar = stage.sidecar
            reader, writer = await open_tls(sidecar, "allowed.test:443", client_tls(sidecar))
            writer.write(start + b"\r\n\r\n")
            assert b" 400 " in await read_answer(reader)
            assert stage.network.dialled == []
            writer.transport.abort()


@scene("auth-021")
async def _another_host_later() -> None:
    """Also in a later request: the first goes out, the second does not."""

    async def hang_up(_: OriginConnection) -> None:
        """It speaks no TLS, which is beside the point."""

    async with a_stage("names", hang_up, policy=READ_INSIDE) as stage:
        sidecar = stage.sidecar
        reader, writer = await open_tls(sidecar, "allowed.test:443", client_tls(sidecar))
        writer.write(b"GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n")
        assert b" 502 " in await read_answer(reader)
        dialled = len(stage.network.dialled)
        assert dialled > 0
        writer.write(b"GET / HTTP/1.1\r\nHost: denied.test\r\n\r\n")
        assert b" 400 " in await read_answer(reader)
        assert len(stage.network.dialled) == dialled
        writer.transport.abort()


@scene("dos-014")
async def _names_without_end() -> None:
    """Server names that are not the tunnel's are refused before a certificate is made."""
    async with a_stage("names", silent, policy=READ_INSIDE) as stage:
        for number in range(300):
            reader, writer = await stage.sidecar.open()
            writer.write(CONNECT + client_hello(f"n{number}.allowed.test"))
            async with asyncio.timeout(5):
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
                assert await reader.read() == b""
            writer.close()
        assert len(stage.sidecar.booth.authority._contexts) == 0
        assert stage.sidecar.front.ended_tls == 0
        assert stage.network.dialled == []


@scene("conn-018")
async def _idle_tunnel() -> None:
    text = NAMES.replace("connect: 10000", "connect: 10000, idle: 50")
    async with a_stage("names", silent, policy=text) as stage, tunnel(stage) as reader:
        async with asyncio.timeout(3):
            assert await reader.read() == b""
        await wait(lambda: stage.sidecar.records)
        assert stage.sidecar.booth.slots.in_flight("allowed") == 0
        assert len(stage.sidecar.front) + stage.sidecar.front.tunnels == 0


@scene("conn-019")
async def _many_tunnels() -> None:
    text = NAMES.replace("  catalog:", "  concurrency: {default: 20}\n  catalog:")
    async with a_stage("names", silent, policy=text) as stage:
        pairs = [await stage.sidecar.open() for _ in range(200)]
        for _, writer in pairs:
            writer.write(CONNECT)
        heads = [await reader.readuntil(b"\r\n\r\n") for reader, _ in pairs]
        assert sum(b" 200 " in head for head in heads) == 20
        assert sum(b" 503 busy" in head for head in heads) == 180
        for _, writer in pairs:
            writer.close()
        await wait(lambda: len(stage.sidecar.records) == 200)
        assert stage.sidecar.booth.slots.in_flight("allowed") == 0


# --- retries --------------------------------------------------------------------------------


async def reset_after_head(connection: OriginConnection) -> None:
    await connection.read_head()
    connection.reset()


@scene("redir-003")
async def _post_reset() -> None:
    raw = b"POST" + GET[3:-2] + b"Content-Length: 5\r\n\r\nhello"
    async with a_stage("retries", reset_after_head) as stage:
        assert (await stage.play([raw], 1)).statuses == [502]
        assert len(stage.origin.heads) == 1


@scene("redir-004")
async def _get_reset() -> None:
    text = WORLDS["retries"] + _CALLS % 2
    async with a_stage("retries", reset_after_head, policy=text) as stage:
        assert (await stage.play([GET], 1)).statuses == [502]
        assert len(stage.origin.heads) == stage.sidecar.records[0].attempts == 3
        assert (await stage.play([GET], 1)).statuses == [502], "three attempts are one call"
        assert (await stage.play([GET], 1)).statuses == [403]


@scene("redir-007")
async def _cut_answer() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(HEAD + b"0123456789")
        await asyncio.sleep(0.02)
        connection.reset()

    async with a_stage("retries", script) as stage:
        heard = await stage.play([GET], 1)
        assert heard.statuses == [200]
        assert heard.contents == [b"0123456789"]
        assert heard.is_closed
        assert len(stage.origin.heads) == 1


@scene("frame-040")
async def _continue() -> None:
    """An origin that answers at once is heard at once, and nobody has said 100 before."""
    raw = b"POST" + GET[3:-2] + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n"

    async def script(connection: OriginConnection) -> None:
        head = await connection.read_head()
        assert b"\r\nExpect: 100-continue\r\n" in head
        await connection.send(OK.replace(b"200 OK", b"413 No"))

    async with a_stage("names", script) as stage:
        heard = await stage.play([raw], 1)
        assert heard.statuses == [413]
        assert b"100 Continue" not in heard.raw


@scene("ups-022")
async def _bomb() -> None:
    bomb = gzip.compress(bytes(20_000_000), mtime=0)
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\n"
    answer += b"Content-Length: %d\r\n\r\n%b" % (len(bomb), bomb)

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(answer)

    async with a_stage("sampled", script) as stage:
        heard = await stage.play([GET], 1)
        assert heard.contents == [bomb]
    assert len(stage.sidecar.sink.data) < 40_000
    assert b'"truncated":true' in stage.sidecar.sink.data


# --- exhaustion -----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def limited(stage: Stage, limits: FrontLimits) -> AsyncIterator[None]:
    """Under the watch of the front, with other limits."""
    stage.sidecar.front.limits = limits
    watching = stage.sidecar.tasks.spawn(stage.sidecar.front.watch())
    try:
        yield
    finally:
        watching.cancel()


@scene("dos-001")
async def _silence() -> None:
    async with a_stage("names") as stage, limited(stage, FrontLimits(keep_alive_s=0.1)):
        pairs = [await stage.sidecar.open() for _ in range(300)]
        async with asyncio.timeout(8):
            assert [await reader.read() for reader, _ in pairs] == [b""] * 300
        for _, writer in pairs:
            writer.close()
        await wait(lambda: not len(stage.sidecar.front))


@scene("dos-002")
async def _drip() -> None:
    async with a_stage("names") as stage, limited(stage, FrontLimits(head_s=0.3)):
        reader, writer = await stage.sidecar.open()
        writer.write(GET[:-2] + b"X-a: ")
        reading = asyncio.ensure_future(reader.read())
        async with asyncio.timeout(8):
            while not reading.done():
                writer.write(b"a")
                await asyncio.sleep(0.05)
        assert reading.result().startswith(b"HTTP/1.1 408 ")
        writer.close()


@scene("dos-004")
async def _slow_reader() -> None:
    """The upstream can send the buffers of two hops, and no more."""
    sent = 0

    async def script(connection: OriginConnection) -> None:
        nonlocal sent
        await connection.read_head()
        connection.writer.transport.set_write_buffer_limits(high=65536)
        await connection.send(HEAD.replace(b"1000000", b"1073741824"))
        while True:
            await connection.send(bytes(65536))
            sent += 65536

    async with a_stage("names", script) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.sidecar.port, limit=1024)
        writer.write(GET)
        await reader.readline()
        last = -1
        while last != sent:
            last = sent
            await asyncio.sleep(0.15)
        assert sent < 30_000_000
        writer.transport.abort()


@scene("dos-005")
async def _pipelining() -> None:
    async with a_stage("names", silent) as stage:
        _, writer = await stage.sidecar.open()
        writer.transport.set_write_buffer_limits(high=1)
        long = GET[:-2] + b"X: " + bytes(3000).replace(b"\x00", b"x") + b"\r\n\r\n"
        for _ in range(100):
            writer.write(long * 100)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await writer.drain()
                raise AssertionError("ten thousand requests were taken in")
        (connection,) = stage.sidecar.front._connections
        assert len(connection._buffer) < 1_000_000
        assert len(stage.origin.connections) == 1
        writer.transport.abort()


@scene("dos-008")
async def _many_hosts() -> None:
    resolver = Resolver(SystemClock(), lambda host: ["8.8.4.4"])
    for number in range(_MAX_NAMES + 500):
        await resolver.resolve(f"h{number}.wild.test")
    assert len(resolver._found) == _MAX_NAMES
    resolver.close()
    async with a_stage("names") as stage:
        breakers, rule = (
            stage.sidecar.booth.breakers,
            BreakerRule(error_rate=0.5, min_requests=1, open_s=9),
        )
        for number in range(6000):
            breakers.record(("wild", f"h{number}.wild.test", 443), rule, ok=False)
        assert len(breakers) <= 4096


@scene("dos-009")
async def _many_ids() -> None:
    text = NAMES + _CALLS % 9 + "budgets: {max_runs: 100}\n"
    async with a_stage("names", policy=text) as stage:
        statuses = []
        for number in range(150):
            lines = b"X-Agent-Run-Id: r%d\r\nX-Agent-Id: a%d\r\n\r\n" % (number, number)
            statuses += (await stage.play([GET[:-2] + lines], 1)).statuses
        assert statuses == [200] * 100 + [503] * 50
        assert len(stage.sidecar.records) == 150


@scene("dos-010")
async def _many_connections() -> None:
    async with a_stage("names") as stage, limited(stage, FrontLimits(max_connections=64)):
        pairs = [await stage.sidecar.open() for _ in range(200)]
        await wait(lambda: stage.sidecar.front.turned_away == 136)
        for _, writer in pairs:
            writer.write(GET)
        heads = [await reader.readline() for reader, _ in pairs]
        assert sum(b" 200 " in head for head in heads) == 64
        assert sum(b" 503 " in head for head in heads) == 136
        for _, writer in pairs:
            writer.transport.abort()
        await wait(lambda: not len(stage.sidecar.front))
        assert (await stage.play([GET], 1)).statuses == [200]


# --- the gateway, logs ----------------------------------------------------------------------


@scene("gw-019")
async def _injected() -> None:
    """What a tool's credentials would set is never the agent's to say."""
    with tempfile.NamedTemporaryFile("w", suffix=".secret") as secret:
        secret.write("the-tools-own")
        secret.flush()
        given = f"      credentials: {{header: Authorization, secret_file: {secret.name}}}\n"
        raw = b"GET /tools/svc/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer agent-own\r\n\r\n"
        async with a_stage("gateway", policy=WORLDS["gateway"] + given) as stage:
            await stage.play([raw], 1)
            if b"the-tools-own" not in stage.origin.received:
                pytest.skip("this version injects no credentials")
            assert b"agent-own" not in stage.origin.received


@scene("log-011")
async def _slow_pattern() -> None:
    text = WORLDS["sampled"].replace("1.0}", '1.0, redact: {patterns: ["(a+)+$"]}}')
    async with a_stage("sampled", policy=text) as stage:
        raw = GET.replace(b"test/ ", b"test/" + b"a" * 4000 + b"! ")
        async with asyncio.timeout(3):
            assert (await stage.play([raw], 1)).statuses == [200]
            await wait(lambda: b"\n" in stage.sidecar.sink.data)


@scene("log-013")
async def _never_sampled_out() -> None:
    denied = GET.replace(b"allowed", b"denied")
    async with a_stage("names") as stage:
        await stage.play([GET * 300 + denied], 301)
    lines = stage.sidecar.sink.data.splitlines()
    assert len(lines) == 301
    assert sum(b'"code":"tool_unknown"' in line for line in lines) == 1


@scene("log-014")
async def _many_names() -> None:
    async with a_stage("names") as stage:
        await stage.play([GET], 1)
        before = stage.sidecar.telemetry.figures.render().count(b"\n")
        raw = b"".join(GET.replace(b"allowed", b"n%d" % n) for n in range(500))
        assert (await stage.play([raw], 500)).statuses == [403] * 500
        page = stage.sidecar.telemetry.figures.render()
        assert page.count(b"\n") < before + 100
        assert b"n499" not in page


# --- budgets --------------------------------------------------------------------------------


@scene("bud-001")
async def _race() -> None:
    text = NAMES + _CALLS % 10
    async with a_stage("names", policy=text) as stage:
        raw = GET[:-2] + b"X-Agent-Run-Id: r1\r\n\r\n"
        heard = await asyncio.gather(*(stage.play([raw], 1) for _ in range(100)))
        statuses = [one.statuses[0] for one in heard]
        assert statuses.count(200) == len(stage.origin.heads) == 10
        assert statuses.count(403) == 90


@scene("bud-002")
async def _bytes() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(HEAD + bytes(1_000_000))

    async with a_stage("names", script, policy=NAMES + "budgets: {max_bytes: 100000}\n") as stage:
        heard = await stage.play([GET], 1)
        assert 0 < len(heard.contents[0]) < 100_000 + 300_000
        assert heard.is_closed
        assert stage.sidecar.records[0].code is Reason.MAX_BYTES


@scene("bud-005")
async def _separators() -> None:
    text = NAMES + _CALLS % 1 + "budgets: {per_agent: {max_calls_per_hour: 1}}\n"
    async with a_stage("names", policy=text) as stage:
        for run, agent in ((b"a:b", b"c"), (b"a", b"b:c"), (b"a:", b"b"), (b"a:b:c", b"d")):
            lines = b"X-Agent-Run-Id: %b\r\nX-Agent-Id: %b\r\n\r\n" % (run, agent)
            assert (await stage.play([GET[:-2] + lines], 1)).statuses == [200]


@scene("bud-010")
async def _kill() -> None:
    """New calls at once, what is under way within a second, tunnels too."""
    async with a_stage("names", silent) as stage:
        async with contextlib.AsyncExitStack() as opened:
            ends = [await opened.enter_async_context(tunnel(stage)) for _ in range(10)]
            pairs = [await stage.sidecar.open() for _ in range(20)]
            for _, writer in pairs:
                writer.write(GET)
            await wait(lambda: len(stage.origin.connections) == 30)
            stage.sidecar.booth.switches.engage("tool:allowed", "stop", "ann")
            async with asyncio.timeout(2):
                assert [await end.read() for end in ends] == [b""] * 10
                heads = [await reader.readline() for reader, _ in pairs]
            assert all(b" 403 " in head for head in heads)
            assert (await stage.play([GET], 1)).statuses == [403]
            for _, writer in pairs:
                writer.close()
        await wait(lambda: len(stage.sidecar.records) == 31)
        assert stage.sidecar.booth.slots.in_flight("allowed") == 0


@scene("bud-011")
async def _clock() -> None:
    clock = FakeClock()
    ledger, rule = Ledger(clock), BudgetRule(max_calls_per_hour=1, max_spend_micros_per_day=10)

    def is_granted() -> bool:
        verdict = ledger.reserve(rule, a_caller("r", "a"), Kind.TOOL, 10, None)
        if isinstance(verdict, Reservation):
            verdict.settle(10)
        return isinstance(verdict, Reservation)

    assert is_granted()
    for seconds in (-3600, -86_400, 3600):
        clock.jump_wall(seconds)
        assert not is_granted()


# --- policies -------------------------------------------------------------------------------


@scene("rel-001")
async def _broken_file() -> None:
    with tempfile.TemporaryDirectory() as folder:
        booth = Booth(Path(folder))
        before = booth.version
        async with booth.watched():
            booth.path.write_text(BAD)
            await booth.until(lambda: bool(booth.trouble))
        assert booth.version == before
        assert booth.keeper.results["failed"] == 1


@scene("rel-003")
async def _open_file() -> None:
    """A file that anybody may write is not read, by itself or through a link."""
    with tempfile.TemporaryDirectory() as folder:
        booth = Booth(Path(folder))
        before = booth.version
        other = Path(folder) / "other.yaml"
        other.write_text(OTHER)
        other.chmod(0o666)
        async with booth.watched():
            booth.path.unlink()
            booth.path.symlink_to(other)
            await booth.until(lambda: bool(booth.trouble))
        assert booth.version == before
