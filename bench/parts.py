"""The parts of `make bench`: each runs whole proxies, one behind the other, and returns figures.

A part takes the subjects and the options of `bench/speed.py` and returns
`{case: {subject: {figure: value}}}`; `rounds` in it are what the medians were made of.
"""

import argparse
import socket
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import debian
from children import ChildError, Children
from cpu import resident_bytes
from peers import Subject
from rounds import BENCH, DIRECT, Running, measure, start
from tunnel_load import MODES, client_hello
from workload import WORKLOADS

Figures = dict[str, dict[str, dict[str, Any]]]
Part = Callable[[list[Subject], argparse.Namespace], Figures]

_CONNECTIONS = (1, 32, 256)
# Where only the size of the pile differs, the slow and the special ones are left out.
_AT_EVERY_SIZE = ("toolbooth", "envoy", "mitmproxy")
_LIMIT_S = 60.0
_IDLE = 10_000
_TUNNELS = 1_000
_MICROSECONDS_PER_GB = 1e9


def calls(subjects: list[Subject], options: argparse.Namespace) -> Figures:
    """Absolute-form calls: what each costs, at three numbers of connections."""
    kept = [each for each in subjects if each.keeps_alive]
    found: Figures = {}
    for workload in ("get", "post", "64k"):
        for connections in _CONNECTIONS:
            chosen = kept
            if connections != 32:
                chosen = [each for each in kept if each.name in _AT_EVERY_SIZE]
            given = _with(options, connections=connections)
            found[f"{workload} {connections}"] = measure(workload, chosen, given)  # type: ignore[assignment]
    return found


def by_wrk(subjects: list[Subject], options: argparse.Namespace) -> Figures:
    """The calls at 32 connections once more, asked for by wrk. Its runs last whole seconds."""
    kept = [each for each in subjects if each.keeps_alive]
    if not debian.unpack("wrk"):
        raise ChildError("wrk cannot be had here")
    return {workload: _by_wrk(workload, kept, options) for workload in ("get", "post", "64k")}


