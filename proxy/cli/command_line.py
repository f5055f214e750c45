"""Arguments to commands. Exit codes: 0 done, 1 failed, 2 bad usage or bad policy.

Each verb imports what it needs when it is chosen: `toolbooth kill` must not wait for the proxy's
own dependencies, or fail with them.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from proxy import __version__
from proxy.app.build import build_name
from proxy.cli.exit_codes import BAD_USAGE, DONE, FAILED, CommandError
from proxy.cli.file_verbs import add_file_verbs
from proxy.cli.repeating import print_again
from proxy.cli.run_acts import add_limits
from proxy.cli.selection import add_selectors, count, duration_s
from proxy.cli.verbs import Verb, Verbs, add_control, add_json, add_verb, client_of
from proxy.settings import SettingsError, client_settings

_RUN_ORDERS = ("last", "spend", "refusals")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. Bad usage ends in SystemExit(2), as argparse does."""
    arguments = _parser().parse_args(argv)
    verb: Verb = arguments.verb
    code = DONE
    try:
        code = verb(arguments)
        sys.stdout.flush()
    except CommandError as error:
        print(f"toolbooth: {error}", file=sys.stderr)
        return error.exit_code
    except SettingsError as error:
        print(f"toolbooth: {error}", file=sys.stderr)
        return BAD_USAGE
    except KeyboardInterrupt:
        return FAILED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="toolbooth",
        description="A sidecar that every tool call of an agent passes.",
        allow_abbrev=False,
    )
    version = f"toolbooth {__version__} ({build_name()})"
    parser.add_argument("--version", action="version", version=version)
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_process_verbs(verbs)
    _add_policy_verbs(verbs)
    _add_switch_verbs(verbs)
    _add_watch_verbs(verbs)
    _add_run_verbs(verbs)
    _add_live_policy_verbs(verbs)
    add_file_verbs(verbs)
    return parser


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="again every 2 s, until interrupted")


def _add_process_verbs(verbs: Verbs) -> None:
    run = add_verb(verbs, "run", _run, "Start the sidecar.")
    run.add_argument("--policy", metavar="FILE", help="the policy (TOOLBOOTH_POLICY)")
    add_verb(verbs, "demo", _demo, "Watch a scripted agent meet the booth.")
    health = add_verb(verbs, "health", _health, "Is the sidecar ready? For health checks.")
    add_json(health)


def _add_policy_verbs(verbs: Verbs) -> None:
    check = add_verb(verbs, "check", _check, "Check a policy file; every error with its place.")
    check.add_argument("file", metavar="FILE")
    add_json(check)
    explain = add_verb(verbs, "explain", _explain, "Which tool a call would be, and its verdict.")
    explain.add_argument("method", metavar="METHOD")
    explain.add_argument("url", metavar="URL", help="or HOST:PORT where METHOD is CONNECT")
    explain.add_argument(
        "--run", metavar="ID", help="also what this run has left (asks the sidecar)"
    )
    explain.add_argument(
        "--mcp-tool", metavar="NAME", help="the tool that an MCP server is to call"
    )
    explain.add_argument("--policy", metavar="FILE", help="the policy (TOOLBOOTH_POLICY)")
    add_control(explain)


def _add_switch_verbs(verbs: Verbs) -> None:
    kill = add_verb(verbs, "kill", _kill, "Switch off a tool, run, agent, writes or everything.")
    add_selectors(kill)
    kill.add_argument(
        "--reason", required=True, help="the agent and the next operator will read it"
    )
    kill.add_argument(
        "--for",
        dest="ttl_s",
        metavar="TIME",
        type=duration_s,
        help="30s, 10m, 2h, 1d; else for good",
    )
    kill.add_argument("--force", action="store_true", help="even if the policy has no such tool")
    add_control(kill)
    revive = add_verb(verbs, "revive", _revive, "Switch on again what was killed.")
    add_selectors(revive)
    add_control(revive)


def _add_watch_verbs(verbs: Verbs) -> None:
    status = add_verb(verbs, "status", _status, "The sidecar, its switches and its tools.")
    _add_watch(status)
    add_control(status)
    tail = add_verb(verbs, "tail", _tail, "The last calls, and each call as it ends.")
    tail.add_argument("--tool", metavar="NAME")
    tail.add_argument("--code", metavar="CODE")
    tail.add_argument("--run", metavar="ID")
    tail.add_argument(
        "-n", type=count, default=20, metavar="N", help="last calls to begin with (20)"
    )
    tail.add_argument(
        "-f",
        "--follow",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on (default)",
    )
    add_control(tail)


