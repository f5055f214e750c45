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
from tests.faults.fault import Fault, FaultTests, Run, run_on
from tests.faults.world import a_world, open_files, settled, until

FAULTS = (
    Fault(
        72,
        "hours of mixed load",
        "Every call is answered and recorded once, and nothing grows: `make soak` for hours, here "
        "for seconds.",
        ("ok", "tool_not_allowed", "max_tool_calls", "upstream_connect"),
    ),
)
faults = FaultTests()

SOAK_S = 5.0
RUN_LIMIT = 150
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
        heard = await asyncio.gather(*(one_client(world, f"run{n}", end_s) for n in range(16)))
        await settled(world.sidecar)
        await until(lambda: len(world.sidecar.records) == sum(one.total() for one in heard))
        for number, answers in enumerate(heard):
            records = [
                r for r in world.sidecar.records if r.caller and r.caller.run_id == f"run{number}"
            ]
            assert Counter(str(record.code) for record in records) == answers
            used = answers["ok"] + answers["upstream_connect"]
            assert used == RUN_LIMIT
            assert answers["max_tool_calls"] > 0
            run = world.sidecar.booth.ledger.runs_table.every()[number]
            assert run.tool_calls == RUN_LIMIT
        reached = sum(one["ok"] for one in heard)
        assert len(world.origin.heads) == reached
        world.sidecar.booth.pool.close()
        await until(lambda: len(asyncio.all_tasks()) <= tasks_before)
        await until(lambda: open_files() <= files_before)
    written = world.sidecar.sink.data.splitlines()
    assert len(written) == len({orjson.loads(line)["call_id"] for line in written})
    assert len(written) == len(world.sidecar.records)


async def one_client(world: World, run: str, end_s: float) -> Counter[str]:
    """A client that asks for one thing after the other on one connection, and what it hears."""
    line = f"X-Agent-Run-Id: {run}\r\n".encode()
    asks = [
        GET + line + END,
        POST + line + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        GET.replace(b"a.test", b"off.test") + line + END,
        GET.replace(b"a.test", b"dark.test:81") + line + END,
    ]
    heard: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    reader, writer = await world.sidecar.open()
    while loop.time() < end_s:
        for raw in asks:
            writer.write(raw)
            heard[told(await read_answer(reader))] += 1
        heard[await through_tunnel(world, line)] += 1
    writer.close()
    return heard


async def through_tunnel(world: World, line: bytes) -> str:
    """One request inside of a tunnel of its own."""
    reader, writer = await world.sidecar.open()
    writer.write(CONNECT[:-2] + line + END)
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 200 "):
        writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
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
