"""How results look on a terminal: aligned, at most 80 columns, with colour only where it is seen.

Everything that is printed passes `shown` first: ids and paths come from agents and servers, and a
terminal obeys what it is sent.
"""

import sys
from collections.abc import Sequence
from enum import Enum
from textwrap import fill

from proxy.settings import colours_wanted
from proxy.telemetry.visible import visible_line

WIDTH = 80
_GAP = "  "
_NARROWEST = 8


class Colour(Enum):
    """ANSI colours in use; red is no, green is yes, yellow is look here."""

    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    DIM = "2"


def paint(text: str, colour: Colour | None) -> str:
    """`text` in colour, if standard output is a terminal that wants it."""
    if colour is None or not sys.stdout.isatty() or not colours_wanted():
        return text
    return f"\x1b[{colour.value}m{text}\x1b[0m"


def shown(value: object) -> str:
    """One value as visible text on one line; `-` for nothing."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return visible_line(str(value))


def cut(text: str, width: int) -> str:
    """`text` in at most `width` characters, `…` standing for what is missing."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def table(headings: Sequence[str], rows: Sequence[Sequence[object]], flexible: int = 0) -> str:
    """Columns side by side; the one numbered `flexible` gives way where 80 are too few. Numbers
    are on the right."""
    cells = [[shown(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - WIDTH
    if excess > 0:
        widths[flexible] = max(_NARROWEST, widths[flexible] - excess)
    to_right = [
        bool(rows) and all(_is_number(row[place]) for row in rows) for place in range(len(headings))
    ]
    return "\n".join(_line(line, widths, to_right) for line in (list(headings), *cells))


def _line(cells: Sequence[str], widths: Sequence[int], to_right: Sequence[bool]) -> str:
    fitted = [
        cut(cell, width).rjust(width) if right else cut(cell, width).ljust(width)
        for cell, width, right in zip(cells, widths, to_right, strict=True)
    ]
    return _GAP.join(fitted).rstrip()


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def facts(pairs: Sequence[tuple[str, object]]) -> str:
    """`name  value` lines with the values aligned; long ones go on below themselves."""
    pairs = [(visible_line(name), value) for name, value in pairs]
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(
        fill(
            shown(value),
            WIDTH,
            initial_indent=name.ljust(width) + _GAP,
            subsequent_indent=" " * width + _GAP,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, value in pairs
    )


def duration(seconds: float) -> str:
    """`42s`, `3m 20s`, `5h 12m`, `2d 4h`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86_400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86_400}d {whole % 86_400 // 3600}h"
