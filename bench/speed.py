"""`make bench`: every figure of `docs/performance.md`, part by part.

Each part that ends is merged into `bench/speed.json` at once, so a run can be stopped and taken up
with `--workload`; figures of other parts stay as they were, with their own date. At the end the
page and its picture are written from that file.
"""

import argparse
import json
import os
import signal
import sys
import time
from typing import Any

import debian
from children import ChildError
from flat import flat
from parts import PARTS
from peers import SUBJECTS, Subject
from rounds import BENCH, machine

from bench.page import write_page

RESULT = BENCH / "speed.json"
_PARTS = {**PARTS, "flat": flat}
_PEERS = [name for name, each in SUBJECTS.items() if not each.is_asked_for]


def main() -> int:
    """Exit code 1 if a part failed; those before it are kept."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `with` blocks are left
    names = {"toolbooth", *options.peers}
    subjects = [SUBJECTS[name] for name in SUBJECTS if name in names]
    subjects = [each for each in subjects if each.install()]
    failed = []
    for name in options.workload:
        try:
            _merge(name, _run(name, subjects, options))
        except ChildError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed.append(name)
    write_page()
    print(f"figures: {RESULT}; failed: {', '.join(failed) or 'nothing'}")
    return 1 if failed else 0


def _run(name: str, subjects: list[Subject], options: argparse.Namespace) -> dict[str, Any]:
    started, load_before = time.time(), os.getloadavg()
    figures = _PARTS[name](subjects, options)
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "took_s": round(time.time() - started),
        "machine": machine(),
        "load_average": {"before": load_before, "after": os.getloadavg()},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "versions": {
            **{each.name: each.version() for each in subjects},
            **({"wrk": debian.version("wrk")} if name == "wrk" else {}),
        },
        "figures": _short(figures),
    }


def _merge(name: str, part: dict[str, Any]) -> None:
    whole: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    whole[name] = part
    written = RESULT.with_suffix(".new")
    written.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")
    written.replace(RESULT)


def _short(value: Any) -> Any:
    """Figures to a few digits."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    return [_short(each) for each in value] if isinstance(value, list) else value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--workload", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--peers", nargs="*", choices=_PEERS, default=_PEERS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--warm-up-s", type=float, default=0.3, help="before each round")
    parser.add_argument("--runs", type=int, default=1000, help="run ids the calls come from")
    parser.add_argument("--proxy-core", type=int, default=1)
    parser.add_argument("--load-core", type=int, default=0, help="of load and upstream")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
