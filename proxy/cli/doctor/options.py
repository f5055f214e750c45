"""The arguments of `toolbooth doctor`. Apart from the rest, for every command reads this."""

import argparse

from proxy.cli.doctor.clients import NAMES


def add_doctor_options(parser: argparse.ArgumentParser) -> None:
    """Everything is optional: without arguments it looks at all there is."""
    parser.add_argument("hosts", nargs="*", metavar="HOST", help="would a client go around for it?")
    parser.add_argument("--proxy", metavar="URL", help="the sidecar to ask, besides the variables'")
    parser.add_argument(
        "--egress",
        action="append",
        metavar="HOST:PORT",
        help="try this address directly, instead of a few public ones; `none`: try nothing",
    )
    parser.add_argument("--only", metavar="NAMES", help=f"of {','.join(NAMES)}")
    parser.add_argument(
        "--timeout", type=_seconds, default=20.0, metavar="S", help="for each request (20)"
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= 60:
        raise argparse.ArgumentTypeError("expected seconds from 1 to 60")
    return value
