"""What a call waits for, when whoever has it can take the call on.

asyncio runs a coroutine as a task: to wait takes a future, and one more turn of the event loop
once it is there. A call that finds its upstream connection open waits once, for the answer; and
the connection that has read it may as well step the call itself, there and then. So a coroutine
is either stepped by hand (`proxy.pipeline.walker`) or runs in a task, and a `Promise` can be
awaited in both.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Final, Generic, TypeVar, cast

_T = TypeVar("_T")

HAND_OVER: Final = object()  # yielded by a coroutine that wants to go on in a task


class Stepping:
    """`is_by_hand`: the coroutine that runs right now is stepped by hand. A task inside of such a
    step cannot be, since only the event loop steps those; the other way round it can."""

    __slots__ = ("is_by_hand",)

    def __init__(self) -> None:
        self.is_by_hand = False


STEPPING: Final = Stepping()  # of this process: coroutines run on one thread


class Promise(Generic[_T]):
    """A value that is still to come, or an error; awaited by one coroutine at most. `resume` is
    what that coroutine has to be told; keeping the promise runs it on, so that must be the last
    thing its keeper does."""

    __slots__ = ("_error", "_value", "is_settled", "resume")

    def __init__(self) -> None:
        self.is_settled = False
        self.resume: Callable[[], None] | None = None
        self._value: _T | None = None
        self._error: BaseException | None = None

    def keep(self, value: _T) -> None:
        """Here it is."""
        self._value = value
        self._settle()

    def fail(self, error: BaseException) -> None:
        """It will not come."""
        self._error = error
        self._settle()

    def _settle(self) -> None:
        self.is_settled = True
        resume, self.resume = self.resume, None
        if resume is not None:
            resume()

    def __await__(self) -> Generator[Any, None, _T]:
        if not self.is_settled:
            if STEPPING.is_by_hand:
                yield self
            else:
                yield from self._as_future()
        if self._error is not None:
            raise self._error
        return cast("_T", self._value)

    def _as_future(self) -> Generator[Any, None, None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def resume() -> None:
            if not future.done():
                future.set_result(None)

        self.resume = resume
        try:
            yield from future.__await__()
        finally:
            self.resume = None


class _IntoTask:
    def __await__(self) -> Generator[Any, None, None]:
        if STEPPING.is_by_hand:
            yield HAND_OVER


_INTO_TASK: Final = _IntoTask()


def into_task() -> _IntoTask:
    """To be awaited before anything that has to run in a task, such as `asyncio.timeout`. Whatever
    suspends on a future of asyncio's goes on in a task by itself."""
    return _INTO_TASK
