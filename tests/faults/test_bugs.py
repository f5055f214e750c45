"""F68 and F69: bugs anywhere in a call, and what Python itself may leave out."""

import ast
import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from unittest.mock import patch

import pytest

from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from tests.conformance.world import END, GET, POLICY, World
from tests.fakes.origin import OriginConnection
from tests.fakes.sidecar import read_answer
from tests.fakes.waiting import until
from tests.faults.fault import LOOPS, Fault, NewLoop, Run, run_on
from tests.faults.world import a_world, is_told
from tests.numbered import NumberedTests
from tests.repo.tree import ROOT
from tests.scenarios.processes import bare_environment
from tests.sidecar_command import TOOLBOOTH

FAULTS = (
    Fault(
        68,
        "a bug or a cancellation anywhere in a call",
        "A whole 500 where nothing was sent yet, else a connection cut; the bug is told in the "
        "process log, all is given back, and no later call sees anything of it. A stop ends a call "
        "wherever it waits.",
        ("internal_error", "run_stopped", "ok"),
    ),
    Fault(
        69,
        "Python without asserts, aiohttp without its parser",
        "Nothing depends on an assert. HTTP of agents is read by a parser of our own; a sidecar "
        "whose control port would have a lax one does not start.",
    ),
)
faults = NumberedTests()

# --- F68: bugs ------------------------------------------------------------------------------

STAGES = (
    "handle.find_route", "handle.upload_of", "handle.admit", "handle.hops_left",
    "handle.via_of", "handle.attempt", "attempt._send_and_wait", "handle.relay",
    "relay.relayed_head", "relay._our_lines",
)  # fmt: skip
WAITING = ("handle.admit", "handle.attempt", "attempt._send_and_wait", "handle.relay")
FIRST = GET.replace(b"a.test/", b"a.test/one", 1) + END
SECOND = GET.replace(b"a.test/", b"a.test/two", 1) + END


class BugError(Exception):
    """Nobody foresaw it."""


async def says_path(connection: OriginConnection) -> None:
    """The path of each request."""
    while head := await connection.read_head():
        path = head.split()[1]
        await connection.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path)
        )


async def one_then_two(world: World) -> tuple[bytes, bytes]:
    """The answers to two requests of one connection, sent at once; of another where the first
    closes it."""
    reader, writer = await world.sidecar.open()
    writer.write(FIRST + SECOND)
    first = await read_answer(reader)
    second = await read_answer(reader)
    writer.close()
    return first, second or await world.ask(SECOND)


@contextmanager
def failing_once(place: str, fail: Callable[[], None]) -> Iterator[list[str]]:
    """What stands at this place of the pipeline fails the first time it is come to."""
    met: list[str] = []
    module = sys.modules[f"proxy.pipeline.{place.partition('.')[0]}"]
    name = place.partition(".")[2]
    real = getattr(module, name)

    def failing(*arguments: object, **more: object) -> object:
        if not met:
            met.append(place)
            fail()
        return real(*arguments, **more)

    with patch.object(module, name, failing):
        yield met


def at_stage(place: str) -> Run:
    """A bug at this place of the first of two calls on one connection."""

    def fail() -> None:
        raise BugError

    async def run() -> None:
        async with a_world(says_path, calls=["internal_error", "ok"]) as world:
            with failing_once(place, fail) as met:
                first, second = await one_then_two(world)
            assert met == [place]
            assert is_told(first, Reason.INTERNAL_ERROR), first
            assert b"BugError" not in first
            assert second.endswith(b"/two")
            assert b"/one" not in first + second
            assert [type(bug) for bug in world.sidecar.bugs] == [BugError]
            world.sidecar.bugs.clear()
            await until(lambda: held_open(world) == world.sidecar.booth.pool.idle_count)

    return run


def held_open(world: World) -> int:
    """Connections of the origin that the sidecar has not closed."""
    return len(world.origin._writers)


for _place in STAGES:
    faults(f"F68: a bug in {_place} is a whole 500, and the next call sees nothing of it")(
        at_stage(_place)
    )


def stopped_at(place: str) -> Run:
    """A call that waits at this place for ever is stopped by an operator."""

    async def run() -> None:
        async with a_world(says_path, calls=["run_stopped", "ok"]) as world:
            waits = asyncio.Event()

            async def wait(*_: object, **__: object) -> None:
                waits.set()
                await asyncio.Event().wait()

            with patch(f"proxy.pipeline.{place}", wait):
                reader, writer = await world.sidecar.open()
                writer.write(FIRST)
                await asyncio.wait_for(waits.wait(), 5)
            writer.write(SECOND)
            (call,) = world.sidecar.booth.live
            call.stop(Refusal(Reason.RUN_STOPPED, "An operator has stopped it."))
            assert is_told(await read_answer(reader), Reason.RUN_STOPPED)
            second = await read_answer(reader) or await world.ask(SECOND)
            assert second.endswith(b"/two")
            writer.close()
            await until(lambda: held_open(world) == world.sidecar.booth.pool.idle_count)

    return run


for _place in WAITING:
    faults(f"F68: a stop is heard where a call waits in {_place}")(stopped_at(_place))


