"""Watches how much memory the process has, and frees what it can where that is too much."""

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

from proxy.guards.memory import MemoryMark

_EVERY_S = 0.05
_TRIM_EVERY = 20  # looks; the heap is locked meanwhile
_SHARE = 0.8  # of the limit of our cgroup
_UNLIMITED = 1 << 60  # how version 1 writes that there is none
STATM = Path("/proc/self/statm")
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def memory_mark(soft_bytes: int | None) -> MemoryMark:
    """`soft_bytes` is what the operator has set, 0 for none; None: four fifths of what the
    container may have, and none where it may have any amount."""
    if soft_bytes is None:
        soft_bytes = int(cgroup_limit_bytes(_LIMITS) * _SHARE)
    return MemoryMark(soft_bytes)


def cgroup_limit_bytes(files: tuple[Path, ...]) -> int:
    """What the first of `files` that can be read says; 0: there is no limit."""
    for file in files:
        try:
            text = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        return int(text) if text.isdigit() and int(text) < _UNLIMITED else 0
    return 0


def resident_bytes() -> int:
    """Memory of this process (Linux)."""
    return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def watch_memory(mark: MemoryMark, let_go: Callable[[], None]) -> None:
    """For as long as the process runs; `let_go` closes what can be had again. Python frees memory
    without giving it back to the system, which counts what it has given."""
    loop = asyncio.get_running_loop()
    looks = 0
    if not STATM.exists():  # noqa: ASYNC240 - once, and no disk
        return
    while mark.mark_bytes:
        await asyncio.sleep(_EVERY_S)
        mark.note(resident_bytes())
        if mark.is_over and looks % _TRIM_EVERY == 0:
            let_go()
            await loop.run_in_executor(None, _trim_heap)
        looks = looks + 1 if mark.is_over else 0


def _trim_heap() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if trim is not None:
        trim(0)
