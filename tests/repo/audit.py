"""Known vulnerabilities of the locked packages: `make audit`, by pip-audit.

Asks an advisory service on the network. Where none answers for a package, that package has not been
audited, and it is said so: silence would read as clean. Exit codes: 0 clean, 1 vulnerable, 2 not
audited (0 with `--where-reachable`, for `make check`, which has to work without a network).
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.repo.tree import ROOT

LOCKS = ("requirements.txt", "requirements-dev.txt", "requirements-mcp1.txt")
_WITHIN_S = 120
_SILENCE_S = 10  # of the service, for one package


class Audit(NamedTuple):
    """`found`: one line for each vulnerability. `unaudited`: packages that nobody vouched for."""

    audited: int
    found: list[str]
    unaudited: list[str]


def read_report(report: Mapping[str, Any]) -> Audit:
    """What pip-audit's JSON says."""
    found, unaudited, audited = list[str](), list[str](), 0
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unaudited.append(package["name"])
            continue
        audited += 1
        for flaw in package["vulns"]:
            fixed = ", ".join(flaw["fix_versions"]) or "no version"
            found.append(f"{package['name']} {package['version']}: {flaw['id']}, fixed in {fixed}")
    return Audit(audited, found, unaudited)


def verdict(audits: Mapping[str, Audit | None], *, where_reachable: bool) -> tuple[int, list[str]]:
    """Exit code and lines, for what was read of each lock; None where nothing was."""
    lines, is_vulnerable, is_audited = list[str](), False, True
    for lock, audit in audits.items():
        if audit is None or (audit.unaudited and not audit.audited):
            lines.append(f"audit: {lock} was NOT AUDITED: no advisory service answered.")
            is_audited = False
            continue
        lines += [f"audit: {lock}: {line}" for line in audit.found]
        is_vulnerable = is_vulnerable or bool(audit.found)
        if audit.unaudited:
            lines.append(f"audit: {lock}: NOT AUDITED: {', '.join(audit.unaudited)}.")
            is_audited = False
        elif not audit.found:
            lines.append(f"audit: {lock}: {audit.audited} packages, nothing known against them.")
    if is_vulnerable:
        return 1, lines
    return (0 if is_audited or where_reachable else 2), lines


def ask(lock: str) -> Audit | None:
    """Have pip-audit ask about one lock; None if it got nowhere."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", "--requirement", str(ROOT / lock), "--disable-pip",
             "--require-hashes", "--format", "json", "--progress-spinner", "off",
             "--timeout", str(_SILENCE_S)],
            capture_output=True, text=True, timeout=_WITHIN_S, check=False,
        )  # fmt: skip
        return read_report(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None


def main(arguments: Sequence[str]) -> int:
    audits: dict[str, Audit | None] = {}
    for lock in LOCKS:
        audits[lock] = ask(lock)
        if audits[lock] is None:  # the others would wait as long for the same silence
            audits.update(dict.fromkeys(LOCKS[len(audits) :]))
            break
    code, lines = verdict(audits, where_reachable="--where-reachable" in arguments)
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
