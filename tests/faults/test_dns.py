"""F12 to F16: names that do not resolve, resolve slowly, or resolve to something else."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from unittest.mock import patch

import pytest

from proxy.model.reason import Reason
from proxy.upstream.resolver import Resolver
from tests.conformance.world import END, GET, POLICY, World, after_head
from tests.fakes.clock import FakeClock
from tests.fakes.network import PUBLIC
from tests.fakes.origin import OK, Script
from tests.fakes.waiting import until
from tests.faults.fault import LOOPS, Fault, NewLoop, Run, run_on
from tests.faults.world import a_world, dialling, is_told, unanswering
from tests.numbered import NumberedTests

FAULTS = (
    Fault(
        12,
        "a name that does not exist, a server that fails, an answer without an address",
        "502 with the resolver's words; the failure is remembered for 2 s, so that retries and "
        "other calls ask nobody.",
        ("ok", "upstream_dns"),
    ),
    Fault(
        13,
        "a resolver that is slow or dead",
        "504 when `timeouts_ms.connect` is over. One look-up of a name for all who ask, 32 at "
        "once, 256 in all; beyond that 502. Names that are known, and others while there is room, "
        "resolve meanwhile.",
        ("ok", "timeout", "upstream_dns"),
    ),
    Fault(
        14,
        "an answer that turns from a public address to a private one",
        "Only the very address that was judged is dialled, without a second look-up; an answer "
        "that holds only private ones is refused.",
        ("ok", "address_denied"),
    ),
    Fault(
        15,
        "500 addresses in one answer",
        "16 of them are tried at most, all within `timeouts_ms.connect`.",
        ("upstream_connect", "timeout"),
    ),
    Fault(
        16,
        "records with a TTL of 0, and a flood of calls",
        "One look-up of a name in 10 s.",
        ("ok",),
        "the TTL is not known (the system's resolver does not tell it): each answer is kept for "
        "10 s.",
    ),
)
faults = NumberedTests()

RETRIED = POLICY.replace("{max: 0}", "{max: 2, backoff_ms: [1, 2]}")
ANY = POLICY.replace("a.test", "'*.test'")
IMPATIENT = ANY.replace("connect: 10000", "connect: 300")
OTHER = "8.8.8.8"  # as public as PUBLIC
# Each call has a connection of its own, and so an address to find.
CLOSING = after_head(OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))


def get(name: str) -> bytes:
    """A GET of this host."""
    return GET.replace(b"a.test", name.encode()) + END


@asynccontextmanager
async def a_dns_world(
    calls: list[str], lookup: Callable[[str], list[str]] | None = None, *,
    policy: str = ANY, script: Script | None = None,
) -> AsyncIterator[tuple[World, FakeClock]]:  # fmt: skip
    """A world whose resolver has a clock of its own, and asks `lookup` where that is given."""
    clock = FakeClock()
    async with a_world(script, policy=policy, calls=calls) as world:
        pool = world.sidecar.booth.pool
        pool._resolver.close()
        pool._resolver = Resolver(clock, lookup or world.network.look_up)
        yield world, clock


FAILURES: tuple[tuple[str, OSError | list[str], str], ...] = (
    ("a name that does not exist", OSError(-2, "Name or service not known"), "not known"),
    ("a server that fails", OSError(-3, "Temporary failure in name resolution"), "Temporary"),
    ("an empty answer", [], "has no address"),
    ("an answer that is no address", ["8.8.4.4.5"], "no answer"),
)
for _what, _answer, _words in FAILURES:

    @faults(f"F12: {_what} is a 502, remembered for a moment")
    async def _no_answer(answer: OSError | list[str] = _answer, words: str = _words) -> None:
        asked: list[str] = []

        def lookup(host: str) -> list[str]:
            asked.append(host)
            if len(asked) > 1:
                return [PUBLIC]
            if isinstance(answer, OSError):
                raise answer
            return answer

        calls = ["upstream_dns"] * 2 + ["ok"]
        async with a_dns_world(calls, lookup, policy=RETRIED) as (world, clock):
            for _ in range(2):
                assert is_told(await world.ask(get("a.test")), Reason.UPSTREAM_DNS)
            record = world.sidecar.records[0]
            assert (record.attempts, words in record.detail) == (3, True)
            assert (asked, world.network.dialled) == (["a.test"], [])
            clock.advance(2)
            assert (await world.ask(get("a.test"))).endswith(b"ok")
            assert asked == ["a.test"] * 2


class SlowLookup:
    """Names that begin with `slow` are answered when `release` is set. `under_way`: how many of
    them were asked for."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.under_way = 0

    def __call__(self, host: str) -> list[str]:
        if host.startswith("slow"):
            self.under_way += 1
            self.release.wait(20)
        return [PUBLIC]


@faults("F13: a look-up that hangs is a 504, and neither the loop nor other names wait for it")
async def _slow() -> None:
    lookup = SlowLookup()
    calls = ["ok"] * 3 + ["timeout"] * 5 + ["ok"]
    async with a_dns_world(calls, lookup, policy=IMPATIENT) as (world, _):
        assert (await world.ask(get("known.test"))).endswith(b"ok")
        waiting = [asyncio.ensure_future(world.ask(get("slow.test"))) for _ in range(5)]
        await until(lambda: lookup.under_way == 1)
        for name in ("known.test", "new.test"):
            assert (await world.ask(get(name))).endswith(b"ok")
        for got in await asyncio.gather(*waiting):
            assert is_told(got, Reason.TIMEOUT)
        lookup.release.set()
        await until(lambda: not world.sidecar.booth.pool._resolver._pending)
        assert (await world.ask(get("slow.test"))).endswith(b"ok")
        assert lookup.under_way == 1  # its answer came late, and was kept


