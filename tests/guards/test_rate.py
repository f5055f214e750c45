import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from proxy.guards import rate
from proxy.guards.rate import RateLimits
from proxy.model.call import Caller
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.policy.policy import RateRule, RateScope
from tests.fakes.clock import FakeClock
from tests.guards.instant_loop import InstantLoop
from tests.guards.rules import a_caller

NEAR_S = 0.001  # turns of the loop and rounding


def a_rule(
    requests: int = 2,
    per_s: float = 1.0,
    scope: RateScope = RateScope.TOOL,
    max_wait_s: float = 0.0,
) -> RateRule:
    return RateRule(requests, per_s, scope, max_wait_s)


def now_or_never(coroutine: Coroutine[Any, Any, Refusal | None]) -> Refusal | None:
    """Run to the end in one step; an await that yields to the loop fails."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: Refusal | None = done.value
        return result
    coroutine.close()
    raise AssertionError("it yielded to the event loop")


async def take(limits: RateLimits, rule: RateRule, caller: Caller | None = None) -> Refusal | None:
    return now_or_never(limits.take("t", rule, caller or a_caller()))


def test_a_burst_passes_and_the_next_is_told_when_to_come_back() -> None:
    loop = InstantLoop()

    async def scenario() -> None:
        limits = RateLimits(loop)
        rule = a_rule(requests=2, per_s=1.0)
        assert await take(limits, rule) is None
        assert await take(limits, rule) is None
        refusal = await take(limits, rule)
        assert refusal is not None
        assert refusal.reason is Reason.RATE_LIMITED
        assert refusal.retry_after_ms == 500
        assert "2 requests per 1 s" in refusal.detail
        await asyncio.sleep(0.49)
        assert await take(limits, rule) is not None
        await asyncio.sleep(0.011)
        assert await take(limits, rule) is None
        assert await take(limits, rule) is not None

    loop.run(scenario())


@pytest.mark.parametrize(
    ("scope", "other", "shares"),
    [
        pytest.param(
            RateScope.TOOL, a_caller("r2", "a2"), True, id="a tool's bucket is everyone's"
        ),
        pytest.param(RateScope.RUN, a_caller("r2", "a1"), False, id="another run, same agent"),
        pytest.param(RateScope.RUN, a_caller("r1", "a2"), True, id="same run, another agent"),
        pytest.param(RateScope.AGENT, a_caller("r2", "a1"), True, id="another run of the agent"),
        pytest.param(RateScope.AGENT, a_caller("r1", "a2"), False, id="another agent"),
    ],
)
async def test_who_shares_a_bucket(scope: RateScope, other: Caller, shares: bool) -> None:
    limits = RateLimits(FakeClock())
    rule = a_rule(requests=1, per_s=1000, scope=scope)
    assert await take(limits, rule, a_caller("r1", "a1")) is None
    assert (await take(limits, rule, other) is not None) is shares


async def test_tools_have_buckets_of_their_own() -> None:
    limits = RateLimits(FakeClock())
    rule = a_rule(requests=1, per_s=1000)
    assert now_or_never(limits.take("a", rule, a_caller())) is None
    assert now_or_never(limits.take("b", rule, a_caller())) is None


def test_waiters_pass_in_order_at_the_rate_and_nobody_overtakes() -> None:
    loop = InstantLoop()
    passed: list[tuple[int, float]] = []

    async def scenario() -> None:
        limits = RateLimits(loop)
        rule = a_rule(requests=2, per_s=1.0, max_wait_s=10.0)
        started_s = loop.time()

        async def one(number: int, after_s: float) -> None:
            await asyncio.sleep(after_s)
            assert await limits.take("t", rule, a_caller()) is None
            passed.append((number, loop.time() - started_s))

        # The last two come exactly when a place falls free for somebody who waited longer.
        arrivals = [0.0, 0.0, 0.01, 0.02, 0.03, 0.5, 1.0]
        async with asyncio.TaskGroup() as group:
            for number, after_s in enumerate(arrivals):
                group.create_task(one(number, after_s))

    loop.run(scenario())
    assert [number for number, _ in passed] == list(range(7))
    expected = [0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert [at_s for _, at_s in passed] == pytest.approx(expected, abs=NEAR_S)


def test_a_wait_that_would_be_too_long_is_refused_at_once_counting_those_ahead() -> None:
    loop = InstantLoop()

    async def scenario() -> list[Refusal | None]:
        limits = RateLimits(loop)
        rule = a_rule(requests=1, per_s=1.0, max_wait_s=2.5)
        started_s = loop.time()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(limits.take("t", rule, a_caller())) for _ in range(3)]
            await asyncio.sleep(0.01)
            assert limits.waiting("t") == 2
            assert limits.in_line() == {"t": 2}
            refusal = await take(limits, rule)
            assert loop.time() - started_s < 0.02
            assert refusal is not None
            assert refusal.retry_after_ms == pytest.approx(2990, abs=2)
        assert loop.time() - started_s == pytest.approx(2.0, abs=NEAR_S)
        refusal = await take(limits, a_rule(requests=1, per_s=1.0))
        assert refusal is not None  # those who waited have filled the bucket again
        assert refusal.retry_after_ms == pytest.approx(1000, abs=2)
        return [task.result() for task in tasks]

    assert loop.run(scenario()) == [None, None, None]


def test_a_full_bucket_with_waiting_allowed_still_refuses_past_the_line_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate, "WAITERS_LIMIT", 2)
    loop = InstantLoop()

    async def scenario() -> None:
        limits = RateLimits(loop)
        rule = a_rule(requests=1, per_s=1.0, max_wait_s=1000)
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(limits.take("t", rule, a_caller()))
            await asyncio.sleep(0.01)
            assert await take(limits, rule) is not None

    loop.run(scenario())


def test_several_at_once_are_taken_together_or_not_at_all() -> None:
    loop = InstantLoop()

    async def scenario() -> None:
        limits = RateLimits(loop)
        rule = a_rule(requests=3, per_s=3.0)
        too_many = now_or_never(limits.take("t", rule, a_caller(), 4))
        assert too_many is not None
        assert "4 at once" in too_many.detail
        assert too_many.retry_after_ms is None  # waiting does not help
        assert now_or_never(limits.take("t", rule, a_caller(), 2)) is None
        refusal = now_or_never(limits.take("t", rule, a_caller(), 2))
        assert refusal is not None
        assert refusal.retry_after_ms == pytest.approx(1000, abs=2)
        assert await take(limits, rule) is None
        patient = a_rule(requests=3, per_s=3.0, max_wait_s=9)
        started_s = loop.time()
        async with asyncio.TaskGroup() as group:
            group.create_task(limits.take("t", patient, a_caller(), 2))
            await asyncio.sleep(0)
            assert limits.waiting("t") == 2
        assert loop.time() - started_s == pytest.approx(2.0, abs=NEAR_S)

    loop.run(scenario())


@pytest.mark.parametrize(("calls", "refused"), [(1, False), (2, False), (3, True), (4, True)])
async def test_what_would_be_refused_is_foreseen_and_takes_nothing(
    calls: int, refused: bool
) -> None:
    limits = RateLimits(FakeClock())
    rule = a_rule(requests=3, per_s=1000)
    assert await take(limits, rule) is None
    for _ in range(5):
        assert (limits.foresee("t", rule, a_caller(), calls) is not None) is refused
    assert (now_or_never(limits.take("t", rule, a_caller(), calls)) is not None) is refused


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_cancelled_waiter_leaves_the_line_as_if_it_had_never_come(gone: int) -> None:
    loop = InstantLoop()

    async def scenario() -> list[float]:
        limits = RateLimits(loop)
        rule = a_rule(requests=1, per_s=1.0, max_wait_s=10)
        started_s = loop.time()
        assert await take(limits, rule) is None
        times: list[float] = []

        async def one() -> None:
            await limits.take("t", rule, a_caller())
            times.append(loop.time() - started_s)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one()) for _ in range(3)]
            await asyncio.sleep(0.1)
            tasks[gone].cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert limits.waiting("t") == 2
        assert limits.waiting("t") == 0
        assert limits.in_line() == {}
        return times

    assert loop.run(scenario()) == pytest.approx([1.0, 2.0], abs=NEAR_S)


def test_cancelling_everybody_leaves_a_bucket_that_works() -> None:
    loop = InstantLoop()

    async def scenario() -> None:
        limits = RateLimits(loop)
        rule = a_rule(requests=1, per_s=1.0, max_wait_s=10)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(limits.take("t", rule, a_caller())) for _ in range(4)]
            await asyncio.sleep(0.1)
            for task in tasks[1:]:
                task.cancel()
        await asyncio.sleep(0.9)
        assert await take(limits, rule) is None

    loop.run(scenario())


@pytest.mark.parametrize(
    ("changed", "passes"),
    [
        pytest.param(a_rule(requests=4, per_s=1000), 2, id="two more requests"),
        pytest.param(a_rule(requests=1, per_s=1000), 0, id="fewer requests"),
        pytest.param(a_rule(requests=2, per_s=500), 0, id="another period"),
        pytest.param(a_rule(requests=2, per_s=1000, max_wait_s=0), 0, id="no change"),
    ],
)
async def test_a_changed_rule_starts_as_full_as_the_old_one(changed: RateRule, passes: int) -> None:
    limits = RateLimits(FakeClock())
    rule = a_rule(requests=2, per_s=1000)
    for _ in range(2):
        assert await take(limits, rule) is None
    assert [await take(limits, changed) is None for _ in range(4)].count(True) == passes


async def test_two_policies_side_by_side_do_not_open_a_second_allowance() -> None:
    limits = RateLimits(FakeClock())
    rules = [a_rule(requests=2, per_s=1000), a_rule(requests=3, per_s=1000)]
    passed = [await take(limits, rules[index % 2]) is None for index in range(20)]
    assert passed.count(True) == 3


def test_who_waits_in_the_old_line_counts_in_the_new_bucket() -> None:
    loop = InstantLoop()

    async def scenario() -> None:
        limits = RateLimits(loop)
        old, new = a_rule(requests=1, max_wait_s=10), a_rule(requests=4, per_s=4.0)
        async with asyncio.TaskGroup() as group:
            for _ in range(3):  # one passes, two wait
                group.create_task(limits.take("t", old, a_caller()))
            await asyncio.sleep(0)
            assert await take(limits, new) is None
            assert await take(limits, new) is not None

    loop.run(scenario())


def test_a_full_map_refuses_new_buckets_until_one_has_drained() -> None:
    loop = InstantLoop()

    async def scenario() -> None:
        limits = RateLimits(loop, limit=2)
        slow = a_rule(requests=1, per_s=100.0, scope=RateScope.RUN)
        assert now_or_never(limits.take("slow", slow, a_caller("r1"))) is None
        fast = a_rule(requests=1, per_s=1.0, scope=RateScope.RUN)
        assert await take(limits, fast, a_caller("r1")) is None
        refusal = await take(limits, fast, a_caller("r2"))
        assert refusal is not None
        assert refusal.reason is Reason.RATE_LIMITED
        assert refusal.retry_after_ms is not None
        assert (len(limits), limits.refused_full) == (2, 1)
        assert await take(limits, fast, a_caller("r1")) is not None  # it was not evicted
        await asyncio.sleep(0.99)
        assert now_or_never(limits.take("new", slow, a_caller("r1"))) is not None
        await asyncio.sleep(0.02)
        assert now_or_never(limits.take("new", slow, a_caller("r1"))) is None
        assert now_or_never(limits.take("slow", slow, a_caller("r1"))) is not None
        assert len(limits) == 2

    loop.run(scenario())


def test_a_bucket_with_a_line_is_not_dropped() -> None:
    loop = InstantLoop()

    async def scenario() -> None:
        limits = RateLimits(loop, limit=1)
        rule = a_rule(requests=1, per_s=1.0, scope=RateScope.RUN, max_wait_s=10)
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(limits.take("t", rule, a_caller("r1")))
            await asyncio.sleep(2.5)
            assert await take(limits, rule, a_caller("r2")) is not None

    loop.run(scenario())


def test_a_flood_of_runs_stays_in_bounds() -> None:
    loop = InstantLoop()

    async def scenario() -> None:
        limits = RateLimits(loop, limit=50)
        rule = a_rule(requests=1, per_s=1.0, scope=RateScope.RUN)
        for index in range(2000):
            await take(limits, rule, a_caller(f"r{index}"))
        assert (len(limits), limits.refused_full) == (50, 1950)
        await asyncio.sleep(1.1)
        for index in range(2000, 2050):
            assert await take(limits, rule, a_caller(f"r{index}")) is None

    loop.run(scenario())


async def test_only_the_clock_it_was_given_empties_a_bucket() -> None:
    clock = FakeClock()
    limits = RateLimits(clock)
    rule = a_rule(requests=1, per_s=1000)
    assert await take(limits, rule) is None
    clock.advance(999)
    assert await take(limits, rule) is not None
    clock.advance(1)
    assert await take(limits, rule) is None


async def test_a_bucket_with_a_line_is_not_dropped_even_if_its_time_is_over() -> None:
    clock = FakeClock()
    limits = RateLimits(clock, limit=1)
    rule = a_rule(requests=1, per_s=1000, scope=RateScope.RUN, max_wait_s=10_000)
    assert await take(limits, rule, a_caller("r1")) is None
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(limits.take("t", rule, a_caller("r1")))
        await asyncio.sleep(0)
        clock.advance(1000)
        assert await take(limits, rule, a_caller("r2")) is not None
        waiter.cancel()


def test_the_bucket_unused_longest_makes_room_even_if_others_are_older() -> None:
    loop = InstantLoop()

    async def scenario() -> None:
        limits = RateLimits(loop, limit=2)
        rule = a_rule(requests=1, per_s=1.0, scope=RateScope.RUN)
        assert await take(limits, rule, a_caller("r1")) is None
        assert await take(limits, rule, a_caller("r2")) is None
        await asyncio.sleep(0.5)
        assert await take(limits, rule, a_caller("r1")) is not None
        await asyncio.sleep(0.6)
        assert await take(limits, rule, a_caller("r3")) is None

    loop.run(scenario())