@faults("F68: a bug in the middle of an answer cuts it, and nothing else")
async def _bug_in_answer() -> None:
    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            await connection.send(BEGUN)
            if len(connection.origin.heads) == 1:
                await goes_on.wait()
            await connection.send(b"5\r\nagain\r\n0\r\n\r\n")

    goes_on = asyncio.Event()
    async with a_world(script, calls=["internal_error", "ok"]) as world:
        reader, writer = await world.sidecar.open()
        writer.write(FIRST)
        await reader.readuntil(b"hello\r\n")
        with patch("proxy.pipeline.visit.Visit.charge_bytes", side_effect=BugError):
            goes_on.set()
            assert not (await read_to_the_end(reader)).endswith(b"0\r\n\r\n")
        writer.close()
        assert (await world.ask(SECOND)).endswith(b"helloagain")
        assert [type(bug) for bug in world.sidecar.bugs] == [BugError]
        world.sidecar.bugs.clear()
        await until(lambda: held_open(world) == world.sidecar.booth.pool.idle_count)


@faults("F68: a bug between two attempts is a 500, and closes the connection it had")
async def _bug_between_attempts() -> None:
    async def script(connection: OriginConnection) -> None:
        while await connection.read_head():
            await connection.send(b"HTTP/1.1 503 No\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n")

    policy = POLICY.replace("{max: 0}", "{max: 2, backoff_ms: [1, 2]}")
    async with a_world(script, policy=policy, calls=["internal_error"]) as world:
        with patch("proxy.pipeline.attempt.parse_retry_after", side_effect=BugError):
            assert is_told(await world.ask(FIRST), Reason.INTERNAL_ERROR)
        assert [type(bug) for bug in world.sidecar.bugs] == [BugError]
        world.sidecar.bugs.clear()
        await until(lambda: held_open(world) == 0)


@asynccontextmanager
async def losing() -> AsyncIterator[list[dict[str, Any]]]:
    """What nobody takes is told to the loop, whose word goes to the process log."""
    lost: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: lost.append(context))
    yield lost
    loop.set_exception_handler(before)


BEGUN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"


async def read_to_the_end(reader: asyncio.StreamReader) -> bytes:
    """What comes before the connection ends, by a close or by a reset."""
    got = b""
    with suppress(ConnectionResetError):
        async with asyncio.timeout(5):
            while part := await reader.read(65536):
                got += part
    return got


@faults("F68: a record that cannot be made is a bug; the call's answer and the next calls stay")
async def _bug_in_record() -> None:
    async with a_world(says_path) as world, losing() as lost:
        sidecar = world.sidecar
        reader, writer = await sidecar.open()
        for number in range(3):  # the first one dials, the others find a connection open
            report, sidecar.booth.report = sidecar.booth.report, failing_report
            writer.write(FIRST)
            assert (await read_answer(reader)).endswith(b"/one")
            await until(lambda met=number: len(sidecar.bugs) + len(lost) > met)  # type: ignore[misc]
            sidecar.booth.report = report
        writer.write(SECOND)
        assert (await read_answer(reader)).endswith(b"/two")
        writer.close()
        met = [*sidecar.bugs, *(context["exception"] for context in lost)]
        assert [type(bug) for bug in met] == [BugError] * 3
        sidecar.bugs.clear()


def failing_report(*_: object) -> None:
    raise BugError


# --- F69: Python itself ---------------------------------------------------------------------


def asserts_in(source: str) -> list[ast.Assert]:
    """Every assert of a module."""
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]


def is_only_for_types(node: ast.Assert) -> bool:
    """`x is not None` and no call in it: what it says is known, it does nothing."""
    test = node.test
    return (
        isinstance(test, ast.Compare)
        and [type(operator) for operator in test.ops] == [ast.IsNot]
        and isinstance(test.comparators[0], ast.Constant)
        and test.comparators[0].value is None
        and not any(
            isinstance(part, ast.Call | ast.NamedExpr | ast.Await) for part in ast.walk(test)
        )
    )


@faults("F69: an assert says what is known of a type, with the reason beside it, and does nothing")
async def _asserts() -> None:
    met = 0
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in asserts_in(source):
            where = f"{path}:{node.lineno}"
            met += 1
            assert is_only_for_types(node), where
            is_demo = path.is_relative_to(ROOT / "proxy" / "demo")
            assert is_demo or "# noqa: S101 - " in lines[node.lineno - 1], where
            assert not isinstance(getattr(node, "msg", None), ast.expr), where
    assert met > 0
    assert not is_only_for_types(asserts_in("assert take(x) is not None")[0])
    assert not is_only_for_types(asserts_in("assert x.is_allowed")[0])


@faults("F69: without its C parser nothing starts, and the proxy port never used one")
async def _no_c_parser() -> None:
    environment = {**bare_environment(), "AIOHTTP_NO_EXTENSIONS": "1"}
    done = await asyncio.to_thread(
        subprocess.run,
        [*TOOLBOOTH, "run", "--policy", "/nowhere"],
        env=environment, cwd=ROOT, capture_output=True, text=True, timeout=25, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "aiohttp runs without its C parser" in done.stderr
    assert "Traceback" not in done.stderr
    for folder in ("listeners", "wire", "pipeline", "upstream"):
        for path in (ROOT / "proxy" / folder).glob("*.py"):
            source = ast.parse(path.read_text(encoding="utf-8"))
            assert "aiohttp" not in imported(source), path


def imported(module: ast.Module) -> set[str]:
    """The packages it imports."""
    names: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("run", faults.params)
def test_fault(run: Run, new_loop: NewLoop) -> None:
    run_on(new_loop, run)
