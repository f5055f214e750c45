"""A promise is awaited in a task as a future is, and steps whoever is stepped by hand."""

import asyncio

import pytest

from proxy.model.promise import HAND_OVER, STEPPING, Promise, into_task


async def take(promise: Promise[int]) -> int:
    return await promise


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STEPPING, "is_by_hand", True)


async def test_a_task_waits_for_it_as_for_a_future() -> None:
    promise: Promise[int] = Promise()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(take(promise))
        await asyncio.sleep(0)
        assert not task.done()
        promise.keep(7)
    assert task.result() == 7


async def test_a_kept_promise_waits_for_nothing() -> None:
    promise: Promise[int] = Promise()
    promise.keep(7)
    with pytest.raises(StopIteration) as end:
        take(promise).send(None)
    assert end.value.value == 7


async def test_a_failed_one_raises_in_whoever_waits() -> None:
    promise: Promise[int] = Promise()
    asyncio.get_running_loop().call_soon(promise.fail, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await promise


async def test_a_cancelled_task_is_not_stepped_by_a_promise_kept_later() -> None:
    promise: Promise[int] = Promise()
    task = asyncio.ensure_future(take(promise))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert promise.resume is None
    promise.keep(7)


@pytest.mark.usefixtures("by_hand")
def test_stepped_by_hand_it_hands_out_itself_and_resumes_at_once() -> None:
    promise: Promise[int] = Promise()
    waiting = take(promise)
    assert waiting.send(None) is promise
    resumed: list[str] = []
    promise.resume = lambda: resumed.append("now")
    promise.keep(7)
    assert resumed == ["now"]
    with pytest.raises(StopIteration) as end:
        waiting.send(None)
    assert end.value.value == 7


@pytest.mark.usefixtures("by_hand")
def test_stepped_by_hand_what_needs_a_task_asks_for_one() -> None:
    async def needs_one() -> None:
        await into_task()

    waiting = needs_one()
    assert waiting.send(None) is HAND_OVER
    with pytest.raises(StopIteration):
        waiting.send(None)


async def test_in_a_task_there_is_nothing_to_ask_for() -> None:
    async def needs_one() -> None:
        await into_task()

    with pytest.raises(StopIteration):
        needs_one().send(None)
