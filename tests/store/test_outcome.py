"""What a writer's thread says, heard on the event loop."""

import asyncio
from threading import Thread

import pytest

from proxy.store.outcome import OnEnd, expect_outcome
from proxy.store.store import StoreError


def _from_a_thread(tell: OnEnd, error: StoreError | None) -> None:
    thread = Thread(target=tell, args=(error,))
    thread.start()
    thread.join()


@pytest.mark.parametrize("error", [None, StoreError("full")], ids=["written", "failed"])
async def test_what_a_thread_tells_is_heard(error: StoreError | None) -> None:
    outcome, tell = expect_outcome()
    _from_a_thread(tell, error)
    async with asyncio.timeout(5):
        assert await outcome is error


async def test_what_comes_after_the_waiting_was_given_up_disturbs_nobody() -> None:
    troubles: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: troubles.append(context))
    outcome, tell = expect_outcome()
    outcome.cancel()
    _from_a_thread(tell, None)
    await asyncio.sleep(0)
    assert outcome.cancelled()
    assert troubles == []


def test_a_loop_that_has_ended_is_told_nothing() -> None:
    async def expect() -> tuple[asyncio.Future[StoreError | None], OnEnd]:
        return expect_outcome()

    outcome, tell = asyncio.run(expect())
    tell(None)
    assert not outcome.done()
