"""Background work, all in one task group."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any


class Tasks:
    """Spawns into a task group; a failing task is reported and fails alone."""

    def __init__(self, group: asyncio.TaskGroup, report: Callable[[BaseException], None]) -> None:
        self._group = group
        self._report = report
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run `work` in the background. Cancelled before its first step, it is closed unrun."""
        task = self._group.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(partial(self._forget, work))
        return task

    def _forget(self, work: Coroutine[Any, Any, None], task: "asyncio.Task[None]") -> None:
        work.close()  # `_guard` may have been cancelled before it came to await it
        self._tasks.discard(task)

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as bug:  # noqa: BLE001 - one broken task must not end all others
            self._report(bug)

    def cancel_all(self) -> None:
        """The process is ending."""
        for task in tuple(self._tasks):
            task.cancel()
