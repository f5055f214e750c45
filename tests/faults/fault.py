"""One line of the list of faults, and how its tests are run."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import pytest
import uvloop

Run = Callable[..., Coroutine[Any, Any, None]]
NewLoop = Callable[[], asyncio.AbstractEventLoop]

# Production runs uvloop, whose sockets and TLS are its own.
LOOPS = (
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(uvloop.new_event_loop, id="uvloop"),
)


class Fault(NamedTuple):
    """`becomes`: what a caller and an operator see of it, with the code in backticks. `deviation`:
    what is otherwise than one would expect of a proxy, and why; empty where nothing is. `codes`
    are the outcome codes that the records of its calls have, empty where no call is touched."""

    number: int
    what: str
    becomes: str
    codes: tuple[str, ...] = ()
    deviation: str = ""


def run_on(new_loop: NewLoop, run: Run) -> None:
    """One scenario on a loop of its own, which nobody leaves an error in that nobody took."""
    lost: list[dict[str, Any]] = []

    async def bounded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
        async with asyncio.timeout(30):
            await _accept_once()
            await run()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(bounded())
    assert lost == [], lost


async def _accept_once() -> None:
    """At its first accept uvloop opens a file, which it keeps: no leak of whoever comes later."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await reader.read()
    writer.close()
    server.close()
