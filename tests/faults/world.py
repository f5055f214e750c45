"""A sidecar and a scripted origin as in the conformance tests, and what must be true after a fault.

`a_world` looks, when its block ends, at everything a call holds while it is under way: places,
reservations, live calls, tasks of the app, open files. A test that leaves one of them behind
fails, whatever else it found.
"""

import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from unittest.mock import patch

from proxy.model.reason import MEANINGS, Reason
from proxy.upstream.dial import dial
from proxy.upstream.resolver import Address
from tests.conformance.world import POLICY, World
from tests.conformance.world import a_world as a_plain_world
from tests.fakes.origin import Script
from tests.fakes.sidecar import Sidecar
from tests.fakes.sockets import open_files
from tests.fakes.waiting import until


@asynccontextmanager
async def a_world(
    script: Script | None = None, *, policy: str = POLICY, calls: Sequence[str] | None = None
) -> AsyncIterator[World]:
    """`calls`: the outcome codes of all records, in order; None where the test looks itself."""
    files_before = open_files()
    async with a_plain_world(script, policy=policy) as world:
        yield world
        await settled(world.sidecar)
        if calls is not None:
            assert [str(record.code) for record in world.sidecar.records] == list(calls)
    await until(lambda: open_files() <= files_before)


async def settled(sidecar: Sidecar) -> None:
    """Wait until nothing is under way, then see that nothing is held."""
    booth = sidecar.booth
    await until(lambda: len(booth.live) == 0)
    assert booth.slots._in_flight == {}
    assert (booth.early.taken, booth.early.waiting) == (0, 0)
    runs = booth.ledger.runs_table.every()
    assert [run.run_id for run in runs if run.in_flight or run.held_micros or run.held_tokens] == []


@contextmanager
def dialling(world: World, places: Mapping[str, str]) -> Iterator[list[str]]:
    """The dial of production, led from public addresses to loopback ones; ports are led as by the
    world's network. Gives the addresses that it was handed, as they come."""
    handed: list[str] = []

    async def local(addresses: tuple[Address, ...], port: int) -> socket.socket:
        handed.extend(map(str, addresses))
        there = tuple(ip_address(places[str(address)]) for address in addresses)
        return await dial(there, world.network.leads_to[port])

    with patch("proxy.upstream.pool.dial", local):
        yield handed


@contextmanager
def unanswering(host: str, port: int) -> Iterator[None]:
    """Nobody answers a SYN to this loopback address and port: the queue of whoever listens there
    is full of a connection that is never taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listening, socket.socket(family) as first:
        listening.bind((host, port))
        listening.listen(0)
        first.connect((host, port))
        yield


def is_told(got: bytes, code: Reason) -> bool:
    """Is this a whole answer of ours that says `code`?"""
    head, _, content = got.partition(b"\r\n\r\n")
    return (
        head.startswith(b"HTTP/1.1 %d " % MEANINGS[code].status)
        and b"\r\nToolbooth-Code: %b\r\n" % code.encode() in head
        and b"\r\nContent-Length: %d" % len(content) in head
    )
