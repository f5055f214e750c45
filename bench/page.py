"""The figures of `bench/speed.json` as the tables of `docs/performance.md` (pure but for `main`).

`python -m bench.page` writes the page and its picture; `tests/repo/test_performance_page.py`
compares. What is asked of the figures stands in `bench/targets.py`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.picture import picture
from bench.targets import verdicts

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "bench" / "speed.json"
COST = ROOT / "tests" / "pipeline" / "cost.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "images" / "performance.svg"
BEGIN = "<!-- figures: begin, written by `python -m bench.page` -->"
END = "<!-- figures: end -->"
_GROWTH = {"tools": "tools", "runs": "live runs",
           "callers": "of 1,000,000 live runs calling in turn"}  # fmt: skip
_TUNNEL_UNITS = {"open": "new tunnels", "echo": "round trips of 64 B", "bulk": "bytes, by the GB"}

Whole = dict[str, Any]


def with_figures(page: str, whole: Whole, bounds: dict[str, int]) -> str:
    """`page` with the block between the markers written anew."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has lost its markers")
    return f"{before}{figures_text(whole, bounds)}{after}"


def figures_text(whole: Whole, bounds: dict[str, int]) -> str:
    """The block between the markers, both included."""
    sections = [_targets(whole), _machine(whole), _calls(whole), _wrk(whole),
                _latency(whole), _tunnels(whole),
                _intercepted(whole), _memory(whole), _flat(whole), _counted(bounds)]  # fmt: skip
    return "\n\n".join([BEGIN, *(each for each in sections if each), END])


def write_page() -> None:
    """Both files anew, from what is there of figures."""
    whole = json.loads(RESULT.read_text())
    bounds = json.loads(COST.read_text())
    PAGE.write_text(with_figures(PAGE.read_text(), whole, bounds))
    PICTURE.write_text(picture(whole))


def _targets(whole: Whole) -> str:
    rows = [
        (each.what, each.bound, each.found, "yes" if each.is_met else "**no**")
        for each in verdicts(whole)
    ]
    return "## Targets\n\n" + _table(("what", "at most", "in this run", "met"), rows)


def _machine(whole: Whole) -> str:
    rows = [
        (name, part["date"], part["machine"]["cpu"], part["machine"]["system"],
         f"{part['rounds']} of {part['seconds']:g} s", f"{part['load_average']['before'][0]:.2f}")
        for name, part in sorted(whole.items())
    ]  # fmt: skip
    versions: dict[str, str] = {}
    for _, part in sorted(whole.items(), key=lambda item: item[1]["date"]):
        versions |= part["versions"] | {"Python": part["machine"]["python"]}
    heads = ("part", "began", "processor", "system", "rounds", "load before")
    said = [f"- {name} {version}" for name, version in sorted(versions.items())]
    return "## The run\n\n" + _table(heads, rows) + "\n\n" + "\n".join(said)


def _calls(whole: Whole) -> str:
    rows = []
    for case, subjects in sorted(_figures(whole, "calls").items(), key=_case_order):
        own = subjects["toolbooth"]["cpu_us_per_request"]
        for name, figure in subjects.items():
            cpu = figure["cpu_us_per_request"]
            rows.append(
                (case, *_cost(name, f"{cpu:.1f}", own, cpu),
                 f"{figure['requests_per_s']:,.0f}", f"{figure['p50_us'] / 1000:.2f}",
                 f"{figure['p99_us'] / 1000:.2f}", f"{figure['others_percent']:.0f}")
            )  # fmt: skip
    heads = ("call, connections", "through", "CPU µs a call", "Toolbooth's to it", "calls/s",
             "p50 ms", "p99 ms", "others % of core")  # fmt: skip
    return _section("Calls", heads, rows)


def _wrk(whole: Whole) -> str:
    rows = []
    for workload, subjects in sorted(_figures(whole, "wrk").items(), key=_case_order):
        own = subjects["toolbooth"]["cpu_us_per_request"]
        for name, figure in subjects.items():
            cpu = figure["cpu_us_per_request"]
            cost = _cost(name, f"{cpu:.1f}", own, cpu)
            rows.append((workload, *cost, f"{figure['requests_per_s']:,.0f}"))
    heads = ("call", "through", "CPU µs a call", "Toolbooth's to it", "calls/s")
    return _section("The same calls, asked for by wrk", heads, rows)


