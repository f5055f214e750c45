"""The part of `make bench` that asks whether a call costs the same in a big world as in a small
one: many tools in the catalogue, many live runs.
"""

import argparse
import json
import os
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from children import Children
from cpu import process_tree, resident_bytes
from peers import Subject
from rounds import BENCH

_TOOLS = (10, 100, 1_000, 10_000)
_RUNS = (1, 1_000, 100_000, 1_000_000)
_CALLERS = (1, 100, 1_000, 20_000)  # more would measure the load generator
_LIMIT_S = 60.0


def flat(subjects: list[Subject], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """CPU per call of the data path alone (no control port, no log file), small GET; `ratio` is to
    the smallest of its row. All sizes are up at once, and take turns. `tools`: so many in the
    catalogue, 1,000 runs calling in turn. `runs`: so many are live, and one of them calls.
    `callers`: so many of a million live runs call in turn."""
    del subjects
    return {
        "tools": _sizes([(size, 1_000, 1_000) for size in _TOOLS], 0, options),
        "runs": _sizes([(10, size, 1) for size in _RUNS], 1, options),
        "callers": _sizes([(10, _RUNS[-1], size) for size in _CALLERS], 2, options),
    }


def _sizes(
    worlds: list[tuple[int, int, int]], varied: int, options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="flat-") as folder, Children(Path(folder)) as children:
        command = [sys.executable, str(BENCH / "upstream.py"), "get"]
        upstream_port = children.start_announced(command, options.load_core)
        found: dict[str, dict[str, Any]] = {}
        places: dict[str, tuple[int, int, int]] = {}
        for world in worlds:
            report = Path(folder) / f"{world[varied]}.json"
            name = str(world[varied])
            port, pid = _fill(children, world, upstream_port, report, options)
            places[name] = (port, pid, world[2])
            found[name] = {"rounds": [], **json.loads(report.read_text())}
            found[name]["rss_bytes"] = resident_bytes(pid)
        names = list(places)
        for number in range(options.rounds):
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                print(f"flat: round {number + 1}/{options.rounds}, {name}", file=sys.stderr)
                cost_us = _cost_us(children, places[name], upstream_port, options)
                found[name]["rounds"].append(cost_us)
    for each in found.values():
        each["cpu_us_per_request"] = median(each["rounds"])
        each["ratio"] = each["cpu_us_per_request"] / found[names[0]]["cpu_us_per_request"]
    return found


def _fill(
    children: Children,
    world: tuple[int, int, int],
    upstream_port: int,
    report: Path,
    options: argparse.Namespace,
) -> tuple[int, int]:
    before = set(process_tree(os.getpid()))
    # The proxy is the build that is installed, its surroundings are of the tree.
    places = f"PYTHONPATH={sysconfig.get_path('platlib')}:{BENCH.parent}"
    command = ["/usr/bin/env", places, sys.executable, "-P", "-m", "bench.filled"]
    command += [str(upstream_port), str(world[0]), str(world[1]), str(report)]
    started_at = time.perf_counter()
    port = children.start_announced(command, options.proxy_core)
    print(f"flat: {world} took {time.perf_counter() - started_at:.1f} s", file=sys.stderr)
    [pid] = set(process_tree(os.getpid())) - before
    return port, pid


def _cost_us(
    children: Children,
    place: tuple[int, int, int],
    upstream_port: int,
    options: argparse.Namespace,
) -> float:
    port, pid, callers = place
    command = [sys.executable, str(BENCH / "load.py"), "--workload", "get", "--port", str(port)]
    command += ["--authority", f"127.0.0.1:{upstream_port}", "--pid", str(pid)]
    command += ["--core", str(options.proxy_core), "--runs", str(callers)]
    command += ["--seconds", str(options.seconds), "--connections", "32"]
    seen = children.answer_of(command, options.load_core, _LIMIT_S)
    if seen["failures"]:
        raise RuntimeError(seen["first_failure"])
    return float(seen["proxy_cpu_us"] / seen["completed"])
