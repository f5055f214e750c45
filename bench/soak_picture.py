"""The picture of a soak: calls a second, memory and open files over time, as one SVG file."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import Any

_WIDTH, _HEIGHT = 860, 150  # of one plot
_LEFT, _TOP, _GAP = 64, 34, 46
_POINTS = 430  # of a line, at most
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#444}.t{font-weight:600;fill:#222}"
    "line{stroke:#ddd}polyline{fill:none;stroke-width:1.6}rect{fill:#fff}"
)
_COLOURS = ("#2563a8", "#b4560f")
_STEPS = (1, 2, 2.5, 5, 10)

Line = tuple[str, Sequence[float]]


def picture(result: dict[str, Any]) -> str:
    """Three plots, one below the other."""
    samples = result["samples"]
    times_s = [sample["at_s"] for sample in samples]
    calls = [0.0] + [
        (b["calls"] - a["calls"]) / max(0.001, b["at_s"] - a["at_s"]) for a, b in pairwise(samples)
    ]
    plots: list[tuple[str, list[Line]]] = [
        ("Calls a second", [("calls", calls)]),
        ("Resident memory, MiB", [("memory", _each(samples, "rss_mib"))]),
        (
            "Open files, and calls under way",
            [("open files", _each(samples, "fds")), ("calls", _each(samples, "calls_in_flight"))],
        ),
    ]
    height = _TOP + len(plots) * (_HEIGHT + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 20} {height}" '
        f'role="img" aria-label="A soak of {times_s[-1]:.0f} seconds">',
        f"<style>{_STYLE}</style>",
        f'<rect width="{_LEFT + _WIDTH + 20}" height="{height}"/>',
    ]
    for place, (title, lines) in enumerate(plots):
        parts.append(_plot(title, times_s, lines, _TOP + place * (_HEIGHT + _GAP)))
    return "\n".join([*parts, "</svg>", ""])


def _each(samples: list[dict[str, float]], name: str) -> list[float]:
    return [sample[name] for sample in samples]


def _plot(title: str, times_s: list[float], lines: list[Line], top: int) -> str:
    highest = _round_up(max(max(values) for _, values in lines))
    end_s = times_s[-1] or 1.0
    parts = [f'<text class="t" x="{_LEFT}" y="{top - 10}">{escape(title)}</text>']
    for share in (0, 0.5, 1):
        y = top + _HEIGHT * (1 - share)
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y:g}" y2="{y:g}"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{highest * share:g}", "end"))
    for share in (0, 0.5, 1):
        anchor = "start" if share == 0 else "middle" if share == 0.5 else "end"
        parts.append(
            _text(_LEFT + _WIDTH * share, top + _HEIGHT + 16, _minutes(end_s * share), anchor)
        )
    for place, (name, values) in enumerate(lines):
        colour = _COLOURS[place]
        points = " ".join(
            f"{_LEFT + _WIDTH * t / end_s:.1f},{top + _HEIGHT * (1 - value / highest):.1f}"
            for t, value in _thinned(times_s, values)
        )
        parts.append(f'<polyline points="{points}" stroke="{colour}"/>')
        if len(lines) > 1:
            x = _LEFT + _WIDTH - 90 * (len(lines) - 1 - place)
            parts.append(
                f'<text x="{x}" y="{top - 10}" text-anchor="end" style="fill:{colour}">'
                f"{escape(name)}</text>"
            )
    return "\n".join(parts)


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def _thinned(times_s: list[float], values: Sequence[float]) -> list[tuple[float, float]]:
    """The highest value of each stretch, so that no peak is lost."""
    step = -(-len(values) // _POINTS)
    return [
        (times_s[start], max(values[start : start + step])) for start in range(0, len(values), step)
    ]


def _round_up(value: float) -> float:
    power = 1.0
    while power * 10 < value:
        power *= 10
    return next(power * step for step in _STEPS if power * step >= value)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.3g} min" if seconds >= 90 else f"{seconds:.0f} s"
