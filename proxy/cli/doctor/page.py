"""What the doctor found, for people and for programs."""

import json
from collections.abc import Sequence
from textwrap import fill

from proxy.cli.doctor.booth import Booth
from proxy.cli.doctor.verdicts import Check, Group, Verdict, overall
from proxy.cli.tables import WIDTH, Colour, paint, shown

_COLOURS = {
    Verdict.OK: Colour.GREEN,
    Verdict.WARNING: Colour.YELLOW,
    Verdict.BYPASS: Colour.RED,
    Verdict.BROKEN: Colour.RED,
    Verdict.UNCHECKED: Colour.DIM,
    Verdict.NOT_FOUND: Colour.DIM,
}
_TITLES = {
    Group.VARIABLES: "Proxy variables",
    Group.SIDECAR: "Where they point",
    Group.NO_PROXY: "NO_PROXY",
    Group.CLIENTS: "Clients, as the sidecar saw them",
    Group.EGRESS: "Direct ways out",
}
_ENDINGS = {
    Verdict.OK: "Nothing goes around the booth, and nothing here is broken.",
    Verdict.BYPASS: "Something goes around the booth, or can.",
    Verdict.BROKEN: "Nothing goes around the booth, but something here does not work.",
}
_VERDICT_WIDTH = max(map(len, Verdict))
_NAME_WIDTH = 26
_GAP = "  "


def page_text(checks: Sequence[Check]) -> str:
    """Sections of checks, what to set, and the end of it in one sentence."""
    blocks = [_section(group, [c for c in checks if c.group is group]) for group in Group]
    lines = lines_to_set(checks)
    if lines:
        blocks.append("\n".join(["To set:", *map(_line, lines)]))
    verdict = overall(checks)
    blocks.append(f"{paint(verdict, _COLOURS[verdict])}: {_ENDINGS[verdict]}")
    return "\n\n".join(block for block in blocks if block)


def page_json(checks: Sequence[Check], booths: Sequence[Booth]) -> str:
    """One object: `verdict`, `sidecars`, `checks`, `set`. Names stay; more may come."""
    sidecars = [
        {
            "address": str(booth.endpoint),
            "version": booth.version,
            "run_id": booth.run_id,
            "run_given": booth.run_given,
            "intercepts": booth.intercepts,
        }
        for booth in booths
    ]
    found = [
        {
            "group": check.group,
            "name": check.name,
            "verdict": check.verdict,
            "detail": check.detail,
            "set": list(check.lines),
        }
        for check in checks
    ]
    document = {
        "verdict": overall(checks),
        "sidecars": sidecars,
        "checks": found,
        "set": lines_to_set(checks),
    }
    return json.dumps(document)


def lines_to_set(checks: Sequence[Check]) -> list[str]:
    """What every check wants set, once each."""
    return list(dict.fromkeys(line for check in checks for line in check.lines))


def _line(line: str) -> str:
    """A command as it has to be typed; a remark in as many lines as it needs."""
    if not line.startswith("# "):
        return f"  {shown(line)}"
    return fill(
        shown(line), WIDTH, initial_indent="  ", subsequent_indent="  # ",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _section(group: Group, checks: Sequence[Check]) -> str:
    if not checks:
        return ""
    width = min(_NAME_WIDTH, max(len(check.name) for check in checks))
    return "\n".join([_TITLES[group], *(_entry(check, width) for check in checks)])


def _entry(check: Check, width: int) -> str:
    """The verdict, the name, and the sentence beside them; a long name has a line to itself."""
    verdict = paint(check.verdict.ljust(_VERDICT_WIDTH), _COLOURS[check.verdict])
    name = shown(check.name)
    indent = " " * (2 + _VERDICT_WIDTH + len(_GAP) + width + len(_GAP))
    text = fill(
        shown(check.detail), WIDTH, initial_indent=indent, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    if len(name) > width:
        return f"  {verdict}{_GAP}{name}\n{text}"
    return f"  {verdict}{_GAP}{name.ljust(width)}{_GAP}{text.lstrip()}"