def _by_wrk(
    workload: str, subjects: list[Subject], options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    with _running(subjects, options, workload) as (children, running, upstream_port):
        rounds: dict[str, list[dict[str, float]]] = {each.name: [] for each in running}
        for _, each in _turns(running, options.rounds, f"wrk, {workload}"):
            command = _load_command("wrk_load.py", each, upstream_port)
            command += ["--workload", workload, "--runs", str(options.runs)]
            command += ["--seconds", str(max(1, round(options.seconds)))]
            command += ["--core", str(options.proxy_core)]
            if each.pid is not None:
                command += ["--pid", str(each.pid)]
            seen = _answer(children, command, options)
            if seen["failures"] or not seen["completed"]:
                raise ChildError(f"{each.name}: {seen}")
            seen["cpu_us_per_request"] = seen["proxy_cpu_us"] / seen["completed"]
            seen["requests_per_s"] = seen["completed"] / seen["wall_us"] * 1e6
            rounds[each.name].append(seen)
    return {name: _medians(of) for name, of in rounds.items()}


def intercepted(subjects: list[Subject], options: argparse.Namespace) -> Figures:
    """HTTPS whose TLS the proxy opens: calls in tunnels that stay, and a new tunnel for each."""
    given = _with(options, connections=32)
    return {name: measure(name, subjects, given) for name in ("intercepted", "tunnels")}  # type: ignore[misc]


def tunnels(subjects: list[Subject], options: argparse.Namespace) -> Figures:
    """Tunnels nobody opens: new ones, round trips through open ones, and bytes."""
    return {mode: _tunnels_of(mode, subjects, options) for mode in MODES}


def _tunnels_of(
    mode: str, subjects: list[Subject], options: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    chosen = [each for each in subjects if each.does_connect]
    with _running(chosen, options, "endless" if mode == "bulk" else "echo") as world:
        children, running, upstream_port = world
        rounds: dict[str, list[dict[str, float]]] = {each.name: [] for each in running}
        for number, each in _turns(running, options.rounds, f"tunnels, {mode}"):
            del number
            command = _load_command("tunnel_load.py", each, upstream_port)
            command += ["--mode", mode, "--seconds", str(options.seconds)]
            command += ["--core", str(options.proxy_core)]
            if each.pid is not None:
                command += ["--pid", str(each.pid)]
            rounds[each.name].append(_per_unit(mode, _answer(children, command, options)))
    return {name: _medians(of) for name, of in rounds.items()}


def _per_unit(mode: str, seen: dict[str, float]) -> dict[str, float]:
    """CPU per tunnel, per round trip, or per GB; and how many there were in a second."""
    if not seen["done"]:
        raise ChildError(f"nothing came through the tunnels ({mode})")
    units = seen["done"] / (_MICROSECONDS_PER_GB if mode == "bulk" else 1)
    return {
        "cpu_us_per_unit": seen["proxy_cpu_us"] / units,
        "units_per_s": units / seen["wall_us"] * 1e6,
        "p50_us": seen["p50_us"],
        "p99_us": seen["p99_us"],
        "core_percent": 100 * seen["proxy_cpu_us"] / seen["wall_us"],
    }


def latency(subjects: list[Subject], options: argparse.Namespace) -> Figures:
    """What a call takes longer than without a proxy, at 200 calls a second."""
    kept = [each for each in subjects if each.keeps_alive]
    with _running(kept, options, "get") as (children, running, upstream_port):
        rounds: dict[str, list[dict[str, float]]] = {each.name: [] for each in running}
        for _, each in _turns(running, options.rounds, "latency"):
            command = _load_command("paced_load.py", each, upstream_port)
            rounds[each.name].append(_answer(children, command, options))
    direct = rounds[DIRECT]
    for name, of in rounds.items():
        for mine, plain in zip(of, direct, strict=True):
            if name != DIRECT:
                mine["added_p50_us"] = mine["p50_us"] - plain["p50_us"]
                mine["added_p99_us"] = mine["p99_us"] - plain["p99_us"]
    return {"200 a second": {name: _medians(of) for name, of in rounds.items()}}


def memory(subjects: list[Subject], options: argparse.Namespace) -> Figures:
    """Resident bytes: fresh, after load, with idle connections, with tunnels; each in a process
    of its own but the first two."""
    found: Figures = {"memory": {}}
    for subject in subjects:
        if subject.name in _AT_EVERY_SIZE:
            print(f"memory: {subject.name}", file=sys.stderr)
            found["memory"][subject.name] = {
                **_after_load(subject, options),
                **_with_idle(subject, options),
                **_with_tunnels(subject, options),
            }
    return found


def _after_load(subject: Subject, options: argparse.Namespace) -> dict[str, float]:
    with _running([subject], options, "get") as (children, running, upstream_port):
        [mine] = [each for each in running if each.pid is not None]
        fresh = _resident(mine)
        command = [*_load_command("load.py", mine, upstream_port), "--workload", "get"]
        _answer(children, [*command, "--seconds", "8", "--connections", "256"], options)
        return {"idle_bytes": fresh, "after_load_bytes": _resident(mine)}


def _with_idle(subject: Subject, options: argparse.Namespace) -> dict[str, float]:
    """Connections that have sent nothing yet: some proxies take room only then."""
    with _running([subject], options, "get") as (_, running, _port):
        [mine] = [each for each in running if each.pid is not None]
        fresh = _resident(mine)
        held = [socket.create_connection(("127.0.0.1", mine.port), 10) for _ in range(_IDLE)]
        time.sleep(1)
        full = _resident(mine)
        _drop(held)
        return {"per_idle_connection_bytes": (full - fresh) / _IDLE}


def _with_tunnels(subject: Subject, options: argparse.Namespace) -> dict[str, float]:
    with _running([subject], options, "echo") as (_, running, upstream_port):
        [mine] = [each for each in running if each.pid is not None]
        fresh, hello, held = _resident(mine), client_hello(), []
        host = f"127.0.0.1:{upstream_port}"
        for number in range(_TUNNELS):
            each = socket.create_connection(("127.0.0.1", mine.port), 10)
            each.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            answer = each.recv(4096)
            if b" 200 " not in answer:
                raise ChildError(f"{subject.name}: tunnel {number} was answered {answer!r}")
            each.sendall(hello)
            each.recv(4096)
            held.append(each)
        full = _resident(mine)
        _drop(held)
        return {"per_tunnel_bytes": (full - fresh) / _TUNNELS}


def start_up(subjects: list[Subject], options: argparse.Namespace) -> Figures:
    """Seconds from the start of the program until it is ready: by its own word where it has one,
    else by the first connection accepted."""
    found: dict[str, dict[str, Any]] = {}
    for subject in subjects:
        if subject.name in _AT_EVERY_SIZE:
            seconds = []
            for _ in range(max(3, options.rounds)):
                with _running([subject], options, "get") as (_, running, _port):
                    seconds.append(next(each.started_s for each in running if each.pid))
            found[subject.name] = {"start_s": median(seconds), "rounds": seconds}
    return {"start": found}


PARTS: dict[str, Part] = {
    "calls": calls,
    "wrk": by_wrk,
    "intercepted": intercepted,
    "tunnels": tunnels,
    "latency": latency,
    "memory": memory,
    "start": start_up,
}


@contextmanager
def _running(
    subjects: list[Subject], options: argparse.Namespace, kind: str
) -> Iterator[tuple[Children, list[Running], int]]:
    """An upstream (of calls, or what is at the end of tunnels), no proxy, and the subjects."""
    with tempfile.TemporaryDirectory(prefix="speed-") as folder, Children(Path(folder)) as children:
        is_http = kind in WORKLOADS
        program = "upstream.py" if is_http else "tunnel_upstream.py"
        command = [sys.executable, str(BENCH / program), kind]
        port = children.start_announced(command, options.load_core)
        running = [Running(DIRECT, port, None)]
        for each in subjects:
            behind = (port, None)
            is_opaque = not is_http
            running.append(
                start(each, children, Path(folder), behind, options, is_opaque=is_opaque)
            )
        yield children, running, port


def _turns(running: list[Running], rounds: int, title: str) -> Iterator[tuple[int, Running]]:
    """Everyone in every round, in an order that rotates."""
    for number in range(rounds):
        shift = number % len(running)
        for each in running[shift:] + running[:shift]:
            print(f"{title}: round {number + 1}/{rounds}, {each.name}", file=sys.stderr)
            yield number, each


def _load_command(program: str, subject: Running, upstream_port: int) -> list[str]:
    command = [sys.executable, str(BENCH / program), "--port", str(subject.port)]
    return [*command, "--authority", f"127.0.0.1:{upstream_port}"]


def _answer(
    children: Children, command: list[str], options: argparse.Namespace
) -> dict[str, float]:
    return children.answer_of(command, options.load_core, _LIMIT_S)


def _medians(rounds: list[dict[str, float]]) -> dict[str, Any]:
    names = rounds[0]
    return {**{name: median(each[name] for each in rounds) for name in names}, "rounds": rounds}


def _drop(connections: list[socket.socket]) -> None:
    """With a reset: ten thousand closed politely would hold their ports for a minute."""
    for each in connections:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        each.close()


def _resident(subject: Running) -> int:
    if subject.pid is None:
        raise ChildError("only a process has memory")
    return resident_bytes(subject.pid)


def _with(options: argparse.Namespace, **values: object) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(options), **values})