@faults("F13: look-ups are bounded, those under way and those that wait")
async def _capped() -> None:
    lookup = SlowLookup()
    calls = ["upstream_dns"] + ["timeout"] * 3 + ["ok"] * 3
    names = ["slow-1.test", "slow-2.test", "slow-3.test"]
    with (
        patch("proxy.upstream.resolver._MAX_THREADS", 2),
        patch("proxy.upstream.resolver._MAX_PENDING", 3),
    ):
        async with a_dns_world(calls, lookup, policy=IMPATIENT) as (world, _):
            pending = world.sidecar.booth.pool._resolver._pending
            waiting = [asyncio.ensure_future(world.ask(get(name))) for name in names]
            await until(lambda: len(pending) == 3 and lookup.under_way == 2)
            got = await world.ask(get("new.test"))
            assert is_told(got, Reason.UPSTREAM_DNS)
            assert b"Too many" in got
            for got in await asyncio.gather(*waiting):
                assert is_told(got, Reason.TIMEOUT)
            assert lookup.under_way == 2
            lookup.release.set()
            await until(lambda: not pending)
            for name in names:
                assert (await world.ask(get(name))).endswith(b"ok")


PRIVATE = ("10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1")
for _private in PRIVATE:

    @faults(f"F14: a name that turns to {_private} is refused")
    async def _rebinding(private: str = _private) -> None:
        async with a_dns_world(["ok", "ok", "address_denied"], script=CLOSING) as (world, clock):
            world.network.answers["a.test"] = [[PUBLIC], [private]]
            for _ in range(2):  # the second look-up is not made yet
                assert (await world.ask(get("a.test"))).endswith(b"ok")
            assert world.network.asked == ["a.test"]
            clock.advance(10)
            assert is_told(await world.ask(get("a.test")), Reason.ADDRESS_DENIED)
            assert world.network.asked == ["a.test"] * 2
            assert world.network.dialled == [(PUBLIC, 80)] * 2
            assert len(world.origin.connections) == 2


@faults("F14: of an answer that holds both, only the public address is dialled")
async def _both() -> None:
    async with a_dns_world(["ok"]) as (world, _):
        world.network.answers["a.test"] = [["10.0.0.1", PUBLIC, "::1", OTHER]]
        assert (await world.ask(get("a.test"))).endswith(b"ok")
        assert world.network.dialled == [(PUBLIC, 80), (OTHER, 80)]


@faults("F14: a kept connection outlives the answer that it was opened for, at its old address")
async def _kept() -> None:
    async with a_dns_world(["ok", "ok"]) as (world, clock):
        world.network.answers["a.test"] = [[PUBLIC], ["10.0.0.1"]]
        for _ in range(2):
            assert (await world.ask(get("a.test"))).endswith(b"ok")
            clock.advance(10)
        assert world.network.dialled == [(PUBLIC, 80)]
        assert len(world.origin.connections) == 1


CROWD = [f"8.8.{n // 250}.{n % 250 + 1}" for n in range(500)]


@faults("F15: of 500 addresses that refuse, 16 are tried")
async def _many_refuse() -> None:
    async with a_dns_world(["upstream_connect"]) as (world, _):
        world.network.answers["a.test"] = [CROWD]
        with dialling(world, dict.fromkeys(CROWD, "127.0.0.2")) as handed:
            assert is_told(await world.ask(get("a.test")), Reason.UPSTREAM_CONNECT)
        assert handed == CROWD[:16]


@faults("F15: 500 addresses that say nothing cost one connect timeout")
async def _many_silent() -> None:
    async with a_dns_world(["timeout"], policy=IMPATIENT) as (world, _):
        world.network.answers["a.test"] = [CROWD]
        with (
            unanswering("127.0.0.2", world.origin.port),
            dialling(world, dict.fromkeys(CROWD, "127.0.0.2")),
        ):
            got = await world.ask(get("a.test"))
        assert is_told(got, Reason.TIMEOUT)
        assert b"Could not connect in time." in got
        assert world.sidecar.records[0].attempts == 1


@faults("F16: a flood of calls is one look-up of a name in ten seconds")
async def _flood() -> None:
    async with a_dns_world(["ok"] * 90, script=CLOSING) as (world, clock):
        for name in ("a.test", "b.test"):
            world.network.answers[name] = [[PUBLIC]]
        for rounds in (1, 1, 2):
            if rounds == 2:
                clock.advance(10)
            asking = [world.ask(get(name)) for name in ("a.test", "b.test") for _ in range(15)]
            for got in await asyncio.gather(*asking):
                assert got.endswith(b"ok")
            assert sorted(world.network.asked) == ["a.test"] * rounds + ["b.test"] * rounds


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("run", faults.params)
def test_fault(run: Run, new_loop: NewLoop) -> None:
    run_on(new_loop, run)
