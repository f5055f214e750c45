"""The picture of `docs/performance.md`: CPU per call as bars, in SVG written by hand (pure)."""

from typing import Any

from proxy.report.markup import safe

_WIDTH, _NAMES, _VALUES = 760, 150, 130
_BAR, _STEP, _TITLE = 16, 24, 34
_PANELS = (
    ("calls", "get 32", "cpu_us_per_request", "Small GET: CPU per call, µs", 1.0),
    ("calls", "post 32", "cpu_us_per_request", "POST of 2 KiB: CPU per call, µs", 1.0),
    ("calls", "64k 32", "cpu_us_per_request", "64 KiB answer: CPU per call, µs", 1.0),
    ("tunnels", "open", "cpu_us_per_unit", "CPU per new tunnel, µs", 1.0),
    ("tunnels", "bulk", "cpu_us_per_unit", "CPU per GB through tunnels, ms", 1e-3),
    ("intercepted", "intercepted", "cpu_us_per_request", "Intercepted GET: CPU per call, µs", 1.0),
)
# Both palettes: the page that shows it may be dark.
_STYLE = """
  text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; fill: #18202b; }
  .title { font-weight: 600; } .value { fill: #596474; }
  .ground { fill: #fff; } .own { fill: #3d72d6; } .peer { fill: #aab3c0; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e7ebf1; } .value { fill: #9aa6b6; } .ground { fill: #161c25; }
    .own { fill: #6b9df5; } .peer { fill: #4b596b; }
  }
"""


def picture(whole: dict[str, Any]) -> str:
    """One panel a case, the cheapest first; the scale is each panel's own, and starts at 0."""
    parts, y = [], 10
    for part, case, figure, title, unit in _PANELS:
        subjects = whole.get(part, {}).get("figures", {}).get(case, {})
        rows = sorted(
            (each[figure] * unit, name) for name, each in subjects.items() if name != "direct"
        )
        if rows:
            parts.append(_panel(title, rows, y))
            y += _TITLE + _STEP * len(rows) + 14
    content = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" '
        f'height="{y}" role="img" aria-label="CPU of Toolbooth and its peers">\n'
        f"<style>{_STYLE}</style>\n"
        f'<rect class="ground" width="{_WIDTH}" height="{y}" rx="8"/>\n{content}\n</svg>\n'
    )


def _panel(title: str, rows: list[tuple[float, str]], top: int) -> str:
    most = max(amount for amount, _ in rows) or 1
    lines = [f'<text class="title" x="16" y="{top + 18}">{safe(title)}</text>']
    for place, (amount, name) in enumerate(rows):
        y = top + _TITLE + place * _STEP
        length = max(2.0, amount / most * (_WIDTH - _NAMES - _VALUES))
        kind = "own" if name == "toolbooth" else "peer"
        lines.append(f'<text x="{_NAMES - 10}" y="{y + 13}" text-anchor="end">{safe(name)}</text>')
        lines.append(
            f'<rect class="{kind}" x="{_NAMES}" y="{y}" width="{length:.1f}" height="{_BAR}" '
            f'rx="2"/>'
        )
        words = f"{amount:,.0f}" if amount >= 100 else f"{amount:.1f}"
        lines.append(
            f'<text class="value" x="{_NAMES + length + 8:.1f}" y="{y + 13}">{words}</text>'
        )
    return "\n".join(lines)
