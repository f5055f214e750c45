"""The proxy variables: which are set, whether they agree, and where they point (pure).

curl reads only `http_proxy` for plain HTTP, gRPC and wget only lower case, others prefer either:
both cases have to be set, and to the same.
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from proxy.cli.doctor.verdicts import Check, Group, Verdict

FAMILIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
_NEEDED = frozenset(("http_proxy", "https_proxy"))
_NODE = "NODE_USE_ENV_PROXY"


class Endpoint(NamedTuple):
    """Where a proxy URL leads. `user` is the run id, None where it has none. `str()` shows no
    credentials."""

    host: str
    port: int
    user: str | None = None
    password: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_proxy(url: str) -> Endpoint:
    """A proxy URL as clients read it, `http://` being optional. Raises ValueError with a sentence
    that repeats nothing of the URL, which may hold a password."""
    text = url.strip()
    try:  # what the library says of a bad URL may repeat it
        parts = urlsplit(text if "://" in text else f"http://{text}")
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "http", None, None
    if scheme != "http":
        raise ValueError(
            "It has to be an http:// URL: the booth speaks no TLS or SOCKS to clients."
        )
    if not host or not port or not host.isprintable():
        raise ValueError("It has to be http://RUN:x@HOST:PORT, port included.")
    user = unquote(parts.username) if parts.username else None
    return Endpoint(host, port, user, unquote(parts.password or ""))


def check_variables(environ: Mapping[str, str]) -> list[Check]:
    """A check for each family that is set or has to be."""
    checks = [_family(environ, name) for name in FAMILIES if _is_worth_a_line(environ, name)]
    node = environ.get(_NODE)
    if node not in (None, "", "1"):
        lines = (f"export {_NODE}=1",)
        text = "Only the value 1 makes Node use a proxy."
        checks.append(Check(Group.VARIABLES, _NODE, Verdict.WARNING, text, lines))
    elif node:
        text = "Set: Node 22 and newer use the proxy variables."
        checks.append(Check(Group.VARIABLES, _NODE, Verdict.OK, text))
    return checks


def endpoints(environ: Mapping[str, str]) -> dict[Endpoint, list[str]]:
    """Where the variables point, with the names that do; unreadable ones are left out."""
    found: dict[Endpoint, list[str]] = {}
    for family in FAMILIES:
        for name in (family, family.upper()):
            value = environ.get(name)
            if not value:
                continue
            try:
                found.setdefault(parse_proxy(value), []).append(name)
            except ValueError:
                continue
    return found


def _is_worth_a_line(environ: Mapping[str, str], family: str) -> bool:
    return family in _NEEDED or bool(environ.get(family) or environ.get(family.upper()))


def _family(environ: Mapping[str, str], family: str) -> Check:
    lower, upper = environ.get(family, ""), environ.get(family.upper(), "")
    name = f"{family}, {family.upper()}"
    if not lower and not upper:
        text = "Neither is set, so clients go around the booth."
        lines = (f"export {family.upper()}=http://RUN:x@BOOTH:8080 {_same(family)}",)
        return Check(Group.VARIABLES, name, Verdict.BYPASS, text, lines)
    for value in filter(None, (lower, upper)):
        try:
            parse_proxy(value)
        except ValueError as error:
            return Check(Group.VARIABLES, name, Verdict.BROKEN, str(error))
    target = parse_proxy(lower or upper)
    where = f"{target}, run {target.user}" if target.user else f"{target}, without a run id"
    if lower and upper and lower != upper:
        text = f"They differ ({where}; {parse_proxy(upper)}): each client takes its pick."
        return Check(Group.VARIABLES, name, Verdict.WARNING, text, (f"export {_same(family)}",))
    if not lower:
        text = f"Only upper case is set ({where}): curl, wget and gRPC read lower case."
        return Check(Group.VARIABLES, name, Verdict.WARNING, text, (f"export {_same(family)}",))
    return Check(Group.VARIABLES, name, Verdict.OK, where)


def _same(family: str) -> str:
    return f'{family}="${family.upper()}"'
