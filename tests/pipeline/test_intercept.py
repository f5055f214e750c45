"""Which tunnels are opened and read, and what refuses them before a byte is read."""

import asyncio

import pytest

from proxy.model.reason import Reason
from tests.fakes.sidecar import Sidecar
from tests.fakes.tunnel import connect_head

AUTHORITY = "tool.localhost:4443"


def document(allowlist: str = "[reader, writer]", extra: str = "", **lines: str) -> str:
    """`reader` and `writer` share a host and port; only the second asks for interception."""
    entries = {
        "reader": "methods: [GET]}], effect: read",
        "writer": "methods: [POST]}], effect: write, intercept_tls: true",
        **lines,
    }
    match = "match: [{host: tool.localhost, ports: [4443], "
    catalog = "".join(
        f'    {name}: {{{match}{rest}, allow_addresses: ["127.0.0.0/8"]}}\n'
        for name, rest in entries.items()
    )
    return f"tools:\n  allowlist: {allowlist}\n{extra}  catalog:\n{catalog}"


async def first_line(sidecar: Sidecar, *lines: str) -> str:
    reader, writer = await sidecar.open()
    writer.write(connect_head(AUTHORITY, *lines))
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    return line.decode().strip().removeprefix("HTTP/1.1 ")


RUN = "Proxy-Authorization: Basic cjE6"  # the run `r1`
GRANTED = "200 Connection established"
MCP = "}], kind: mcp, effect: write, intercept_tls: true"
OPENINGS = [
    pytest.param(document(), (), GRANTED, id="one tool that reads is enough"),
    pytest.param(document("[reader]"), (), GRANTED, id="though it is not allowed itself"),
    pytest.param(document("[]"), (), "403 tool_not_allowed reader", id="none allowed"),
    pytest.param(document(), ("tool:reader",), GRANTED, id="one of two killed"),
    pytest.param(document(), ("tool:reader", "tool:writer"), "403 tool_disabled reader",
                 id="all killed"),
    pytest.param(document("[writer]"), ("tool:writer",), "403 tool_disabled writer",
                 id="a switch says more than the allowlist"),
    pytest.param(document(), ("writes",), GRANTED, id="writes are off, and one tool reads"),
    pytest.param(document("[writer]"), ("writes",), "403 writes_disabled writer",
                 id="writes are off, and no tool reads"),
    pytest.param(document("[writer.*]", writer=MCP), ("writes",), GRANTED,
                 id="writes are off, and an MCP server has more to say"),
    pytest.param(document("[writer.*]", writer=MCP), ("tool:writer",), "403 tool_disabled writer",
                 id="an MCP server killed"),
    pytest.param(document(), ("all",), "403 all_disabled reader", id="all calls are off"),
    pytest.param(document(), ("run:r1",), "403 run_stopped reader", id="the run is stopped"),
    pytest.param(document(extra="  disabled: [reader, writer]\n"), (), "403 tool_disabled reader",
                 id="switched off by the file"),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "switches", "line"), OPENINGS)
async def test_a_connect_is_refused_only_where_nothing_inside_could_pass(
    policy: str, switches: tuple[str, ...], line: str
) -> None:
    async with Sidecar(policy) as sidecar:
        for key in switches:
            sidecar.booth.switches.engage(key, "a test", "test")
        assert await first_line(sidecar, RUN) == line


async def test_a_literal_address_that_may_not_be_dialled_is_refused() -> None:
    text = document(writer="methods: [POST]}], intercept_tls: true").replace(
        "tool.localhost", "127.0.0.1"
    )
    async with Sidecar(text.replace(', allow_addresses: ["127.0.0.0/8"]', "")) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(connect_head("127.0.0.1:4443"))
        assert (await reader.readline()) == b"HTTP/1.1 403 address_denied reader\r\n"
        writer.close()


async def test_it_takes_no_budget_and_no_slot_and_dials_nothing() -> None:
    """A run that has nothing left still gets its tunnel: what is wrong is told inside it."""
    text = "runtime:\n  env: {AGENT_MAX_TOOL_CALLS: 0}\n" + document()
    text = text.replace("  catalog:", "  concurrency: {default: 1}\n  catalog:")
    async with Sidecar(text) as sidecar:
        assert sidecar.booth.slots.acquire("reader", 1) is None
        assert await first_line(sidecar, RUN) == GRANTED
        async with asyncio.timeout(5):
            while not sidecar.records:
                await asyncio.sleep(0.005)
        record = sidecar.records[0]
        assert (record.code, record.attempts) == (Reason.CLIENT_GONE, 0)
        assert record.cost_micros == 0
        assert sidecar.booth.slots.in_flight("reader") == 1
        sidecar.booth.slots.release("reader")
