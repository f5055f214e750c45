"""`toolbooth policy`: the policy that a running sidecar has in force."""

import argparse
import json
import sys
from pathlib import Path

from proxy.cli.client import ControlClient, RefusedError, View
from proxy.cli.exit_codes import BAD_USAGE, DONE, CommandError
from proxy.cli.reading import number, text, view, views
from proxy.cli.tables import Colour, paint, shown


def show_policy(client: ControlClient, arguments: argparse.Namespace) -> int:
    """The policy as it was loaded; what went wrong since goes to standard error."""
    policy = client.get("/v1/policy")
    if arguments.json:
        print(json.dumps(policy))
        return DONE
    source = policy.get("yaml")
    print(source if isinstance(source, str) else "", end="")
    failure = view(policy, "last_error")
    if failure:
        print(f"toolbooth: {shown(text(failure, 'detail'))}", file=sys.stderr)
        _print_errors("the refused policy", failure)
    return DONE


def put_policy(client: ControlClient, arguments: argparse.Namespace) -> int:
    """Put a file in force, or with `--dry-run` say what it would change. Only in place of the
    policy that was in force when this began, so that two operators do not overwrite each other."""
    source = _read(Path(arguments.file))
    version = arguments.if_match or text(client.get("/v1/policy"), "version")
    try:
        change = client.put_policy(source, version, dry_run=arguments.dry_run)
    except RefusedError as problem:
        if problem.code != "invalid_policy":
            raise
        _print_errors(arguments.file, problem.document)
        raise CommandError(str(problem), BAD_USAGE) from None
    if arguments.json:
        print(json.dumps(change))
        return DONE
    _print_change(change)
    return DONE


def _print_change(change: View) -> None:
    version, previous = text(change, "version"), text(change, "previous")
    if version == previous:
        print(f"{shown(version)} is in force already; the file means the same")
    elif change.get("applied"):
        print(f"{paint('in force', Colour.GREEN)}  {shown(version)} (was {shown(previous)})")
    else:
        print(f"would replace {shown(previous)} with {shown(version)}")
    changes = view(change, "changes")
    for sign, name in (("+", "added"), ("-", "removed"), ("~", "changed")):
        for tool in _strings(changes, name):
            print(f"  {sign} {shown(tool)}")
    sections = _strings(changes, "sections")
    if changes.get("reordered"):
        sections.append("order of the catalog")
    if sections:
        print(f"  ~ {', '.join(map(shown, sections))}")
    for warning in _strings(change, "warnings"):
        print(f"toolbooth: warning: {shown(warning)}", file=sys.stderr)


def _print_errors(name: str, document: View) -> None:
    for error in views(document, "errors"):
        line = f":{number(error, 'line'):g}" if number(error, "line") else ""
        path = f"{text(error, 'path')}: " if text(error, "path") else ""
        place = f"{shown(name)}{line}"
        print(f"{place}: {shown(path + text(error, 'message'))}", file=sys.stderr)


def _strings(document: View, name: str) -> list[str]:
    value = document.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{shown(path)}: {error.strerror}", BAD_USAGE) from None
