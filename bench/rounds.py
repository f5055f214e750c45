"""Rounds: each subject in turn gets the same load for a while, and what it took is read.

What every part of `bench/` that runs whole proxies is made of.
"""

import argparse
import os
import platform
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
from peers import Subject
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
    started_s: float = 0.0  # from its start until it was ready


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


def measure(
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
        running += [start(each, children, Path(folder), behind, options) for each in subjects]
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


def start(
    subject: Subject,
    children: Children,
    folder: Path,
    behind: tuple[int, Path | None],
    options: argparse.Namespace,
    *,
    is_opaque: bool = False,
) -> Running:
    """Returns when it accepts connections; where it can be asked, when it says that it is ready."""
    port, *spare_ports = free_ports(3)
    setting = Setting(folder, port, (spare_ports[0], spare_ports[1]), *behind, is_opaque)
    launch = subject.launch(setting)
    started_at = time.perf_counter()
    pid = children.start(launch.command, options.proxy_core, launch.environment)
    give_up_at = started_at + _START_S
    while not _is_ready(port, launch.metrics_port):
        children.require_alive(pid)
        if time.perf_counter() > give_up_at:
            raise ChildError(f"{subject.name} does not listen:\n{children.said()}")
        time.sleep(0.005)
    took_s = time.perf_counter() - started_at
    return Running(subject.name, port, pid, launch.metrics_port, launch.trust, took_s)


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


def machine() -> dict[str, object]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def free_ports(count: int) -> list[int]:
    """Held together, so that they differ. Someone else may still take one before its use."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _is_ready(port: int, health_port: int | None) -> bool:
    if health_port is None:
        return accepts(port)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(f"http://127.0.0.1:{health_port}/readyz", timeout=1).close()
    except OSError:  # an error's status too
        return False
    return accepts(port)


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True
