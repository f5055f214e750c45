"""CPU time and memory of a process with all its threads and descendants, read from /proc.

Linux only. `utime + stime` counts every thread, also ended ones, in clock ticks (mostly 10 ms), so
a window should be seconds long.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class CpuReading:
    """Microseconds so far. `tree_us`: the process and its descendants. `core_us`: everything that
    ran on the core in question; what exceeds `tree_us` between two readings is someone else's."""

    tree_us: int
    core_us: int


def read_cpu(root_pid: int | None, core: int) -> CpuReading:
    """Both figures now; a `root_pid` of None reads the core alone."""
    tree_us = 0
    for pid in [] if root_pid is None else process_tree(root_pid):
        tree_us += _process_us(pid)
    return CpuReading(tree_us, _core_us(core))


def process_tree(root_pid: int) -> list[int]:
    """The process and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat_fields(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    tree = [root_pid]
    for pid in tree:  # grows as it is walked
        tree.extend(children.get(pid, ()))
    return tree


def resident_bytes(root_pid: int) -> int:
    """Resident memory of the tree, added up; pages that its processes share count in each."""
    total = 0
    for pid in process_tree(root_pid):
        resident_pages = (_PROC / str(pid) / "statm").read_text().split()[1]
        total += int(resident_pages) * os.sysconf("SC_PAGE_SIZE")
    return total


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from `state` on; None for a process that is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()  # the name before may hold spaces and brackets


def _process_us(pid: int) -> int:
    fields = _stat_fields(pid)
    if fields is None:
        return 0
    utime, stime, waited_utime, waited_stime = (int(field) for field in fields[11:15])
    return (utime + stime + waited_utime + waited_stime) * _TICK_US


def _core_us(core: int) -> int:
    """Busy time of one core: user, nice, system, irq, softirq; not idle, waiting or stolen."""
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _wait, irq, softirq = (int(n) for n in line.split()[1:8])
            return (user + nice + system + irq + softirq) * _TICK_US
    return 0
