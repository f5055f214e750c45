"""`toolbooth check` and `toolbooth explain`: what a policy file says, without a sidecar.

Both use the functions that decide in production. Imported only when asked for, since compiling a
policy needs more than the standard library.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from proxy.cli.client import ControlClient, View
from proxy.cli.exit_codes import BAD_USAGE, DONE, FAILED, CommandError
from proxy.cli.reading import text, view
from proxy.cli.run_acts import used_of
from proxy.cli.tables import Colour, facts, paint, shown
from proxy.model.call import Target
from proxy.model.errors import BadMessage
from proxy.model.reason import MEANINGS, Reason
from proxy.policy.compile import load_policy
from proxy.policy.explain import Explanation, explain
from proxy.policy.policy import Policy
from proxy.policy.problem import PolicyError
from proxy.settings import SettingsError, read_settings
from proxy.wire.target import parse_absolute, parse_connect


def check(arguments: argparse.Namespace) -> int:
    """Compile the file; say what is in it, or everything that is wrong with it. Results go to
    standard output, complaints to standard error; with `--json` all to standard output."""
    name = arguments.file
    source = _read(Path(name))
    try:
        policy = load_policy(source)
    except PolicyError as error:
        return _print_errors(name, error, as_json=arguments.json)
    allowed = sum(rule.allowed for rule in policy.tools.values())
    if arguments.json:
        summary = {
            "file": name,
            "ok": True,
            "version": policy.version,
            "tools": len(policy.tools),
            "allowed": allowed,
            "warnings": list(policy.warnings),
            "errors": [],
        }
        print(json.dumps(summary))
        return DONE
    print(
        f"{shown(name)}: {paint('ok', Colour.GREEN)} ({len(policy.tools)} tools, {allowed} allowed)"
    )
    for warning in policy.warnings:
        print(f"{shown(name)}: warning: {shown(warning)}", file=sys.stderr)
    return DONE


def _print_errors(name: str, error: PolicyError, *, as_json: bool) -> int:
    if as_json:
        found = [problem._asdict() for problem in error.errors]
        print(json.dumps({"file": name, "ok": False, "warnings": [], "errors": found}))
        return BAD_USAGE
    for problem in error.errors:
        line = f":{problem.line}" if problem.line else ""
        path = f"{problem.path}: " if problem.path else ""
        print(f"{shown(name)}{line}: {shown(path + problem.message)}", file=sys.stderr)
    count = len(error.errors)
    print(f"{shown(name)}: {count} error{'s' if count != 1 else ''}", file=sys.stderr)
    return BAD_USAGE


def explain_call(
    arguments: argparse.Namespace, client_of: Callable[[argparse.Namespace], ControlClient]
) -> int:
    """Which tool a call would be and what the policy says. With `--run`, also what that run has
    left, as the running sidecar knows it."""
    method = arguments.method.upper()
    target = _target(method, arguments.url)
    explanation = explain(_policy(arguments.policy), method, target, arguments.mcp_tool)
    run = client_of(arguments).run(arguments.run) if arguments.run else None
    allowed = explanation.verdict is Reason.OK
    if arguments.json:
        print(json.dumps({**explanation._asdict(), "allowed": allowed, "run": run}))
        return DONE if allowed else FAILED
    _print_explanation(explanation, method, arguments.url)
    if run is not None:
        _print_run(arguments.run, run)
    return DONE if allowed else FAILED


def _print_explanation(explanation: Explanation, method: str, url: str) -> None:
    allowed = explanation.verdict is Reason.OK
    verdict = paint("allowed", Colour.GREEN) if allowed else paint("refused", Colour.RED)
    if not allowed:
        verdict += f" with {explanation.verdict} ({MEANINGS[explanation.verdict].status})"
    print(f"{shown(method)} {shown(url)}: {verdict}")
    print(
        facts(
            [
                ("tool", explanation.tool),
                ("rule", explanation.rule),
                ("why", explanation.detail),
                ("effect", explanation.effect),
                *explanation.facts.items(),
            ]
        )
    )


def _print_run(run_id: str, run: View) -> None:
    print(
        facts(
            [
                ("run", run_id),
                ("  steps", used_of(run, "steps")),
                ("  tool calls", used_of(run, "tool_calls")),
                ("  seconds", used_of(run, "seconds")),
                ("  spend USD", used_of(run, "spend_usd")),
                ("  stopped", text(view(run, "switch"), "reason") or "no"),
            ]
        )
    )


def _target(method: str, url: str) -> Target:
    try:
        return parse_connect(url) if method == "CONNECT" else parse_absolute(url, method)
    except BadMessage as error:
        raise CommandError(f"{shown(url)}: {error}", BAD_USAGE) from None


def _policy(name: str | None) -> Policy:
    try:
        path = Path(name) if name is not None else read_settings().policy_path
    except SettingsError as error:
        raise CommandError(str(error), BAD_USAGE) from None
    try:
        return load_policy(_read(path))
    except PolicyError as error:
        count = len(error.errors)
        first = f"{shown(path)}: {error.errors[0]}"
        more = f" (and {count - 1} more: toolbooth check {shown(path)})" if count > 1 else ""
        raise CommandError(first + more, BAD_USAGE) from None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{shown(path)}: {error.strerror}", BAD_USAGE) from None
