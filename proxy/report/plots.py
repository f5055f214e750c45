"""Plots without a script: bars in SVG, words in HTML around them (pure).

The bars stretch to whatever room there is and the words do not, so a plot is as legible on a
telephone as on a wall.
"""

from math import ceil, log10

from proxy.model.clock import utc_timestamp
from proxy.report.markup import safe, tag
from proxy.report.outcome import Outcome
from proxy.report.quantities import count_text, ms_text
from proxy.report.summary import Chart

_HEIGHT = 100.0
_GAP = 0.12  # of a slot
_FEWEST_SLOTS = 24
_WORDS = {
    Outcome.OK: "let through",
    Outcome.REFUSED: "refused",
    Outcome.FAILED: "failed",
    Outcome.GONE: "left by the client",
}


def calls_over_time(chart: Chart) -> str:
    """Bars stacked by outcome, one for each slot of time, and what they mean."""
    slots = list(chart.slots)
    while len(slots) < _FEWEST_SLOTS:  # a few calls are not a wall
        slots.append((slots[-1][0] + chart.slot_s, dict.fromkeys(Outcome, 0)))
    top = _nice(max(sum(counts.values()) for _, counts in slots))
    bars = "".join(_stack(place, slot, chart.slot_s, top) for place, slot in enumerate(slots))
    grid = "".join(f'<line x1="0" x2="{len(slots)}" y1="{y:g}" y2="{y:g}"/>' for y in (0, 50))
    totals = {o: sum(counts[o] for _, counts in slots) for o in Outcome}
    legend = "".join(
        tag("span", f"{_WORDS[o]} {count_text(count)}", style=f"--swatch: var(--{o})")
        for o, count in totals.items()
        if count
    )
    times = [slots[0][0], slots[len(slots) // 2][0], slots[-1][0]]
    return (
        tag("div", legend, class_="legend")
        + '<div class="plot">'
        + _scale(top)
        + _svg(len(slots), grid + bars, "Calls over time, stacked by outcome")
        + tag("div", "".join(tag("span", _clock(t, chart.slot_s)) for t in times), class_="axis")
        + "</div>"
    )


def durations(chart: Chart, captions: dict[str, str]) -> str:
    """One small histogram a tool, all over the same scale of octaves. `captions`: what stands
    beside a tool's name, as text."""
    known = [(name, octaves) for name, octaves in chart.octaves if octaves]
    if not known:
        return ""
    bounds = sorted({bound for _, octaves in known for bound, _ in octaves})
    first, last = bounds[0], bounds[-1]
    width = round(log10(last / first) / log10(2)) + 1
    figures = []
    for name, octaves in known:
        most = max(count for _, count in octaves)
        bars = "".join(_octave(bound, count, first, most) for bound, count in octaves if count)
        axis = tag("span", ms_text(first / 2)) + tag("span", ms_text(last))
        figures.append(
            "<div>"
            + tag("h3", safe(name or "(none)"))
            + tag("p", safe(captions.get(name, "")))
            + _svg(width, bars, f"Durations of calls of {name}")
            + tag("div", axis, class_="axis")
            + "</div>"
        )
    return tag("div", "".join(figures), class_="tools")


def bars(rows: list[tuple[str, float, str]], kind: str = "") -> str:
    """Bars side by side: (name, how much, in words); `kind` is the colour's role."""
    most = max((amount for _, amount, _ in rows), default=0) or 1
    return tag(
        "div",
        "".join(
            tag("span", safe(name), class_="name", title=name)
            + tag("span", tag("i", "", class_=kind, style=f"width: {amount / most:.2%}"),
                  class_="track")
            + tag("span", safe(words), class_="value")
            for name, amount, words in rows
        ),
        class_="bars",
    )  # fmt: skip


def _stack(place: int, slot: tuple[float, dict[Outcome, int]], slot_s: int, top: int) -> str:
    at_s, counts = slot
    parts, base = [], 0.0
    for outcome, count in counts.items():
        if count:
            height = count / top * _HEIGHT
            parts.append(_rect(place, _HEIGHT - base - height, height, str(outcome)))
            base += height
    if not parts:
        return ""
    said = ", ".join(f"{count} {_WORDS[o]}" for o, count in counts.items() if count)
    over = _rect(place, 0, _HEIGHT, "over", f"{_clock(at_s, slot_s)}: {said}")
    return "".join(parts) + over


def _octave(bound: float, count: int, first: float, most: int) -> str:
    place = round(log10(bound / first) / log10(2))
    height = max(1.5, count / most * _HEIGHT)
    said = f"{ms_text(bound / 2)} to {ms_text(bound)}: {count} calls"
    bar = _rect(place, _HEIGHT - height, height, "ok")
    return bar + _rect(place, 0, _HEIGHT, "over", said)


def _rect(place: int, y: float, height: float, kind: str, title: str = "") -> str:
    x, width = (place, 1.0) if title else (place + _GAP / 2, 1 - _GAP)
    content = tag("title", safe(title)) if title else ""
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:.2f}" width="{width:g}" height="{height:.2f}">'
        f"{content}</rect>"
    )


def _svg(width: int, content: str, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {_HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{safe(label)}">{content}</svg>'
    )


def _scale(top: int) -> str:
    marks = (count_text(top), count_text(top // 2) if top > 1 else "", "0")
    return tag("div", "".join(tag("span", mark) for mark in marks), class_="scale")


def _nice(count: int) -> int:
    """The next 1, 2, 4 or 6 times a power of ten: its half is a whole number, but for 1."""
    if count <= 2:
        return 2
    power: int = 10 ** int(log10(count))
    return next(step * power for step in (1, 2, 4, 6, 10) if step * power >= ceil(count))


def _clock(at_s: float, slot_s: int) -> str:
    """As much of the time as the grain of the plot asks for."""
    text = utc_timestamp(at_s)
    if slot_s < 60:
        return text[5:19].replace("T", " ")
    return text[:10] if slot_s >= 86_400 else text[5:16].replace("T", " ")
