"""CPU per request of Toolbooth and of proxies that people know, in one interleaved run.

`python bench/compare.py` prints a table and writes the same figures, with every round's, to
`bench/results/`. `bench/README.md` tells how to read them. Everything stays on loopback.
"""

import argparse
import json
import os
import platform
import signal
import socket
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import trustme
from children import ChildError, Children
from configurations import Setting
from cpu import resident_bytes
from peers import SUBJECTS, Subject
from workload import WORKLOADS

BENCH = Path(__file__).resolve().parent
DIRECT = "direct"
_OWN_COUNTS = ("calls", "sampled_calls", "records_dropped", "captures_dropped")
_START_S = 20.0
_MARGIN_S = 30.0  # connecting, draining and the interpreter's own start, beyond the window


@dataclass(frozen=True, slots=True)
class Running:
    """A subject that is up. `pid` None: no proxy, the load goes straight to the upstream."""

    name: str
    port: int
    pid: int | None
    metrics_port: int | None = None
    trust: Path | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One window of one subject, in what the table shows."""

    requests: int
    seconds: float
    cpu_us_per_request: float
    requests_per_s: float
    p50_us: float
    p99_us: float
    core_percent: float  # of the proxy's core, by the proxy
    others_percent: float  # of the proxy's core, by anything else


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
        results = {name: _measure(name, subjects, options) for name in options.workload}
    except ChildError as error:
        print(error, file=sys.stderr)
        return 1
    report = {
        "date": started_at,
        "machine": _machine(),
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


def _measure(
    workload: str, subjects: list[Subject], options: argparse.Namespace
) -> dict[str, object]:
    """All subjects stay up from the first round to the last; only one at a time has work."""
    with (
        tempfile.TemporaryDirectory(prefix="compare-") as folder,
        Children(Path(folder)) as children,
    ):
        command = [sys.executable, str(BENCH / "upstream.py"), workload]
        upstream_ca = None
        if WORKLOADS[workload].is_tls:
            subjects = [each for each in subjects if each.opens_tls]
            upstream_ca, certificate = _certify(Path(folder))
            command.append(str(certificate))
        upstream_port = children.start_announced(command, options.load_core)
        behind = (upstream_port, upstream_ca)
        running = [Running(DIRECT, upstream_port, None, trust=upstream_ca)]
        running += [_start(each, children, Path(folder), behind, options) for each in subjects]
        rounds: dict[str, list[Round]] = {each.name: [] for each in running}
        for number in range(options.rounds):
            shift = number % len(running)
            for each in running[shift:] + running[:shift]:
                print(
                    f"{workload}: round {number + 1}/{options.rounds}, {each.name}", file=sys.stderr
                )
                rounds[each.name].append(_round(each, children, workload, upstream_port, options))
        counted = {each.name: _own_count(each.metrics_port) for each in running}
        resident = {each.name: resident_bytes(each.pid) for each in running if each.pid}
    return {
        name: {**_summary(of, resident.get(name)), "own_count": counted[name]}
        for name, of in rounds.items()
    }


def _start(
    subject: Subject,
    children: Children,
    folder: Path,
    behind: tuple[int, Path | None],
    options: argparse.Namespace,
) -> Running:
    port, *spare_ports = _free_ports(3)
    setting = Setting(folder, port, (spare_ports[0], spare_ports[1]), *behind)
    launch = subject.launch(setting)
    pid = children.start(launch.command, options.proxy_core, launch.environment)
    give_up_at = time.perf_counter() + _START_S
    while not _accepts(port):
        children.require_alive(pid)
        if time.perf_counter() > give_up_at:
            raise ChildError(f"{subject.name} does not listen:\n{children.said()}")
        time.sleep(0.1)
    return Running(subject.name, port, pid, launch.metrics_port, launch.trust)


def _certify(folder: Path) -> tuple[Path, Path]:
    """A CA, and what it vouches for 127.0.0.1 with: key and chain in one file."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    trusted, served = folder / "upstream-ca.pem", folder / "upstream.pem"
    authority.cert_pem.write_to_path(str(trusted))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(served))
    return trusted, served


def _round(
    subject: Running,
    children: Children,
    workload: str,
    upstream_port: int,
    options: argparse.Namespace,
) -> Round:
    command = [sys.executable, str(BENCH / "load.py"), "--workload", workload]
    command += ["--port", str(subject.port), "--authority", f"127.0.0.1:{upstream_port}"]
    command += ["--core", str(options.proxy_core), "--connections", str(options.connections)]
    command += ["--runs", str(options.runs)]
    command += ["--seconds", str(options.seconds), "--warm-up-s", str(options.warm_up_s)]
    if subject.pid is not None:
        command += ["--pid", str(subject.pid)]
    if WORKLOADS[workload].is_tls:
        command += ["--trust", str(subject.trust)]
    limit_s = options.seconds + options.warm_up_s + _MARGIN_S
    seen = children.answer_of(command, options.load_core, limit_s)
    if seen["failures"] or not seen["completed"]:
        raise ChildError(
            f"{subject.name}: {seen['failures']} failures beside {seen['completed']} answers, "
            f"the first: {seen['first_failure']}\n{children.said()}"
        )
    requests, wall_us, proxy_us = seen["completed"], seen["wall_us"], seen["proxy_cpu_us"]
    return Round(
        requests=requests,
        seconds=wall_us / 1e6,
        cpu_us_per_request=proxy_us / requests,
        requests_per_s=requests / wall_us * 1e6,
        p50_us=seen["p50_us"],
        p99_us=seen["p99_us"],
        core_percent=100 * proxy_us / wall_us,
        others_percent=max(0.0, 100 * (seen["core_cpu_us"] - proxy_us) / wall_us),
    )


def _own_count(metrics_port: int | None) -> dict[str, float] | None:
    """What the sidecar says it did, so that work it did not do (nothing sampled, records dropped)
    cannot pass for speed. Labels are added up."""
    if metrics_port is None:
        return None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{metrics_port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    names = {f"toolbooth_{name}_total": name for name in _OWN_COUNTS}
    counts = dict.fromkeys(_OWN_COUNTS, 0.0)
    for line in lines:
        metric = line.split("{", 1)[0].split(" ", 1)[0]
        if metric in names:
            counts[names[metric]] += float(line.rsplit(" ", 1)[1])
    return counts


def _summary(rounds: list[Round], resident: int | None) -> dict[str, object]:
    """Medians over the rounds; for CPU also the lowest and the highest."""
    cpu = [each.cpu_us_per_request for each in rounds]
    medians = {
        name: round(median(getattr(each, name) for each in rounds), 2)
        for name in Round.__dataclass_fields__
    }
    spread = {"cpu_us_lowest": round(min(cpu), 2), "cpu_us_highest": round(max(cpu), 2)}
    return {**medians, **spread, "rss_bytes": resident, "rounds": [asdict(each) for each in rounds]}


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


def _machine() -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _free_ports(count: int) -> list[int]:
    """Held together, so that they differ. Someone else may still take one before its use."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=["get"])
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SUBJECTS,
        default=[name for name, each in SUBJECTS.items() if not each.is_asked_for],
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
