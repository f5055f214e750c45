"""What `kill` and `revive` are about, and for how long: arguments to switch keys and seconds."""

import argparse
import re

from proxy.model.clock import SystemClock, parse_timestamp

_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_selectors(parser: argparse.ArgumentParser) -> None:
    """Exactly one of a tool's name, `--writes`, `--all`, `--run` and `--agent`."""
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument("name", nargs="?", metavar="NAME", type=_not_empty, help="a tool")
    one.add_argument("--writes", action="store_true", help="every call that changes something")
    one.add_argument("--all", action="store_true", help="every call")
    one.add_argument("--run", metavar="ID", type=_not_empty, help="every call of one run")
    one.add_argument("--agent", metavar="ID", type=_not_empty, help="every call of one agent")


def switch_key(arguments: argparse.Namespace) -> str:
    """The switch that the selectors name: `tool:NAME`, `run:ID`, `agent:ID`, `writes`, `all`."""
    if arguments.all:
        return "all"
    if arguments.writes:
        return "writes"
    if arguments.run is not None:
        return f"run:{arguments.run}"
    if arguments.agent is not None:
        return f"agent:{arguments.agent}"
    return f"tool:{arguments.name}"


def duration_s(text: str) -> int:
    """`30s`, `10m`, `2h` or `1d` in seconds. A bare number is refused: ten what?"""
    match = _DURATION.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise argparse.ArgumentTypeError(
            f"expected a duration such as 30s, 10m, 2h, 1d, not {text!r}"
        )
    return int(match[1]) * _UNIT_S[match[2]]


def moment_s(text: str) -> float:
    """`2026-01-31`, `2026-01-31T12:00:00Z` or `2h` (ago), as Unix seconds; UTC where no zone is
    given, as in records."""
    at_s = parse_timestamp(text)
    if at_s is not None:
        return at_s
    try:
        return SystemClock().wall() - duration_s(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected a time such as 2026-01-31, 2026-01-31T12:00Z, or 2h (ago), not {text!r}"
        ) from None


def count(text: str) -> int:
    """A whole number from 0 to 1000."""
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1000, not {text!r}")
    return int(text)


def _not_empty(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    return text
