"""Look-ups that hang, fail to start, or outlive those who asked."""

import asyncio
import subprocess
import sys
import threading
from unittest.mock import patch

import pytest

from proxy.model.clock import SystemClock
from proxy.model.errors import UpstreamFailed
from proxy.model.reason import Reason
from proxy.upstream.resolver import _MAX_PENDING, _MAX_THREADS, Resolver
from tests.repo.tree import ROOT

_HANGS = """
import asyncio, threading
from proxy.model.clock import SystemClock
from proxy.upstream.resolver import Resolver

async def main():
    resolver = Resolver(SystemClock(), lambda _: threading.Event().wait())
    waiting = asyncio.ensure_future(resolver.resolve("dead.test"))
    await asyncio.sleep(0.05)
    assert [thread.name for thread in threading.enumerate()][1:] == ["dns"]
    waiting.cancel()
    resolver.close()

asyncio.run(main())
print("over")
"""


async def test_look_ups_beyond_the_threads_wait_for_one() -> None:
    """And beyond those that may wait, they fail at once."""
    release, running = threading.Event(), threading.Semaphore(0)

    def lookup(host: str) -> list[str]:
        running.release()
        release.wait(20)
        return ["8.8.4.4"]

    resolver = Resolver(SystemClock(), lookup)
    waiting = [asyncio.ensure_future(resolver.resolve(f"{n}.test")) for n in range(_MAX_PENDING)]
    await asyncio.sleep(0)
    with pytest.raises(UpstreamFailed, match="pending") as caught:
        await resolver.resolve("more.test")
    assert caught.value.reason is Reason.UPSTREAM_DNS
    for _ in range(_MAX_THREADS):
        assert await asyncio.to_thread(running.acquire, timeout=20)
    assert not running.acquire(blocking=False)
    release.set()
    async with asyncio.timeout(20):
        found = await asyncio.gather(*waiting)
    assert {str(addresses[0]) for addresses in found} == {"8.8.4.4"}
    assert (len(resolver._pending), resolver._running) == (0, 0)


async def test_a_look_up_that_cannot_start_fails_and_leaves_no_place_taken() -> None:
    resolver = Resolver(SystemClock(), lambda _: ["8.8.4.4"])
    with patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread")):
        with pytest.raises(UpstreamFailed, match="started") as caught:
            await resolver.resolve("a.test")
        assert caught.value.reason is Reason.UPSTREAM_DNS
    assert [str(address) for address in await resolver.resolve("b.test")] == ["8.8.4.4"]
    assert (len(resolver._pending), resolver._running) == (0, 0)


async def test_a_bug_in_a_look_up_is_raised_where_it_is_awaited_and_not_remembered() -> None:
    answers: list[list[str]] = []
    resolver = Resolver(SystemClock(), lambda _: answers.pop())
    with pytest.raises(IndexError):
        await resolver.resolve("a.test")
    answers.append(["8.8.4.4"])
    assert [str(address) for address in await resolver.resolve("a.test")] == ["8.8.4.4"]
    assert (len(resolver._pending), resolver._running) == (0, 0)


def test_an_answer_after_the_loop_has_closed_is_nobodys() -> None:
    release = threading.Event()

    def lookup(host: str) -> list[str]:
        release.wait(20)
        return ["8.8.4.4"]

    async def ask() -> threading.Thread:
        resolver = Resolver(SystemClock(), lookup)
        waiting = asyncio.ensure_future(resolver.resolve("a.test"))
        await asyncio.sleep(0)
        waiting.cancel()
        return next(thread for thread in threading.enumerate() if thread.name == "dns")

    thread = asyncio.run(ask())
    release.set()
    thread.join(20)  # an error in it would be a warning, and that an error
    assert not thread.is_alive()


def test_a_look_up_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HANGS], cwd=ROOT, capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")
