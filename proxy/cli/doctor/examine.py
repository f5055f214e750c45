"""`toolbooth doctor`: one round of checks, from the variables to the ways out."""

import argparse
from collections.abc import Mapping, Sequence

from proxy.cli.doctor.booth import Booth, check_booth
from proxy.cli.doctor.clients import NAMES, RUNTIMES
from proxy.cli.doctor.egress import WELL_KNOWN, check_egress, parse_target
from proxy.cli.doctor.judging import Facts
from proxy.cli.doctor.no_proxy import check_host, check_no_proxy, split_host_port
from proxy.cli.doctor.page import page_json, page_text
from proxy.cli.doctor.trying import Bench, check_clients, new_nonce, unchecked
from proxy.cli.doctor.variables import Endpoint, check_variables, endpoints, parse_proxy
from proxy.cli.doctor.verdicts import Check, Verdict, exit_code, overall
from proxy.cli.exit_codes import BAD_USAGE, CommandError
from proxy.cli.tables import shown
from proxy.settings import agent_environment

_NO_EGRESS = "none"


def doctor(arguments: argparse.Namespace, well_known: Sequence[str] = WELL_KNOWN) -> int:
    """Look at everything, print it, and fail if anything bypasses or is broken. `well_known` is
    what is tried directly where the arguments name nothing."""
    environ = agent_environment()
    runtimes = [r for r in RUNTIMES if r.name in _only(arguments.only)]
    targets = _targets(arguments.egress, well_known)
    hosts = [_host(text) for text in arguments.hosts]
    asked = _asked(environ, arguments.proxy)

    checks = check_variables(environ)
    booths: list[Booth] = []
    for endpoint, names in asked.items():
        check, booth = check_booth(endpoint, names, new_nonce())
        checks.append(check)
        booths += [booth] if booth is not None else []
    checks += check_no_proxy(environ, {booth.endpoint.host for booth in booths})
    checks += [check_host(environ, host, port) for host, port in hosts]
    ways_out = check_egress(targets)
    if booths:
        is_closed = bool(ways_out) and overall(ways_out) is Verdict.OK
        facts = Facts(booths[0], any(booth.intercepts for booth in booths), is_closed)
        checks += check_clients(runtimes, Bench(environ, booths, facts, arguments.timeout))
    else:
        checks += unchecked(runtimes, environ)
    checks += ways_out
    return _print(checks, booths, as_json=arguments.json)


def _print(checks: Sequence[Check], booths: Sequence[Booth], *, as_json: bool) -> int:
    print(page_json(checks, booths) if as_json else page_text(checks))
    return exit_code(overall(checks))


def _asked(environ: Mapping[str, str], proxy: str | None) -> dict[Endpoint, list[str]]:
    """Where the sidecars are, the one given first."""
    asked: dict[Endpoint, list[str]] = {}
    if proxy is not None:
        try:
            asked[parse_proxy(proxy)] = ["--proxy"]
        except ValueError as error:
            raise CommandError(f"--proxy: {error}", BAD_USAGE) from None
    for endpoint, names in endpoints(environ).items():
        asked.setdefault(endpoint, []).extend(names)
    return asked


def _only(text: str | None) -> Sequence[str]:
    if text is None:
        return NAMES
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            known = ", ".join(NAMES)
            raise CommandError(f"--only: {shown(name)} is none of {known}.", BAD_USAGE)
    return names


def _targets(given: Sequence[str] | None, well_known: Sequence[str]) -> list[tuple[str, int]]:
    targets = []
    for text in well_known if given is None else [t for t in given if t != _NO_EGRESS]:
        try:
            targets.append(parse_target(text))
        except ValueError:
            raise CommandError(f"--egress {shown(text)}: expected HOST:PORT.", BAD_USAGE) from None
    return targets


def _host(text: str) -> tuple[str, int | None]:
    try:
        host, port = split_host_port(text)
    except ValueError as error:
        raise CommandError(f"{shown(text)}: {error}.", BAD_USAGE) from None
    if not host or "/" in host:
        raise CommandError(f"{shown(text)}: expected HOST or HOST:PORT.", BAD_USAGE)
    return host, port
