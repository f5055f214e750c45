"""Where the soft mark is, and what is done above it."""

import asyncio
from pathlib import Path

import pytest

from proxy.app import memory
from proxy.app.memory import cgroup_limit_bytes, memory_mark, resident_bytes, watch_memory
from proxy.guards.memory import MemoryMark


def test_what_the_operator_sets_wins() -> None:
    assert memory_mark(1 << 20).mark_bytes == 1 << 20
    assert memory_mark(0).mark_bytes == 0


def test_else_it_is_four_fifths_of_the_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text("536870912\n")
    monkeypatch.setattr(memory, "_LIMITS", (tmp_path / "memory.max",))
    assert memory_mark(None).mark_bytes == int(536870912 * 0.8)


UNLIMITED = [
    pytest.param("max\n", id="cgroup v2"),
    pytest.param("9223372036854771712\n", id="cgroup v1"),
    pytest.param("", id="an empty file"),
]


@pytest.mark.parametrize("text", UNLIMITED)
def test_without_a_limit_there_is_no_mark(text: str, tmp_path: Path) -> None:
    file = tmp_path / "limit"
    file.write_text(text)
    assert cgroup_limit_bytes((tmp_path / "none", file)) == 0
    assert cgroup_limit_bytes((tmp_path / "none",)) == 0


def test_resident_memory_is_that_of_a_python_process() -> None:
    assert 10 << 20 < resident_bytes() < 10 << 30


async def test_above_the_mark_what_can_be_had_again_is_let_go() -> None:
    """At once, and not at every look."""
    mark = MemoryMark(1)
    let_go = asyncio.Event()
    watching = asyncio.ensure_future(watch_memory(mark, let_go.set))
    await asyncio.wait_for(let_go.wait(), 5)
    assert mark.is_over
    watching.cancel()


async def test_without_a_mark_nobody_watches() -> None:
    await asyncio.wait_for(watch_memory(MemoryMark(), lambda: None), 5)
