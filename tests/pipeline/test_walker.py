"""A walk goes on by hand as long as it can, in a task from then on, and ends once, told once."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from proxy.app.tasks import Tasks
from proxy.model.promise import STEPPING, Promise, into_task
from proxy.pipeline.walker import Walker

Start = Callable[[Coroutine[Any, Any, None]], Walker]


class Yard:
    """Starts walks and notes when they are over."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.bugs: list[BaseException] = []
        self.over = 0
        self.spawned = 0
        self._tasks = Tasks(group, self.bugs.append)

    def start(self, walk: Coroutine[Any, Any, None]) -> Walker:
        walker = Walker(asyncio.get_running_loop(), self._spawn, self._end)
        walker.start(walk)
        return walker

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        self.spawned += 1
        return self._tasks.spawn(work)

    def _end(self) -> None:
        self.over += 1


@pytest.fixture
async def yard() -> AsyncIterator[Yard]:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        yield Yard(group)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_waits_for_nothing_is_over_when_it_has_started(yard: Yard) -> None:
    async def walk() -> None:
        assert asyncio.current_task() is None or STEPPING.is_by_hand

    yard.start(walk())
    assert (yard.over, yard.spawned) == (1, 0)
    assert not STEPPING.is_by_hand


async def test_who_keeps_the_promise_takes_the_walk_on(yard: Yard) -> None:
    first: Promise[str] = Promise()
    second: Promise[str] = Promise()
    seen: list[str] = []

    async def walk() -> None:
        seen.append(await first)
        seen.append(await second)

    yard.start(walk())
    first.keep("a")
    assert seen == ["a"]
    second.keep("b")
    assert seen == ["a", "b"]
    assert (yard.over, yard.spawned) == (1, 0)


async def test_the_first_future_makes_it_a_task(yard: Yard) -> None:
    promise: Promise[str] = Promise()
    seen: list[object] = []

    async def walk() -> None:
        await asyncio.sleep(0.001)
        seen.append(asyncio.current_task())
        async with asyncio.timeout(1):
            await asyncio.sleep(0)
        seen.append(await promise)

    yard.start(walk())
    assert (yard.over, yard.spawned) == (0, 1)
    await asyncio.sleep(0.01)
    promise.keep("late")
    await settle()
    assert isinstance(seen[0], asyncio.Task)
    assert seen[1] == "late"
    assert (yard.over, yard.spawned) == (1, 1)


async def test_into_task_lets_it_use_what_needs_one(yard: Yard) -> None:
    seen: list[str] = []

    async def walk() -> None:
        await into_task()
        async with asyncio.timeout(1):
            seen.append("in time")

    yard.start(walk())
    await settle()
    assert (seen, yard.over, yard.bugs) == (["in time"], 1, [])


async def test_a_bare_yield_to_the_loop_is_one_in_a_task_too(yard: Yard) -> None:
    async def walk() -> None:
        await asyncio.sleep(0)

    yard.start(walk())
    await settle()
    assert yard.over == 1


async def test_cancelled_by_hand_it_hears_of_it_where_it_waits_and_not_at_once(yard: Yard) -> None:
    promise: Promise[str] = Promise()
    heard: list[str] = []

    async def walk() -> None:
        try:
            await promise
        except asyncio.CancelledError:
            heard.append("cancelled")

    walker = yard.start(walk())
    walker.cancel()
    walker.cancel()
    assert heard == []
    await settle()
    assert (heard, yard.over, promise.resume) == (["cancelled"], 1, None)


async def test_a_promise_kept_before_the_cancelling_arrives_has_ended_the_walk(yard: Yard) -> None:
    promise: Promise[str] = Promise()
    seen: list[str] = []

    async def walk() -> None:
        seen.append(await promise)

    walker = yard.start(walk())
    walker.cancel()
    promise.keep("first")
    await settle()
    assert (seen, yard.over) == (["first"], 1)


async def test_cancelled_before_its_task_has_begun_it_is_still_entered(yard: Yard) -> None:
    """A task that is cancelled before its first step never runs, and the walk in it would never
    end: no record, no place given back."""
    heard: list[str] = []

    async def walk() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            heard.append("cancelled")

    walker = yard.start(walk())
    walker.cancel()
    await settle()
    assert (heard, yard.over) == (["cancelled"], 1)


async def test_cancelled_in_its_task(yard: Yard) -> None:
    heard: list[str] = []

    async def walk() -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            heard.append("cancelled")
            await asyncio.sleep(0)
            heard.append("and done")

    walker = yard.start(walk())
    await settle()
    walker.cancel()
    await settle()
    assert (heard, yard.over) == (["cancelled", "and done"], 1)


async def test_what_it_does_after_cancelling_may_wait(yard: Yard) -> None:
    promise: Promise[str] = Promise()
    heard: list[str] = []

    async def walk() -> None:
        try:
            await promise
        finally:
            await asyncio.sleep(0)
            heard.append("cleaned up")

    walker = yard.start(walk())
    walker.cancel()
    await settle()
    assert (heard, yard.over, yard.spawned) == (["cleaned up"], 1, 1)


async def test_a_bug_ends_it_and_is_told_as_that_of_a_task_is(yard: Yard) -> None:
    """Whoever keeps the promise is another connection, which must not be ended by it."""
    promise: Promise[str] = Promise()

    async def walk() -> None:
        await promise
        raise ValueError("a bug")

    yard.start(walk())
    promise.keep("go")
    assert yard.over == 1
    assert not STEPPING.is_by_hand
    await settle()
    assert [str(bug) for bug in yard.bugs] == ["a bug"]


async def test_a_walk_started_inside_of_anothers_step(yard: Yard) -> None:
    """The one inside may need a task, the one outside goes on by hand."""
    inner: Promise[str] = Promise()
    outer: Promise[str] = Promise()
    seen: list[str] = []

    async def inside() -> None:
        seen.append(await inner)
        await into_task()
        seen.append("a task" if asyncio.current_task() is not None else "no task")

    async def outside() -> None:
        yard.start(inside())
        seen.append(await outer)

    yard.start(outside())
    inner.keep("inner")
    outer.keep("outer")
    await settle()
    assert seen == ["inner", "outer", "a task"]
    assert yard.over == 2
