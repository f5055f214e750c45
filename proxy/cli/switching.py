"""`toolbooth kill` and `toolbooth revive`."""

import argparse
import json

from proxy.cli.client import ControlClient, RefusedError, View
from proxy.cli.exit_codes import DONE
from proxy.cli.reading import text
from proxy.cli.selection import switch_key
from proxy.cli.tables import Colour, paint, shown


def kill(client: ControlClient, arguments: argparse.Namespace) -> int:
    """Switch off a tool, a run, an agent, all writes or everything."""
    key = switch_key(arguments)
    try:
        switch = client.engage(key, arguments.reason, arguments.ttl_s, force=arguments.force)
    except RefusedError as problem:
        if problem.code == "tool_unknown" and arguments.name in ("all", "writes"):
            raise RefusedError(
                f"{problem} Or did you mean --{arguments.name}?", problem.code, problem.document
            ) from None
        raise
    if arguments.json:
        print(json.dumps(switch))
    else:
        expires = text(switch, "expires")
        until = f"until {shown(expires)}" if expires else "until revived"
        print(f"{paint('off', Colour.RED)}  {_subject(switch)}  {until}  ({_reason(switch)})")
    return DONE


def revive(client: ControlClient, arguments: argparse.Namespace) -> int:
    """Switch on again what `kill` switched off."""
    switch = client.release(switch_key(arguments))
    if arguments.json:
        print(json.dumps(switch))
    else:
        print(f"{paint('on', Colour.GREEN)}  {_subject(switch)}  (was off: {_reason(switch)})")
    return DONE


def _subject(switch: View) -> str:
    return shown(text(switch, "key"))


def _reason(switch: View) -> str:
    return shown(text(switch, "reason"))
