"""What is asked of the figures: each target with its bound, and whether a run meets it (pure)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Whole = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target in words, and what was found."""

    what: str
    bound: str
    found: str
    is_met: bool


def verdicts(whole: Whole) -> list[Verdict]:
    """Those whose figures are there, in the order of the page."""
    found = []
    for target in (*_ratios(), *_plain()):
        try:
            value = target.read(whole)
        except KeyError:  # that part, or that peer, has not been run
            continue
        bound, shown = (f"{each:.{target.digits}f}{target.unit}" for each in (target.bound, value))
        found.append(Verdict(target.what, bound, shown, value <= target.bound))
    return found


@dataclass(frozen=True, slots=True)
class _Target:
    what: str
    bound: float
    read: Callable[[Whole], float]
    unit: str = ""
    digits: int = 2


def _ratios() -> Iterator[_Target]:
    said = {"get": "small GET", "post": "POST of 2 KiB", "64k": "64 KiB answer"}
    for workload, what in said.items():
        bound = 1.0 if workload == "64k" else 0.75
        yield _Target(f"CPU of a {what} to Envoy's", bound, _cpu_to("envoy", f"{workload} 32"))
    for workload, what in said.items():
        read = _cpu_to("mitmproxy", f"{workload} 32")
        yield _Target(f"CPU of a {what} to mitmproxy's", 0.06, read, digits=3)


def _plain() -> Iterator[_Target]:
    yield _Target("tunnel CPU a GB to Envoy's", 1.15, _tunnel_to_envoy)
    yield _Target("added p99 at 200 calls/s", 1.0, lambda w: _added_p99_us(w, "toolbooth") / 1000,
                  " ms")  # fmt: skip
    yield _Target("the same, less Envoy's", 0.0, _p99_less_envoys_ms, " ms")
    yield _Target("RSS after load", 80, lambda w: _memory(w, "after_load_bytes") / 2**20, " MiB", 1)
    yield _Target("growth an idle connection", 12,
                  lambda w: _memory(w, "per_idle_connection_bytes") / 1024, " KiB", 1)  # fmt: skip
    yield _Target("start to ready", 0.5, lambda w: _of(w, "start", "start", "start_s"), " s")
    yield _Target("CPU at 10,000 tools to 10", 1.1, lambda w: _ratio(w, "tools", "10000"))
    yield _Target("CPU at 1,000,000 live runs to 1", 1.1, lambda w: _ratio(w, "runs", "1000000"))


def _of(whole: Whole, part: str, case: str, figure: str, subject: str = "toolbooth") -> float:
    return float(whole[part]["figures"][case][subject][figure])


def _cpu_to(peer: str, case: str) -> Callable[[Whole], float]:
    def read(whole: Whole) -> float:
        own = _of(whole, "calls", case, "cpu_us_per_request")
        return own / _of(whole, "calls", case, "cpu_us_per_request", peer)

    return read


def _tunnel_to_envoy(whole: Whole) -> float:
    own = _of(whole, "tunnels", "bulk", "cpu_us_per_unit")
    return own / _of(whole, "tunnels", "bulk", "cpu_us_per_unit", "envoy")


def _added_p99_us(whole: Whole, subject: str) -> float:
    return _of(whole, "latency", "200 a second", "added_p99_us", subject)


def _p99_less_envoys_ms(whole: Whole) -> float:
    return (_added_p99_us(whole, "toolbooth") - _added_p99_us(whole, "envoy")) / 1000


def _memory(whole: Whole, figure: str) -> float:
    return _of(whole, "memory", "memory", figure)


def _ratio(whole: Whole, kind: str, size: str) -> float:
    return _of(whole, "flat", kind, "ratio", size)
