"""The soak: mixed traffic for a long time, and everything that must not drift meanwhile.

Every call's verdict is known beforehand; records are counted against calls; memory, open files and
gauges are looked at every second. Prints a summary, writes one JSON file and one picture, and ends
with 1 where a verdict was wrong, a record is missing, or something did not come back.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import uvloop
from soak_client import CutError
from soak_picture import picture
from soak_policy import soak_policy
from soak_traffic import SCENES, Scene, World, steady
from soak_watch import Records, memory_verdict, metric_sums, process_sample

from tests.sidecar_command import TOOLBOOTH

_ROOT = Path(__file__).resolve().parents[1]
_HERE = Path(__file__).resolve().parent
_TOKEN = "let-me-in"
_WORKERS = 32
_SETTLES_WITHIN_S = 20.0
_GAUGES = (
    "toolbooth_calls_in_flight", "toolbooth_open_tunnels", "toolbooth_client_connections",
    "toolbooth_runs", "toolbooth_record_queue_depth", "toolbooth_event_loop_lag_max_seconds",
    "toolbooth_calls_total", "toolbooth_records_dropped_total",
)  # fmt: skip
_MUST_END = _GAUGES[:3]


class Sidecar:
    """`toolbooth run` in a process of its own, its records on a pipe."""

    def __init__(self, folder: Path, policy: str) -> None:
        (folder / "policy.yaml").write_text(policy, encoding="utf-8")
        free = {
            f"TOOLBOOTH_{name}_LISTEN": "127.0.0.1:0" for name in ("PROXY", "CONTROL", "HEALTH")
        }
        self.process = subprocess.Popen(
            [*TOOLBOOTH, "run", "--policy", str(folder / "policy.yaml")],
            cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"PATH": os.defpath, "TOOLBOOTH_CONTROL_TOKEN": _TOKEN, **free},
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.records = Records(self.process.stdout)
        self.ports: dict[str, int] = {}
        for line in self.process.stderr:
            words = line.decode().split()
            if words[2:3] == ["on"]:
                self.ports[words[1]] = int(words[3].rpartition(":")[2])
            if line == b"toolbooth: ready\n":
                break
        self._bugs: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        """Each kill and each reload says a line."""
        for line in self.process.stderr or ():
            if b"a bug" in line:
                self._bugs.append(line.decode())

    def metrics(self) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['health']}/metrics") as page:
            read: bytes = page.read()
            return read

    def order(self, method: str, path: str, body: bytes | None, media: str) -> None:
        """One act of an operator; raises unless it was done."""
        headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": media, "If-Match": "*"}
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['control']}{path}", body, headers, method=method
        )
        urllib.request.urlopen(asked).close()

    def stop(self) -> list[str]:
        """End it; what it has said about bugs."""
        self.process.terminate()
        self.process.wait(20)
        self.records.wait_for_end()
        self._listener.join(20)
        return self._bugs


async def _operate(world: World, sidecar: Sidecar, policies: tuple[str, str]) -> None:
    """Kill and revive, reload and reload, for as long as the soak lasts."""
    kill = b'{"reason": "soak"}'
    loop = asyncio.get_running_loop()

    async def order(*act: Any) -> None:
        await loop.run_in_executor(None, sidecar.order, *act)

    while not world.is_over:
        toggle = world.killed
        toggle.is_turning = True
        method, body = ("DELETE", None) if toggle.is_on else ("PUT", kill)
        await order(method, "/v1/switches/tool:killed", body, "application/json")
        toggle.is_on, toggle.turns, toggle.is_turning = not toggle.is_on, toggle.turns + 1, False
        toggle = world.allowed
        toggle.is_turning = True
        text = policies[toggle.is_on].encode()  # the other one
        await order("PUT", "/v1/policy", text, "application/yaml")
        toggle.is_on, toggle.turns, toggle.is_turning = not toggle.is_on, toggle.turns + 1, False
        await asyncio.sleep(0.9)


async def _again(world: World, play: Callable[[World], Awaitable[None]], pause_s: float) -> None:
    """A scene for as long as the soak lasts."""
    while not world.is_over:
        try:
            await play(world)
        except (OSError, CutError, TimeoutError, asyncio.IncompleteReadError) as problem:
            world.judge(play.__name__, f"{type(problem).__name__} {problem}", "an answer")
        await asyncio.sleep(pause_s)


async def _sample(world: World, sidecar: Sidecar, samples: list[dict[str, float]]) -> None:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    while not world.is_over:
        sums = metric_sums(await loop.run_in_executor(None, sidecar.metrics))
        times_s, world.times_s = sorted(world.times_s), []
        samples.append(
            {
                "at_s": round(loop.time() - started_s, 2),
                **process_sample(sidecar.process.pid),
                **{name.removeprefix("toolbooth_"): sums[name] for name in _GAUGES},
                "calls": world.calls.total(),
                "wrong": len(world.wrong),
                "p99_ms": round(times_s[len(times_s) * 99 // 100] * 1000, 2) if times_s else 0.0,
            }
        )
        await asyncio.sleep(1)


async def _soak(
    world: World, sidecar: Sidecar, policies: tuple[str, str], options: argparse.Namespace
) -> list[dict[str, float]]:
    """All traffic, from its beginning to its end."""
    samples: list[dict[str, float]] = []
    pause_s = _WORKERS / options.rate

    async def one_run(world: World) -> None:
        await steady(world, pause_s)

    scenes: list[tuple[Scene, float]] = [(one_run, 0.0)] * _WORKERS
    scenes += [(scene, 0.25) for scene in SCENES for _ in range(2)]
    tasks = [asyncio.create_task(_again(world, play, pause)) for play, pause in scenes]
    tasks += [
        asyncio.create_task(_operate(world, sidecar, policies)),
        asyncio.create_task(_sample(world, sidecar, samples)),
    ]
    await asyncio.sleep(options.seconds)
    world.is_over = True
    await asyncio.gather(*tasks)
    return samples


def _wait_for_calls(sidecar: Sidecar) -> None:
    """Until the calls whose clients have left are over too."""
    give_up_s = time.perf_counter() + _SETTLES_WITHIN_S
    while time.perf_counter() < give_up_s:
        if not metric_sums(sidecar.metrics())["toolbooth_calls_in_flight"]:
            return
        time.sleep(0.2)


def _settle(sidecar: Sidecar, fds_before: float) -> dict[str, float]:
    """Wait until nothing is under way any more; what is left when that takes too long."""
    give_up_s = time.perf_counter() + _SETTLES_WITHIN_S
    while True:
        sums = metric_sums(sidecar.metrics())
        left = {name.removeprefix("toolbooth_"): sums[name] for name in _MUST_END}
        left["fds_more"] = process_sample(sidecar.process.pid)["fds"] - fds_before
        if not any(left.values()) or time.perf_counter() > give_up_s:
            return left
        time.sleep(0.2)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    load_before = os.getloadavg()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        origin = subprocess.Popen(
            [sys.executable, str(_HERE / "soak_origin.py")], stdout=subprocess.PIPE, text=True
        )
        stack.callback(origin.kill)
        assert origin.stdout is not None
        web, echo = map(int, origin.stdout.readline().split())
        closed = 1  # nobody listens on it, and nobody will
        policies = (
            soak_policy(web, echo, closed, reloaded=True),
            soak_policy(web, echo, closed, reloaded=False),
        )
        sidecar = Sidecar(folder, policies[0])
        stack.callback(sidecar.process.kill)
        sidecar.metrics()
        fds_before = process_sample(sidecar.process.pid)["fds"]
        world = World(sidecar.ports["proxy"], web, echo, closed)
        samples = uvloop.run(_soak(world, sidecar, policies, options))
        _wait_for_calls(sidecar)
        origin.kill()  # idle connections to it end with it
        left = _settle(sidecar, fds_before)
        sums = metric_sums(sidecar.metrics())
        bugs = sidecar.stop()
        return _result(options, world, sidecar, samples, left, sums, bugs) | {
            "load_before": load_before
        }


def _result(
    options: argparse.Namespace, world: World, sidecar: Sidecar, samples: list[dict[str, float]],
    left: dict[str, float], sums: Any, bugs: list[str],
) -> dict[str, Any]:  # fmt: skip
    calls, written = world.calls.total(), sidecar.records.count
    dropped = int(sums["toolbooth_records_dropped_total"])
    differ = {
        code: [world.codes[code], sidecar.records.codes[code]]
        for code in sorted(world.codes.keys() | sidecar.records.codes.keys())
        if world.codes[code] != sidecar.records.codes[code]
    }
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "python": sys.version.split()[0]},
        "load_after": os.getloadavg(),
        "seconds": options.seconds,
        "calls": calls,
        "calls_per_s": round(calls / samples[-1]["at_s"]),
        "by_scene": dict(world.calls),
        "wrong": len(world.wrong),
        "wrong_first": world.wrong[:20],
        "records": {
            "written": written, "dropped": dropped, "broken": sidecar.records.broken,
            "missing": calls - written - dropped, "codes_that_differ": differ,
            "codes": dict(sidecar.records.codes),
        },
        "turns": {"kills": world.killed.turns, "reloads": world.allowed.turns},
        "memory": memory_verdict(samples),
        "left": left,
        "bugs": bugs,
        "samples": samples,
    }  # fmt: skip


def _problems(result: dict[str, Any]) -> list[str]:
    """What makes a soak a failure; memory is for people to judge, or for a test."""
    records = result["records"]
    found = [f"{result['wrong']} wrong verdicts"] if result["wrong"] else []
    if records["missing"] or records["broken"]:
        found.append(f"{records['missing']} records missing, {records['broken']} broken")
    if records["codes_that_differ"] and not records["dropped"]:
        found.append(f"codes differ: {records['codes_that_differ']}")
    if any(result["left"].values()):
        found.append(f"left over: {result['left']}")
    return found + result["bugs"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--rate", type=float, default=3000, help="steady calls a second, at most")
    parser.add_argument("--out", type=Path, default=_HERE / "results" / "soak.json")
    parser.add_argument("--picture", type=Path, help="an SVG file")
    return parser.parse_args()


def _main() -> int:
    options = _options()
    result = _run(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result), encoding="utf-8")
    if options.picture:
        options.picture.write_text(picture(result), encoding="utf-8")
    shown = {name: value for name, value in result.items() if name != "samples"}
    print(json.dumps(shown, indent=2))
    problems = _problems(result)
    print("\n".join(problems) or "nothing was wrong, lost or left over")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(_main())
