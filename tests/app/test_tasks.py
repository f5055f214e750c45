"""Background work: it ends with its group, fails alone, and leaves nothing unawaited behind."""

import asyncio
import inspect

from proxy.app.tasks import Tasks


async def _forever() -> None:
    await asyncio.Event().wait()


async def test_work_cancelled_before_its_first_step_is_closed() -> None:
    """A task that never starts never awaits its coroutine. Closed by hand, or Python warns, as
    where a process ends just after it has spawned."""
    work = _forever()
    async with asyncio.TaskGroup() as group:
        tasks = Tasks(group, list[BaseException]().append)
        task = tasks.spawn(work)
        tasks.cancel_all()
        await asyncio.wait([task])
    assert task.cancelled()
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED


async def test_ended_work_is_forgotten_however_it_ended() -> None:
    """Done, failed, cancelled: none is kept, and only the failure is reported."""
    reported: list[BaseException] = []
    bug = ZeroDivisionError()

    async def fail() -> None:
        raise bug

    async def end() -> None:
        pass

    async with asyncio.TaskGroup() as group:
        tasks = Tasks(group, reported.append)
        spawned = [tasks.spawn(work) for work in (_forever(), fail(), end())]
        assert len(tasks._tasks) == 3
        await asyncio.wait(spawned[1:])
        tasks.cancel_all()
        await asyncio.wait(spawned)
        assert not tasks._tasks
    assert reported == [bug]