def _latency(whole: Whole) -> str:
    rows = [
        (case, name, f"{figure['p50_us'] / 1000:.2f}", f"{figure['p99_us'] / 1000:.2f}",
         _ms(figure.get("added_p50_us")), _ms(figure.get("added_p99_us")))
        for case, subjects in _figures(whole, "latency").items()
        for name, figure in subjects.items()
    ]  # fmt: skip
    heads = ("calls", "through", "p50 ms", "p99 ms", "added p50 ms", "added p99 ms")
    return _section("Added latency", heads, rows)


def _tunnels(whole: Whole) -> str:
    rows = []
    for mode, subjects in _figures(whole, "tunnels").items():
        own = subjects["toolbooth"]["cpu_us_per_unit"]
        for name, figure in subjects.items():
            cpu, rate = figure["cpu_us_per_unit"], figure["units_per_s"]
            cost = f"{cpu / 1e6:.2f} s a GB" if mode == "bulk" else f"{cpu:.1f} µs"
            speed = f"{rate * 1000:,.0f} MB/s" if mode == "bulk" else f"{rate:,.0f} /s"
            rows.append((_TUNNEL_UNITS[mode], *_cost(name, cost, own, cpu), speed))
    heads = ("what", "through", "CPU", "Toolbooth's to it", "how many")
    return _section("Tunnels", heads, rows)


def _intercepted(whole: Whole) -> str:
    rows = []
    for case, subjects in _figures(whole, "intercepted").items():
        own = subjects["toolbooth"]["cpu_us_per_request"]
        what = "call in a tunnel that stays" if case == "intercepted" else "tunnel with one call"
        rows += [
            (what, name, f"{figure['cpu_us_per_request']:.0f}",
             _ratio(own, figure["cpu_us_per_request"]), f"{figure['requests_per_s']:,.0f}")
            for name, figure in subjects.items()
            if name != "direct"
        ]  # fmt: skip
    heads = ("what", "through", "CPU µs", "Toolbooth's to it", "a second")
    return _section("Intercepted HTTPS", heads, rows)


def _memory(whole: Whole) -> str:
    started = _figures(whole, "start").get("start", {})
    rows = [
        (name, f"{figure['idle_bytes'] / 2**20:.1f}", f"{figure['after_load_bytes'] / 2**20:.1f}",
         f"{figure['per_idle_connection_bytes'] / 1024:.1f}",
         f"{figure['per_tunnel_bytes'] / 1024:.1f}",
         f"{started[name]['start_s']:.2f}" if name in started else "-")
        for name, figure in _figures(whole, "memory").get("memory", {}).items()
    ]  # fmt: skip
    heads = ("program", "RSS fresh, MiB", "after load, MiB", "KiB an idle connection",
             "KiB a tunnel", "start to ready, s")  # fmt: skip
    return _section("Memory and start", heads, rows)


def _flat(whole: Whole) -> str:
    rows = [
        (f"{int(size):,} {_GROWTH[kind]}", f"{figure['cpu_us_per_request']:.1f}",
         f"{figure['ratio']:.2f}",
         f"{figure['bytes_per_run']:,.0f}" if kind == "runs" and int(size) >= 100_000 else "-")
        for kind, sizes in sorted(_figures(whole, "flat").items(), reverse=True)
        for size, figure in sorted(sizes.items(), key=lambda item: int(item[0]))
    ]  # fmt: skip
    heads = ("how large", "CPU µs a call", "to the smallest", "bytes a run")
    return _section("Many tools, many runs", heads, rows)


def _counted(bounds: dict[str, int]) -> str:
    said = {"get": "a small GET", "post": "a POST of 2 KiB", "refused": "a refused call"}
    rows = [(said[kind], f"{bound:,}") for kind, bound in bounds.items()]
    return _section("Python calls", ("one call", "bound on calls of Python and C functions"), rows)


def _figures(whole: Whole, part: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = whole.get(part, {}).get("figures", {})
    return found


def _section(title: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return f"## {title}\n\n{_table(heads, rows)}" if rows else ""


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _case_order(item: tuple[str, object]) -> tuple[int, int]:
    workload, _, connections = item[0].partition(" ")
    return ("get", "post", "64k").index(workload), int(connections or 0)


def _cost(name: str, shown: str, own: float, other: float) -> tuple[str, str, str]:
    """A subject, its cost as shown, and what Toolbooth's is to it; nothing runs for `direct`."""
    return (name, "-", "-") if name == "direct" else (name, shown, _ratio(own, other))


def _ratio(own: float, other: float) -> str:
    return f"{own / other:.2f}" if other else "-"


def _ms(value_us: float | None) -> str:
    return "-" if value_us is None else f"{value_us / 1000:.2f}"


if __name__ == "__main__":
    write_page()
