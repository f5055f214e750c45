"""Steps the coroutine of one call: at once as far as it goes, by hand from promise to promise, and
as a task from the first time it waits for something of asyncio's.

Most calls never get there: their request has come whole and a connection to their upstream is
open. Such a call takes no task, no future and no turn of the event loop of its own.
"""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from proxy.model.promise import HAND_OVER, STEPPING, Promise
from proxy.pipeline.live import Spawn

_Walk = Coroutine[Any, Any, None]


class Walker:
    """One call's. `on_over` is told once, when the coroutine has ended, however it did. `spawn`
    runs the rest of it as a task."""

    __slots__ = ("_is_to_cancel", "_on_over", "_promise", "_spawn", "_task", "_walk", "loop")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, spawn: Spawn, on_over: Callable[[], None]
    ) -> None:
        self.loop = loop
        self._spawn = spawn
        self._on_over = on_over
        self._walk: _Walk | None = None  # until it is over
        self._promise: Promise[Any] | None = None
        self._task: asyncio.Task[Any] | None = None  # once it has taken its first step
        self._is_to_cancel = False

    def start(self, walk: _Walk) -> None:
        """Take the first step."""
        self._walk = walk
        self._step()

    def cancel(self) -> None:
        """Have `CancelledError` raised where the coroutine waits, in another turn of the loop. If
        it has ended by then, it has ended by itself."""
        if self._task is not None:
            self._task.cancel()
        elif not self._is_to_cancel:
            self._is_to_cancel = True  # a task that has not begun looks for this when it does
            self.loop.call_soon(self._cancel)

    def _cancel(self) -> None:
        promise, self._promise = self._promise, None
        if self._walk is not None and promise is not None:
            self._is_to_cancel = False
            promise.resume = None
            self._step(asyncio.CancelledError())

    def _resume(self) -> None:
        self._promise = None
        self._step()

    def _step(self, problem: BaseException | None = None) -> None:
        walk = self._walk
        if walk is None:
            return
        before, STEPPING.is_by_hand = STEPPING.is_by_hand, True
        try:
            awaited = walk.send(None) if problem is None else walk.throw(problem)
        except StopIteration:
            self._end()
            return
        except Exception as bug:  # noqa: BLE001 - whoever stepped it has nothing to do with it
            self._end()
            self._spawn(_tell(bug))
            return
        finally:
            STEPPING.is_by_hand = before
        if awaited.__class__ is Promise:
            self._promise = awaited
            awaited.resume = self._resume
        else:
            self._spawn(self._go_on(walk, awaited))

    def _end(self) -> None:
        self._walk = None
        self._on_over()

    async def _go_on(self, walk: _Walk, awaited: object) -> None:
        """The rest of the coroutine, as a task."""
        self._task = asyncio.current_task()
        if self._is_to_cancel and self._task is not None:
            self._is_to_cancel = False
            self._task.cancel()
        try:
            await _rest(walk, awaited)
        finally:
            self._end()


async def _tell(bug: Exception) -> None:
    """Where the bugs of tasks are told."""
    raise bug


@types.coroutine
def _rest(walk: _Walk, awaited: object) -> Generator[Any, None, None]:
    """Hand what `walk` waits for on to the task that runs this, and back what comes of it."""
    while True:
        thrown: BaseException | None = None
        try:
            if awaited is not HAND_OVER:
                yield awaited
        except BaseException as problem:  # noqa: BLE001 - cancelled or closed: its own business
            thrown = problem
        try:
            awaited = walk.send(None) if thrown is None else walk.throw(thrown)
        except StopIteration:
            return
