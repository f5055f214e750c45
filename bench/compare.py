"""CPU per request of Toolbooth and of proxies that people know, in one interleaved run.

`python bench/compare.py` prints a table and writes the same figures, with every round's, to
`bench/results/`. `bench/README.md` tells how to read them. Everything stays on loopback.
"""

import argparse
import json
import os
import signal
import sys
import time

from children import ChildError
from peers import SUBJECTS
from rounds import BENCH, machine, measure
from workload import WORKLOADS


def main() -> int:
    """Exit code 1 if a subject did not start or answered anything but what it should."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `with` blocks are left
    subjects = [SUBJECTS[name] for name in SUBJECTS if name in options.only]
    for subject in subjects:
        subject.install()
    started_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    load_before = os.getloadavg()
    try:
        results = {name: measure(name, subjects, options) for name in options.workload}
    except ChildError as error:
        print(error, file=sys.stderr)
        return 1
    report = {
        "date": started_at,
        "machine": machine(),
        "load_average": {"before": load_before, "after": os.getloadavg()},
        "options": vars(options),
        "versions": {each.name: each.version() for each in subjects},
        "results": results,
    }
    folder = BENCH / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"compare-{started_at.replace(':', '')}.json"
    path.write_text(json.dumps(report, indent=2) + "\n")
    _print_report(report)
    print(f"\nEvery round: {path}")
    return 0


def _print_report(report: dict[str, object]) -> None:
    machine, versions, results = report["machine"], report["versions"], report["results"]
    print(f"\n{report['date']}  {machine['cpu']}, {machine['cores']} cores, {machine['system']}")
    print(
        f"Python {machine['python']}, load average {report['load_average']['before'][0]:.2f} before"
    )
    heads = (
        "cpu us/req",
        "lowest-highest",
        "req/s",
        "p50 ms",
        "p99 ms",
        "RSS MiB",
        "core %",
        "others %",
    )
    for workload, subjects in results.items():
        connections = report["options"]["connections"]
        print(f"\n{workload}: {WORKLOADS[workload].summary}; {connections} connections")
        print(f"{'':22}" + "".join(f"{head:>15}" for head in heads))
        for name, row in subjects.items():
            cells = _cells(row)
            print(f"{name + ' ' + versions.get(name, ''):22}" + "".join(f"{c:>15}" for c in cells))
        for name, row in subjects.items():
            if row["own_count"] is not None:
                _print_own_count(name, row["own_count"])


def _print_own_count(name: str, counts: dict[str, float]) -> None:
    share = 100 * counts["sampled_calls"] / max(1.0, counts["calls"])
    print(
        f"{name} counted {counts['calls']:.0f} calls, warm-up included; sampled {share:.2f} %; "
        f"records dropped: {counts['records_dropped']:.0f}, "
        f"bodies dropped: {counts['captures_dropped']:.0f}"
    )


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    has_proxy = row["rss_bytes"] is not None
    return (
        f"{row['cpu_us_per_request']:.1f}" if has_proxy else "-",
        f"{row['cpu_us_lowest']:.1f}-{row['cpu_us_highest']:.1f}" if has_proxy else "-",
        f"{row['requests_per_s']:.0f}",
        f"{row['p50_us'] / 1000:.2f}",
        f"{row['p99_us'] / 1000:.2f}",
        f"{row['rss_bytes'] / 2**20:.0f}" if has_proxy else "-",
        f"{row['core_percent']:.0f}" if has_proxy else "-",
        f"{row['others_percent']:.0f}",
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=["get"])
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SUBJECTS,
        default=[
            name for name, each in SUBJECTS.items() if each.keeps_alive and not each.is_asked_for
        ],
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--warm-up-s", type=float, default=0.5, help="before each round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--runs", type=int, default=1000, help="run ids the calls come from")
    parser.add_argument("--proxy-core", type=int, default=1)
    parser.add_argument("--load-core", type=int, default=0, help="of load and upstream")
    options = parser.parse_args()
    cores = os.sched_getaffinity(0)
    if not {options.proxy_core, options.load_core} <= cores:
        parser.error(f"this process may use the cores {sorted(cores)} only")
    return options


if __name__ == "__main__":
    sys.exit(main())
