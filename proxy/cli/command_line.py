"""Arguments to commands. Exit codes: 0 done, 1 failed, 2 bad usage or bad policy.

Each verb imports what it needs when it is chosen: `toolbooth kill` must not wait for the proxy's
own dependencies, or fail with them.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from proxy import __version__
from proxy.cli.client import ControlClient
from proxy.cli.doctor.options import add_doctor_options
from proxy.cli.exit_codes import BAD_USAGE, DONE, FAILED, CommandError
from proxy.cli.repeating import print_again
from proxy.cli.run_acts import add_limits
from proxy.cli.selection import add_selectors, count, duration_s, moment_s
from proxy.settings import ClientSettings, SettingsError, client_settings

_RUN_ORDERS = ("last", "spend", "refusals")

Verb = Callable[[argparse.Namespace], int]
Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


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
    parser.add_argument("--version", action="version", version=f"toolbooth {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_process_verbs(verbs)
    _add_policy_verbs(verbs)
    _add_switch_verbs(verbs)
    _add_watch_verbs(verbs)
    _add_report_verb(verbs)
    _add_run_verbs(verbs)
    _add_live_policy_verbs(verbs)
    _add_doctor(verbs)
    _add_ca_verbs(verbs)
    _add_audit_verbs(verbs)
    return parser


def _add(verbs: Verbs, name: str, verb: Verb, help_text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=help_text, description=help_text, allow_abbrev=False
    )
    parser.set_defaults(verb=verb)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", action="store_true", help="again every 2 s, until interrupted")


def _add_control(parser: argparse.ArgumentParser, *, is_inner: bool = False) -> None:
    """`is_inner`: the verb around it has the same options, whose values stay if not given here."""
    default = argparse.SUPPRESS if is_inner else None
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS if is_inner else False,
        help="print JSON",
    )
    parser.add_argument(
        "--control",
        metavar="ADDRESS",
        default=default,
        help="HOST:PORT or unix:PATH (TOOLBOOTH_CONTROL_LISTEN)",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        default=default,
        help="holds the control token (TOOLBOOTH_CONTROL_TOKEN_FILE)",
    )


def _add_process_verbs(verbs: Verbs) -> None:
    run = _add(verbs, "run", _run, "Start the sidecar.")
    run.add_argument("--policy", metavar="FILE", help="the policy (TOOLBOOTH_POLICY)")
    _add(verbs, "demo", _demo, "Watch a scripted agent meet the booth.")
    _add_json(_add(verbs, "health", _health, "Is the sidecar ready? For container health checks."))


def _add_policy_verbs(verbs: Verbs) -> None:
    check = _add(verbs, "check", _check, "Check a policy file; every error with its place.")
    check.add_argument("file", metavar="FILE")
    _add_json(check)
    explain = _add(verbs, "explain", _explain, "Which tool a call would be, and its verdict.")
    explain.add_argument("method", metavar="METHOD")
    explain.add_argument("url", metavar="URL", help="or HOST:PORT where METHOD is CONNECT")
    explain.add_argument(
        "--run", metavar="ID", help="also what this run has left (asks the sidecar)"
    )
    explain.add_argument(
        "--mcp-tool", metavar="NAME", help="the tool that an MCP server is to call"
    )
    explain.add_argument("--policy", metavar="FILE", help="the policy (TOOLBOOTH_POLICY)")
    _add_control(explain)


def _add_switch_verbs(verbs: Verbs) -> None:
    kill = _add(verbs, "kill", _kill, "Switch a tool, a run, an agent, writes or everything off.")
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
    _add_control(kill)
    revive = _add(verbs, "revive", _revive, "Switch on again what was killed.")
    add_selectors(revive)
    _add_control(revive)


def _add_watch_verbs(verbs: Verbs) -> None:
    status = _add(verbs, "status", _status, "The sidecar, its switches and its tools.")
    _add_watch(status)
    _add_control(status)
    tail = _add(verbs, "tail", _tail, "The last calls, and each call as it ends.")
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
    _add_control(tail)


def _add_report_verb(verbs: Verbs) -> None:
    report = _add(verbs, "report", _report, "What the records say, by tool and by run.")
    report.add_argument(
        "file", nargs="*", metavar="FILE", help="records, plain or gzip; - is standard input"
    )
    report.add_argument(
        "--since", type=moment_s, metavar="TIME", help="2026-01-31, 2026-01-31T12:00Z, 2h (ago)"
    )
    report.add_argument("--until", type=moment_s, metavar="TIME", help="before this time")
    report.add_argument("--run", metavar="ID", help="calls of this run only")
    report.add_argument("--tool", metavar="NAME", help="calls of this tool only")
    report.add_argument("--top", type=count, default=10, metavar="N", help="rows a table (10)")
    report.add_argument("--html", metavar="OUT", help="write a page with plots to this file")
    _add_json(report)


def _add_run_verbs(verbs: Verbs) -> None:
    runs = _add(verbs, "runs", _runs, "What each run has used, and what is done to one.")
    runs.add_argument("--limit", type=count, default=100, metavar="N", help="at most so many (100)")
    runs.add_argument("--sort", choices=_RUN_ORDERS, default=_RUN_ORDERS[0], help="which first")
    _add_watch(runs)
    _add_control(runs)
    acts = runs.add_subparsers(title="of one run", metavar="ACT", required=False)
    show = _add(acts, "show", _show_run, "One run.")
    limit = _add(acts, "raise", _limit_run, "Other limits for one run than the policy's.")
    limit.description = "Each limit is a number, or `policy` to go back to the policy's."
    forget = _add(acts, "forget", _forget_run, "Let a run begin anew at its next call.")
    for act in (show, limit, forget):
        act.add_argument("id", metavar="ID")
        _add_control(act, is_inner=True)
    add_limits(limit)


def _add_live_policy_verbs(verbs: Verbs) -> None:
    policy = verbs.add_parser(
        "policy", help="The policy that a running sidecar has in force.", allow_abbrev=False
    )
    acts = policy.add_subparsers(title="commands", metavar="ACT", required=True)
    _add_control(_add(acts, "show", _show_policy, "The policy in force, as it was loaded."))
    put = _add(acts, "put", _put_policy, "Put a file in force until its own file changes.")
    put.add_argument("file", metavar="FILE")
    put.add_argument("--dry-run", action="store_true", help="only say what it would change")
    put.add_argument("--if-match", metavar="VERSION", help="only in place of this version")
    _add_control(put)


def _add_doctor(verbs: Verbs) -> None:
    doctor = _add(verbs, "doctor", _doctor, "Does everything in this container go through?")
    add_doctor_options(doctor)
    _add_json(doctor)


def _add_ca_verbs(verbs: Verbs) -> None:
    ca = verbs.add_parser(
        "ca", help="The certificate that clients of intercepted tools trust.", allow_abbrev=False
    )
    acts = ca.add_subparsers(title="commands", metavar="ACT", required=True)
    export = _add(acts, "export", _export_ca, "Print the CA's certificate, never its key.")
    export.add_argument("--out", metavar="FILE", help="write it there")
    export.add_argument("--dir", metavar="DIR", help="where it is kept (TOOLBOOTH_CA_DIR)")
    export.add_argument(
        "--bundle", action="store_true", help="add this machine's root certificates"
    )
    _add_control(export)
    env = _add(
        acts, "env", _ca_env, "What to set so that clients trust the certificates in a file."
    )
    env.add_argument("--file", required=True, metavar="PATH", help="where clients find it")
    _add_json(env)


def _add_audit_verbs(verbs: Verbs) -> None:
    audit = verbs.add_parser(
        "audit", help="Is an audit log unbroken, and what does it say.", allow_abbrev=False
    )
    acts = audit.add_subparsers(title="commands", metavar="ACT", required=True)
    verify = _add(acts, "verify", _verify_audit, "Check files of one log; exit 1 if it is broken.")
    verify.add_argument("files", metavar="FILE", nargs="+", help="every file, rotated ones too")
    verify.add_argument(
        "--key-file", metavar="FILE", help="holds the key (TOOLBOOTH_AUDIT_KEY_FILE)"
    )
    verify.add_argument("--head", metavar="HASH", help="a hash that must be in it, noted before")
    _add_json(verify)
    show = _add(acts, "show", _show_audit, "The last entries of a file. Checks nothing.")
    show.add_argument("file", metavar="FILE")
    show.add_argument("-n", type=count, default=20, metavar="N", help="so many (20)")
    _add_json(show)


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

    return explain_call(arguments, _client)


def _kill(arguments: argparse.Namespace) -> int:
    from proxy.cli.switching import kill

    return kill(_client(arguments), arguments)


def _revive(arguments: argparse.Namespace) -> int:
    from proxy.cli.switching import revive

    return revive(_client(arguments), arguments)


def _status(arguments: argparse.Namespace) -> int:
    from proxy.cli.watching import status_text

    client = _client(arguments)
    return print_again(lambda: status_text(client, arguments), arguments)


def _runs(arguments: argparse.Namespace) -> int:
    from proxy.cli.run_acts import runs_text

    client = _client(arguments)
    return print_again(lambda: runs_text(client, arguments), arguments)


def _show_run(arguments: argparse.Namespace) -> int:
    from proxy.cli.run_acts import show

    return show(_client(arguments), arguments)


def _limit_run(arguments: argparse.Namespace) -> int:
    from proxy.cli.run_acts import set_limits

    return set_limits(_client(arguments), arguments)


def _forget_run(arguments: argparse.Namespace) -> int:
    from proxy.cli.run_acts import forget

    return forget(_client(arguments), arguments)


def _show_policy(arguments: argparse.Namespace) -> int:
    from proxy.cli.policy_acts import show_policy

    return show_policy(_client(arguments), arguments)


def _put_policy(arguments: argparse.Namespace) -> int:
    from proxy.cli.policy_acts import put_policy

    return put_policy(_client(arguments), arguments)


def _verify_audit(arguments: argparse.Namespace) -> int:
    from proxy.cli.audit_acts import verify

    return verify(arguments)


def _show_audit(arguments: argparse.Namespace) -> int:
    from proxy.cli.audit_acts import show

    return show(arguments)


def _tail(arguments: argparse.Namespace) -> int:
    from proxy.cli.watching import tail

    try:
        return tail(_client(arguments), arguments)
    except KeyboardInterrupt:  # how one ends it
        return DONE


def _report(arguments: argparse.Namespace) -> int:
    from proxy.cli.reporting import report

    return report(arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from proxy.cli.doctor.examine import doctor

    return doctor(arguments)


def _export_ca(arguments: argparse.Namespace) -> int:
    from proxy.cli.ca import export

    return export(arguments, lambda: _client(arguments))


def _ca_env(arguments: argparse.Namespace) -> int:
    from proxy.cli.ca import env

    return env(arguments)


def _client(arguments: argparse.Namespace) -> ControlClient:
    """The control port that the arguments name, else the environment."""
    settings = client_settings()
    address, token = settings.control_listen, settings.control_token
    if arguments.control is not None:
        address = _named(
            "--control", {"TOOLBOOTH_CONTROL_LISTEN": arguments.control}
        ).control_listen
    if arguments.token_file is not None:
        given = {"TOOLBOOTH_CONTROL_TOKEN_FILE": arguments.token_file}
        token = _named("--token-file", given).control_token
    return ControlClient(address, token)


def _named(option: str, environ: dict[str, str]) -> ClientSettings:
    """What an option says, read as its variable is."""
    try:
        return client_settings(environ)
    except SettingsError as error:
        message = str(error).replace(next(iter(environ)), option)
        raise CommandError(message, BAD_USAGE) from None