def _add_run_verbs(verbs: Verbs) -> None:
    runs = add_verb(verbs, "runs", _runs, "What each run has used, and what is done to one.")
    runs.add_argument("--limit", type=count, default=100, metavar="N", help="at most so many (100)")
    runs.add_argument("--sort", choices=_RUN_ORDERS, default=_RUN_ORDERS[0], help="which first")
    _add_watch(runs)
    add_control(runs)
    acts = runs.add_subparsers(title="of one run", metavar="ACT", required=False)
    show = add_verb(acts, "show", _show_run, "One run.")
    limit = add_verb(acts, "raise", _limit_run, "Other limits for one run than the policy's.")
    limit.description = "Each limit is a number, or `policy` to go back to the policy's."
    forget = add_verb(acts, "forget", _forget_run, "Let a run begin anew at its next call.")
    for act in (show, limit, forget):
        act.add_argument("id", metavar="ID")
        add_control(act, is_inner=True)
    add_limits(limit)


def _add_live_policy_verbs(verbs: Verbs) -> None:
    policy = verbs.add_parser(
        "policy", help="The policy that a running sidecar has in force.", allow_abbrev=False
    )
    acts = policy.add_subparsers(title="commands", metavar="ACT", required=True)
    add_control(add_verb(acts, "show", _show_policy, "The policy in force, as it was loaded."))
    put = add_verb(acts, "put", _put_policy, "Put a file in force until its own file changes.")
    put.add_argument("file", metavar="FILE")
    put.add_argument("--dry-run", action="store_true", help="only say what it would change")
    put.add_argument("--if-match", metavar="VERSION", help="only in place of this version")
    add_control(put)


def _run(arguments: argparse.Namespace) -> int:
    from proxy.app.start import run

    return run(arguments.policy)


def _demo(_: argparse.Namespace) -> int:
    from proxy.demo.main import run

    return run()


def _health(arguments: argparse.Namespace) -> int:
    from proxy.cli.probe import health

    return health(client_settings().health_listen, arguments)


def _check(arguments: argparse.Namespace) -> int:
    from proxy.cli.policy_file import check

    return check(arguments)


def _explain(arguments: argparse.Namespace) -> int:
    from proxy.cli.policy_file import explain_call

    return explain_call(arguments, client_of)


def _kill(arguments: argparse.Namespace) -> int:
    from proxy.cli.switching import kill

    return kill(client_of(arguments), arguments)


def _revive(arguments: argparse.Namespace) -> int:
    from proxy.cli.switching import revive

    return revive(client_of(arguments), arguments)


def _status(arguments: argparse.Namespace) -> int:
    from proxy.cli.watching import status_text

    client = client_of(arguments)
    return print_again(lambda: status_text(client, arguments), arguments)


def _runs(arguments: argparse.Namespace) -> int:
    from proxy.cli.run_acts import runs_text

    client = client_of(arguments)
    return print_again(lambda: runs_text(client, arguments), arguments)


def _show_run(arguments: argparse.Namespace) -> int:
    from proxy.cli.run_acts import show

    return show(client_of(arguments), arguments)


def _limit_run(arguments: argparse.Namespace) -> int:
    from proxy.cli.run_acts import set_limits

    return set_limits(client_of(arguments), arguments)


def _forget_run(arguments: argparse.Namespace) -> int:
    from proxy.cli.run_acts import forget

    return forget(client_of(arguments), arguments)


def _show_policy(arguments: argparse.Namespace) -> int:
    from proxy.cli.policy_acts import show_policy

    return show_policy(client_of(arguments), arguments)


def _put_policy(arguments: argparse.Namespace) -> int:
    from proxy.cli.policy_acts import put_policy

    return put_policy(client_of(arguments), arguments)


def _tail(arguments: argparse.Namespace) -> int:
    from proxy.cli.watching import tail

    try:
        return tail(client_of(arguments), arguments)
    except KeyboardInterrupt:  # how one ends it
        return DONE
