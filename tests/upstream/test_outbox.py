"""What is written in a turn leaves at its end, in order, and nothing is lost to what goes wrong."""

import asyncio
from collections.abc import Iterable

import pytest

from proxy.upstream.outbox import MOST_HELD_BYTES, Outbox


class Wire(asyncio.Transport):
    """Notes what was done to it in a list that others share."""

    def __init__(self, name: str, done: list[str], *, fails: bool = False) -> None:
        super().__init__()
        self._name, self._done, self._fails = name, done, fails
        self._is_closing = False

    def write(self, data: object) -> None:
        if self._fails:
            raise RuntimeError(self._name)
        self._done.append(f"{self._name} {len(bytes(data))}")  # type: ignore[call-overload]

    def writelines(self, list_of_data: Iterable[object]) -> None:
        sizes = "+".join(str(len(bytes(data))) for data in list_of_data)  # type: ignore[call-overload]
        self._done.append(f"{self._name} {sizes}")

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True
        self._done.append(f"{self._name} closed")

    def abort(self) -> None:
        self._is_closing = True
        self._done.append(f"{self._name} aborted")


MUCH = b"m" * (MOST_HELD_BYTES + 1)


async def test_pieces_leave_in_their_order_when_the_turn_is_over() -> None:
    done: list[str] = []
    outbox, loop = Outbox(), asyncio.get_running_loop()
    one, other = Wire("one", done), Wire("other", done)
    outbox.write(one, b"1", loop)
    outbox.write(other, b"22", loop)
    outbox.write_together(one, b"33", b"4", loop)
    assert done == []
    await asyncio.sleep(0)
    assert done == ["one 1", "other 2", "one 3"]
    outbox.write(one, b"55555", loop)
    await asyncio.sleep(0)
    assert done[3:] == ["one 5"]


async def test_much_is_written_at_once_behind_what_waits() -> None:
    done: list[str] = []
    outbox, loop = Outbox(), asyncio.get_running_loop()
    wire = Wire("a", done)
    outbox.write(wire, b"1", loop)
    outbox.write(wire, MUCH, loop)
    outbox.write(wire, b"1", loop)
    outbox.write_together(wire, b"head", memoryview(MUCH), loop)
    assert done == ["a 1", "a 16385", "a 1", "a 4+16385"]
    await asyncio.sleep(0)
    assert len(done) == 4


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_what_was_written_before_the_end_leaves_before_it(end: str) -> None:
    done: list[str] = []
    outbox, loop = Outbox(), asyncio.get_running_loop()
    wire = Wire("a", done)
    outbox.write(wire, b"1", loop)
    getattr(outbox, end)(wire)
    await asyncio.sleep(0)
    assert done == ["a 1", "a closed" if end == "close" else "a aborted"]


async def test_a_transport_that_is_closing_gets_nothing_more() -> None:
    done: list[str] = []
    outbox, loop = Outbox(), asyncio.get_running_loop()
    gone, here = Wire("gone", done), Wire("here", done)
    outbox.write(gone, b"1", loop)
    outbox.write(here, b"1", loop)
    gone.close()
    await asyncio.sleep(0)
    outbox.write(gone, MUCH, loop)
    outbox.write_together(gone, b"head", MUCH, loop)
    assert done == ["gone closed", "here 1"]


async def test_one_that_fails_costs_no_other_its_bytes() -> None:
    done: list[str] = []
    outbox, loop = Outbox(), asyncio.get_running_loop()
    bad, good = Wire("bad", done, fails=True), Wire("good", done)
    outbox.write(bad, b"1", loop)
    outbox.write(good, b"1", loop)
    with pytest.raises(RuntimeError, match="bad"):
        outbox.flush()
    await asyncio.sleep(0)
    assert done == ["good 1"]
    outbox.flush()  # nothing is written twice
    assert done == ["good 1"]


async def test_what_is_written_while_it_is_flushed_leaves_in_the_next_turn() -> None:
    """A write may pause its protocol, which may say something."""
    done: list[str] = []
    outbox, loop = Outbox(), asyncio.get_running_loop()

    class Answering(Wire):
        def write(self, data: object) -> None:
            super().write(data)
            if len(done) == 1:
                outbox.write(self, b"22", loop)

    outbox.write(Answering("a", done), b"1", loop)
    await asyncio.sleep(0)
    assert done == ["a 1"]
    await asyncio.sleep(0)
    assert done == ["a 1", "a 2"]
