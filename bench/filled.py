"""A data path that knows many tools and many runs: `python -m bench.filled PORT TOOLS RUNS REPORT`.

The upstream is at PORT. Prints the port of its proxy; the
bytes that a run takes go into the file REPORT. The runs are put into the ledger directly,
under the names the load uses first, so that a million is there in seconds.
"""

import asyncio
import json
import sys
from pathlib import Path

import uvloop

from bench.configurations import Setting, toolbooth_policy
from proxy.app import collector
from proxy.guards.budget import Reservation
from proxy.model.call import Caller, Kind
from tests.fakes.sidecar import ListSink, Sidecar


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def policy_of(upstream_port: int, tools: int) -> str:
    setting = Setting(Path(), 0, (0, 0), upstream_port, tools=tools)
    policy = toolbooth_policy(setting)
    policy["budgets"] |= {"max_runs": 2_000_000}  # type: ignore[operator]
    return json.dumps(policy)


def fill(sidecar: Sidecar, runs: int) -> float:
    """Bytes of resident memory a run."""
    ledger, rule = sidecar.booth.ledger, sidecar.booth.policy.budgets
    before = resident_bytes()
    for number in range(runs):
        # One that calls alone is called `run` by the load, more are counted.
        caller = Caller(f"run-{number:05d}" if number else "run", "", run_given=True)
        held = ledger.reserve(rule, caller, Kind.TOOL, 1000, None)
        assert isinstance(held, Reservation)
        held.settle(1000)
    return (resident_bytes() - before) / runs


async def _serve(upstream_port: int, tools: int, runs: int, report: Path) -> None:
    async with Sidecar(policy_of(upstream_port, tools), sink=_Nowhere()) as sidecar:
        sidecar.records = _Forgetful()
        report.write_text(json.dumps({"bytes_per_run": fill(sidecar, runs)}))
        collector.settle()  # as the process does
        print(sidecar.port, flush=True)
        await asyncio.Event().wait()


class _Nowhere(ListSink):
    """A log nobody keeps. One that is kept grows, and then its growth is what is measured."""

    def write(self, data: memoryview, wait_s: float) -> int:
        return len(data)


class _Forgetful(list):  # type: ignore[type-arg]
    """Records nobody reads here."""

    def append(self, _: object) -> None:
        pass


if __name__ == "__main__":
    _port, _tools, _runs = (int(each) for each in sys.argv[1:4])
    uvloop.run(_serve(_port, _tools, _runs, Path(sys.argv[4])))
