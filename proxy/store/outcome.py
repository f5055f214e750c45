"""What a writer's thread says of a write, heard on the event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from proxy.store.store import StoreError

OnEnd = Callable[[StoreError | None], None]


def expect_outcome() -> tuple[asyncio.Future[StoreError | None], OnEnd]:
    """A future of the running loop, and what sets it from any thread. Once nobody waits for the
    future any more, or its loop has ended, telling it is without effect."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[StoreError | None] = loop.create_future()

    def settle(error: StoreError | None) -> None:
        if not outcome.done():
            outcome.set_result(error)

    def tell(error: StoreError | None) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it who asked
            loop.call_soon_threadsafe(settle, error)

    return outcome, tell
