"""Bodies read before their calls are admitted: how many at once, and who gives a place back."""

import asyncio

import pytest

from proxy.guards.places import Places
from proxy.model.reason import Reason
from proxy.pipeline import early
from proxy.pipeline.upload import MAX_KEPT_BYTES
from tests.fakes.origin import Origin
from tests.fakes.sidecar import Sidecar, policy_text, read_answer
from tests.fakes.waiting import until

PRICED = "kind: model\npricing: {input_usd_per_mtok: 3, output_usd_per_mtok: 15}\n"
MCP = "kind: mcp\n"
LOOPS = "budgets: {loop_limit: 5}\n"
EARLY = [
    pytest.param(PRICED, "", id="a priced model"),
    pytest.param("", LOOPS, id="loop detection"),
    pytest.param(MCP, "", id="an MCP server"),
]


def policy(port: int, tool: str, extra: str) -> str:
    return policy_text(port, tool=f"upstream: http://127.0.0.1:{port}\n{tool}", extra=extra)


def post(*lines: str, length: int = 8) -> bytes:
    named = "".join(f"{line}\r\n" for line in ("Host: booth", f"Content-Length: {length}", *lines))
    return f"POST /tools/echo/a HTTP/1.1\r\n{named}\r\n".encode()


@pytest.mark.parametrize(("tool", "extra"), EARLY)
async def test_only_so_many_are_read_at_once(tool: str, extra: str) -> None:
    """The next one waits its turn; beyond those who may wait it is told so, with one record.
    Whoever leaves gives the place back."""
    async with Origin() as origin, Sidecar(policy(origin.port, tool, extra)) as sidecar:
        places = sidecar.booth.early = Places(2, 2, most_waiting=1)
        raw = post("Content-Type: application/json") + b"half"
        writers = []
        for _ in range(3):
            _, writer = await sidecar.open()
            writer.write(raw)
            writers.append(writer)
        await until(lambda: (places.taken, places.waiting) == (2, 1))
        reader, writer = await sidecar.open()
        writer.write(raw)
        answer = await read_answer(reader)
        assert b"Toolbooth-Code: busy\r\n" in answer
        assert b"being read" in answer
        assert [record.code for record in sidecar.records] == [Reason.BUSY]
        writers[0].transport.abort()
        await until(lambda: (places.taken, places.waiting) == (2, 0))
        for one in (writer, *writers[1:]):
            one.transport.abort()
        await until(lambda: places.taken == 0)
        assert origin.connections == []


@pytest.mark.parametrize(("tool", "extra"), EARLY[:2])
async def test_what_has_come_or_is_not_kept_takes_no_place(tool: str, extra: str) -> None:
    async with Origin() as origin, Sidecar(policy(origin.port, tool, extra)) as sidecar:
        sidecar.booth.early = Places(0, 0, most_waiting=0)
        answer = await sidecar.exchange(post() + b"whole...")
        assert answer.startswith(b"HTTP/1.1 200 ")
        large = MAX_KEPT_BYTES + 1
        answer = await sidecar.exchange(post(length=large) + b"x" * large)
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_broken_body_gives_its_place_back() -> None:
    async with Origin() as origin, Sidecar(policy(origin.port, PRICED, "")) as sidecar:
        head = post().replace(b"Content-Length: 8", b"Transfer-Encoding: chunked")
        reader, writer = await sidecar.open()
        writer.write(head + b"4\r\nhalf\r\n")
        await until(lambda: sidecar.booth.early.taken == 1)
        writer.write(b"no size\r\n")
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 400 ")
        writer.close()
        assert sidecar.booth.early.taken == 0
        assert len(sidecar.records) == 1


async def test_a_client_that_waits_is_told_to_go_on_once_it_has_a_place() -> None:
    async with Origin() as origin, Sidecar(policy(origin.port, PRICED, "")) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(post("Expect: 100-continue"))
        async with asyncio.timeout(5):
            assert await reader.readuntil(b"\r\n\r\n") == early.CONTINUE
        writer.write(b"whole...")
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 200 ")
        sidecar.booth.early = Places(0, 0, most_waiting=0)
        writer.write(post("Expect: 100-continue"))
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 503 ")
        writer.close()
