"""`--watch`: the same view again and again, in place on a terminal and one after the other in a
pipe, until interrupted."""

import argparse
import sys
import time
from collections.abc import Callable

from proxy.cli.exit_codes import DONE

_HOME_AND_CLEAR = "\x1b[H\x1b[2J"
EVERY_S = 2.0


def print_again(
    text: Callable[[], str],
    arguments: argparse.Namespace,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Print what `text` gives, once or as long as `--watch` says. The next text is fetched before
    the screen is cleared, so that nothing flickers and an error leaves the last view to read."""
    is_screen = arguments.watch and not arguments.json and sys.stdout.isatty()
    try:
        while True:
            page = text()
            print((_HOME_AND_CLEAR if is_screen else "") + page, flush=True)
            if not arguments.watch:
                return DONE
            pause(EVERY_S)
    except KeyboardInterrupt:  # how one ends it
        return DONE
