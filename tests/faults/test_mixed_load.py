"""F72: mixed load, in this process and for seconds; `make soak` plays hours of it."""

import asyncio
import re
from collections import Counter

import orjson
import pytest
import uvloop

from tests.conformance.world import CONNECT, END, GET, POST, World
from tests.fakes.network import PUBLIC
from tests.fakes.origin import OK
from tests.fakes.sidecar import read_answer
from tests.fakes.sockets import open_files
from tests.fakes.waiting import until
from tests.faults.fault import Fault, Run, run_on
from tests.faults.world import a_world, settled
from tests.numbered import NumberedTests

FAULTS = (
    Fault(
        72,
        "hours of mixed load",
        "Every call is answered and recorded once, and nothing grows: `make soak` for hours, here "
        "for seconds.",
        ("ok", "tool_not_allowed", "max_tool_calls", "upstream_connect"),
    ),
)
faults = NumberedTests()

SOAK_S = 5.0
RUN_LIMIT = 50
SOAK_POLICY = f"""\
runtime: {{env: {{AGENT_MAX_TOOL_CALLS: {RUN_LIMIT}, AGENT_MAX_STEPS: 1000000}}}}
tools:
  allowlist: [a, dark]
  retries: {{max: 0}}
  catalog:
    a: {{match: [{{host: a.test}}], tunnel: {{raw: true}}}}
    dark: {{match: [{{host: dark.test, ports: [81]}}]}}
    other: {{match: [{{host: off.test}}]}}
"""


@faults("F72: five seconds of mixed load on sixteen connections: each count is exact")
async def _soak() -> None:
    async with a_world(policy=SOAK_POLICY) as world:
        world.network.answers["dark.test"] = [[PUBLIC]]
        tasks_before = len(asyncio.all_tasks())
        files_before = open_files()
        end_s = asyncio.get_running_loop().time() + SOAK_S
        heard: dict[str, Counter[str]] = {}
        await asyncio.gather(*(one_client(world, n, end_s, heard) for n in range(16)))
        await settled(world.sidecar)
        recorded = {run: Counter[str]() for run in heard}
        for record in world.sidecar.records:
            assert record.caller is not None
            recorded[record.caller.run_id][str(record.code)] += 1
        assert recorded == heard
        check_budgets(world, heard)
        assert len(world.origin.heads) == sum(answers["ok"] for answers in heard.values())
        world.sidecar.booth.pool.close()
        await until(lambda: len(asyncio.all_tasks()) <= tasks_before)
        await until(lambda: open_files() <= files_before)
    written = world.sidecar.sink.data.splitlines()
    assert len(written) == len({orjson.loads(line)["call_id"] for line in written})
    assert len(written) == len(world.sidecar.records)


def check_budgets(world: World, heard: dict[str, Counter[str]]) -> None:
    """Each run has used what its client heard of, and was refused when that was all it had."""
    used = {run.run_id: run.tool_calls for run in world.sidecar.booth.ledger.runs_table.every()}
    for run, answers in heard.items():
        assert used[run] == answers["ok"] + answers["upstream_connect"]
        assert (used[run] == RUN_LIMIT) or not answers["max_tool_calls"]
    assert sum(answers["max_tool_calls"] > 0 for answers in heard.values()) >= 16


async def one_client(
    world: World, number: int, end_s: float, heard: dict[str, Counter[str]]
) -> None:
    """A client that asks for one thing after the other on one connection, and what each of its runs
    hears; when one has used its calls, it begins another."""
    loop = asyncio.get_running_loop()
    reader, writer = await world.sidecar.open()
    rounds = 0
    while loop.time() < end_s or rounds < 2:
        rounds += 1
        run = f"run-{number}-{rounds}"
        answers = heard[run] = Counter()
        line = f"X-Agent-Run-Id: {run}\r\n".encode()
        while not answers["max_tool_calls"]:
            for raw in asked(line):
                writer.write(raw)
                answers[told(await read_answer(reader))] += 1
            answers[await through_tunnel(world, line)] += 1
    writer.close()


def asked(line: bytes) -> tuple[bytes, ...]:
    """A read, a write, what is not allowed, and what nobody answers."""
    return (
        GET + line + END,
        POST + line + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        GET.replace(b"a.test", b"off.test") + line + END,
        GET.replace(b"a.test", b"dark.test:81") + line + END,
    )


async def through_tunnel(world: World, line: bytes) -> str:
    """A tunnel of its own, and something that goes both ways in it."""
    reader, writer = await world.sidecar.open()
    writer.write(CONNECT[:-2] + line + END)
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 200 "):
        writer.write(b"\x00neither TLS nor HTTP\r\n\r\n")
        assert (await read_answer(reader)).endswith(b"ok")
        head = OK
    writer.close()
    return told(head)


def told(got: bytes) -> str:
    """The code that an answer says."""
    found = re.search(rb"\r\nToolbooth-Code: (\w+)\r\n", got)
    if found is None:
        assert got.startswith(b"HTTP/1.1 200 "), got
        return "ok"
    return found[1].decode()


@pytest.mark.parametrize("run", faults.params)
def test_fault(run: Run) -> None:
    run_on(uvloop.new_event_loop, run)
