"""The verbs about files and this machine: reports, the audit log, the CA, and the doctor. None of
them needs a running sidecar, though some ask one if it is there."""

import argparse

from proxy.cli.doctor.options import add_doctor_options
from proxy.cli.selection import count, moment_s
from proxy.cli.verbs import Verbs, add_control, add_json, add_verb, client_of


def add_file_verbs(verbs: Verbs) -> None:
    """All of them."""
    _add_report_verb(verbs)
    _add_doctor(verbs)
    _add_ca_verbs(verbs)
    _add_audit_verbs(verbs)


def _add_report_verb(verbs: Verbs) -> None:
    report = add_verb(verbs, "report", _report, "What the records say, by tool and by run.")
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
    add_json(report)


def _add_doctor(verbs: Verbs) -> None:
    doctor = add_verb(verbs, "doctor", _doctor, "Does everything in this container go through?")
    add_doctor_options(doctor)
    add_json(doctor)


def _add_ca_verbs(verbs: Verbs) -> None:
    ca = verbs.add_parser(
        "ca", help="The certificate that clients of intercepted tools trust.", allow_abbrev=False
    )
    acts = ca.add_subparsers(title="commands", metavar="ACT", required=True)
    export = add_verb(acts, "export", _export_ca, "Print the CA's certificate, never its key.")
    export.add_argument("--out", metavar="FILE", help="write it there")
    export.add_argument("--dir", metavar="DIR", help="where it is kept (TOOLBOOTH_CA_DIR)")
    export.add_argument(
        "--bundle", action="store_true", help="add this machine's root certificates"
    )
    add_control(export)
    env = add_verb(
        acts, "env", _ca_env, "What to set so that clients trust the certificates in a file."
    )
    env.add_argument("--file", required=True, metavar="PATH", help="where clients find it")
    add_json(env)


def _add_audit_verbs(verbs: Verbs) -> None:
    audit = verbs.add_parser(
        "audit", help="Is an audit log unbroken, and what does it say.", allow_abbrev=False
    )
    acts = audit.add_subparsers(title="commands", metavar="ACT", required=True)
    verify = add_verb(acts, "verify", _verify_audit, "Check files of one log; 1: it is broken.")
    verify.add_argument("files", metavar="FILE", nargs="+", help="every file, rotated ones too")
    verify.add_argument(
        "--key-file", metavar="FILE", help="holds the key (TOOLBOOTH_AUDIT_KEY_FILE)"
    )
    verify.add_argument("--head", metavar="HASH", help="a hash that must be in it, noted before")
    add_json(verify)
    show = add_verb(acts, "show", _show_audit, "The last entries of a file. Checks nothing.")
    show.add_argument("file", metavar="FILE")
    show.add_argument("-n", type=count, default=20, metavar="N", help="so many (20)")
    add_json(show)


def _report(arguments: argparse.Namespace) -> int:
    from proxy.cli.reporting import report

    return report(arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from proxy.cli.doctor.examine import doctor

    return doctor(arguments)


def _export_ca(arguments: argparse.Namespace) -> int:
    from proxy.cli.ca import export

    return export(arguments, lambda: client_of(arguments))


def _ca_env(arguments: argparse.Namespace) -> int:
    from proxy.cli.ca import env

    return env(arguments)


def _verify_audit(arguments: argparse.Namespace) -> int:
    from proxy.cli.audit_acts import verify

    return verify(arguments)


def _show_audit(arguments: argparse.Namespace) -> int:
    from proxy.cli.audit_acts import show

    return show(arguments)
