"""`toolbooth runs`: what runs have used, and what is done to one of them."""

import argparse
import json

from proxy.cli.client import ControlClient, View
from proxy.cli.exit_codes import BAD_USAGE, DONE, CommandError
from proxy.cli.reading import number, text, view, views
from proxy.cli.tables import duration, facts, shown, table

_LIMITS = (
    ("steps", "max_steps"),
    ("tool_calls", "max_tool_calls"),
    ("seconds", "max_seconds"),
    ("spend_usd", "max_spend_usd"),
    ("tokens", "max_tokens"),
    ("bytes", "max_bytes"),
)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """One option for each limit of a run; `policy` goes back to the policy's."""
    for _, name in _LIMITS:
        option = "--" + name.removeprefix("max_").replace("_", "-")
        parser.add_argument(option, dest=name, metavar="N", type=limit)


def limit(text_given: str) -> float | int | str:
    """A number that is not negative, or the word `policy`."""
    if text_given == "policy":
        return text_given
    try:
        value = float(text_given)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 10**15:
        raise argparse.ArgumentTypeError(f"expected a number, or `policy`, not {text_given!r}")
    return int(value) if value.is_integer() else value


def runs_text(client: ControlClient, arguments: argparse.Namespace) -> str:
    """The first runs in the order asked for: what they used and what they may use."""
    document = client.get("/v1/runs", limit=arguments.limit, sort=arguments.sort)
    if arguments.json:
        return json.dumps(document)
    rows = [_run_row(run) for run in views(document, "runs")]
    if not rows:
        return "No run has called yet."
    headings = ("RUN", "STATE", "IDLE", "STEPS", "CALLS", "SPEND USD", "REFUSED", "NOW")
    lines = [table(headings, rows)]
    remembered = number(document, "remembered") or 0
    if remembered > len(rows):
        lines.append(f"({len(rows)} of {remembered:g}; more with --limit)")
    return "\n".join(lines)


def show(client: ControlClient, arguments: argparse.Namespace) -> int:
    """One run."""
    return _print_run(client.run(arguments.id), arguments)


def set_limits(client: ControlClient, arguments: argparse.Namespace) -> int:
    """Other limits for one run than the policy's."""
    given = {name: getattr(arguments, name) for _, name in _LIMITS}
    changes: View = {
        name: None if value == "policy" else value
        for name, value in given.items()
        if value is not None
    }
    if not changes:
        raise CommandError("give at least one limit, such as --tool-calls 20", BAD_USAGE)
    return _print_run(client.limit_run(arguments.id, changes), arguments)


def forget(client: ControlClient, arguments: argparse.Namespace) -> int:
    """The run begins anew at its next call."""
    run = client.forget_run(arguments.id)
    if arguments.json:
        print(json.dumps(run))
    else:
        print(f"forgotten: {shown(text(run, 'run_id'))}, which had made "
              f"{used_of(run, 'tool_calls')} calls")  # fmt: skip
    return DONE


def _print_run(run: View, arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps(run))
        return DONE
    own = view(run, "limits")
    switch = view(run, "switch")
    amounts = [
        (name.replace("_", " "), used_of(run, name) + (" (set for this run)" if key in own else ""))
        for name, key in _LIMITS
    ]
    print(
        facts(
            [
                ("run", text(run, "run_id")),
                ("state", _state(run)),
                *amounts,
                ("refused", number(run, "refusals")),
                ("under way", number(run, "in_flight")),
                ("age", duration(number(run, "age_seconds") or 0)),
                ("idle", duration(number(run, "idle_seconds") or 0)),
                *([("stopped by", text(switch, "actor")), ("because", text(switch, "reason"))]
                  if switch else []),
            ]
        )
    )  # fmt: skip
    return DONE


def _run_row(run: View) -> tuple[object, ...]:
    return (
        text(run, "run_id"),
        _state(run),
        duration(number(run, "idle_seconds") or 0),
        used_of(run, "steps"),
        used_of(run, "tool_calls"),
        used_of(run, "spend_usd"),
        number(run, "refusals"),
        number(run, "in_flight"),
    )


def _state(run: View) -> str:
    return "stopped" if run.get("switch") else "looped" if run.get("looped") else "going"


def used_of(run: View, name: str) -> str:
    """`3 of 12`, or what was used where there is no limit."""
    used, left = number(view(run, "used"), name), number(view(run, "left"), name)
    if used is None:
        return "-"
    return f"{used:g}" if left is None else f"{used:g} of {used + left:g}"
