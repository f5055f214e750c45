"""NO_PROXY: which clients go around the booth, and for which hosts (pure).

There is no standard for it. The tables say what each client's own matcher does, as seen by running
them: only exact names, `.suffix` and exact addresses mean the same to all. Whatever matches is a
call that nobody judges.
"""

import re
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from proxy.cli.doctor.verdicts import Check, Group, Verdict, listing

CLIENTS = (
    "requests", "httpx", "httpx2", "aiohttp", "urllib", "curl", "Go", "Node fetch", "Node http",
    "axios",
)  # fmt: skip
_ALL = frozenset(CLIENTS)
_READ_STAR_SUFFIX = frozenset(("httpx2", "Go", "Node fetch", "Node http", "axios"))
_READ_PORTS = _ALL - {"aiohttp", "curl"}
# Python's clients compare the port as it stands in the URL, where a default one does not stand.
_READ_DEFAULT_PORTS = frozenset(("Go", "Node fetch", "Node http", "axios"))
_READ_NETWORKS = frozenset(("requests", "httpx2", "curl", "Go", "axios"))
_READ_NETWORKS_6 = _READ_NETWORKS - {"requests"}
_BARE_NAME_IS_SUFFIX = _ALL - {"Node fetch", "Node http", "axios"}
_SUFFIX_IS_ALSO_NAME = frozenset(("requests", "aiohttp", "urllib", "curl"))
_DIRECT_ON_LOOPBACK = ("Go", "Java")  # whatever is set
_WEB_PORTS = frozenset((80, 443))
_SPLIT = re.compile(r"[,\s]+")


class Entry(NamedTuple):
    """One entry, taken apart. `name` without brackets and case; `*` alone is everything."""

    text: str
    name: str
    port: int | None
    network: IPv4Network | IPv6Network | None


def read_entries(*values: str) -> list[Entry]:
    """Every entry of these values of NO_PROXY, once each."""
    texts = dict.fromkeys(t for value in values for t in _SPLIT.split(value) if t)
    return [_entry(text) for text in texts]


def split_host_port(text: str) -> tuple[str, int | None]:
    """`host`, `host:port`, `[v6]:port` or a bare IPv6 address. Raises ValueError."""
    text = text.strip().lower()
    if text.startswith("["):
        name, _, rest = text[1:].partition("]")
        digits = rest.removeprefix(":")
    elif text.count(":") == 1:
        name, _, digits = text.partition(":")
    else:
        name, digits = text, ""
    if digits and not (digits.isascii() and digits.isdigit() and int(digits) < 65536):
        raise ValueError("the port is not a number")
    return name.rstrip("."), int(digits) if digits else None


def going_around(entry: Entry, host: str, port: int | None) -> tuple[str, ...]:
    """The clients that go direct to this host because of this entry, in the table's order. `port`
    None: a URL without one, so 80 or 443."""
    clients = _matching(entry, host.lower().rstrip("."))
    if entry.port is not None:
        readers = _READ_DEFAULT_PORTS if port is None else _READ_PORTS
        fits = entry.port in _WEB_PORTS if port is None else entry.port == port
        clients = clients & readers if fits else frozenset()
    return tuple(client for client in CLIENTS if client in clients)


def check_no_proxy(environ: Mapping[str, str], sidecars: Collection[str]) -> list[Check]:
    """A check for each entry; `sidecars` are hosts where a sidecar answers."""
    upper, lower = environ.get("NO_PROXY", ""), environ.get("no_proxy", "")
    checks = []
    if upper and lower and upper != lower:
        text = "NO_PROXY and no_proxy differ; clients read one or the other, so both are judged."
        checks.append(Check(Group.NO_PROXY, "NO_PROXY", Verdict.WARNING, text))
    checks += [_judge(entry, sidecars) for entry in read_entries(upper, lower)]
    if not checks:
        text = "Not set: no host is excepted."
        checks.append(Check(Group.NO_PROXY, "NO_PROXY", Verdict.OK, text))
    return checks


def check_host(environ: Mapping[str, str], host: str, port: int | None) -> Check:
    """Would any client go around the booth for this host?"""
    entries = read_entries(environ.get("NO_PROXY", ""), environ.get("no_proxy", ""))
    guilty = {entry.text: going_around(entry, host, port) for entry in entries}
    around = {name for clients in guilty.values() for name in clients}
    reasons = [f"`{text}`" for text, clients in guilty.items() if clients]
    names = [name for name in CLIENTS if name in around]
    why = f" because of {listing(reasons)}" if reasons else ""
    if _is_loopback_host(host):
        names += [name for name in _DIRECT_ON_LOOPBACK if name not in names]
        why += "; Go and Java never use a proxy for loopback" if reasons else ", whatever is set"
    name = host if port is None else f"{host}:{port}"
    if not names:
        return Check(Group.NO_PROXY, name, Verdict.OK, "No client goes around for this host.")
    text = f"{listing(names)} go around for this host{why}."
    return Check(Group.NO_PROXY, name, Verdict.BYPASS, text)


def _entry(text: str) -> Entry:
    if "/" in text:
        try:
            return Entry(text, "", None, ip_network(text, strict=False))
        except ValueError:
            return Entry(text, text.lower(), None, None)
    try:
        name, port = split_host_port(text)
    except ValueError:
        name, port = text.lower(), None
    return Entry(text, name, port, None)


def _matching(entry: Entry, host: str) -> frozenset[str]:
    """Ports aside."""
    name = entry.name
    if name == "*":
        return _ALL
    if entry.network is not None:
        address = _address(host)
        if address is None or address not in entry.network:
            return frozenset()
        return _READ_NETWORKS if entry.network.version == 4 else _READ_NETWORKS_6
    if name.startswith("*"):
        return _READ_STAR_SUFFIX if host.endswith("." + name.lstrip("*.")) else frozenset()
    suffix = name.lstrip(".")
    if host == suffix:
        return _ALL if name == suffix else _SUFFIX_IS_ALSO_NAME
    if not suffix or not host.endswith("." + suffix) or _address(host) is not None:
        return frozenset()
    return _ALL if name != suffix else _BARE_NAME_IS_SUFFIX


def _judge(entry: Entry, sidecars: Collection[str]) -> Check:
    where = f"entry {entry.text}"
    if entry.name == "*":
        text = "Everything goes around the booth."
        return Check(Group.NO_PROXY, where, Verdict.BYPASS, text, ("unset NO_PROXY no_proxy",))
    if _is_loopback(entry):
        text = "Loopback only: harmless, what it names is inside this container."
        return Check(Group.NO_PROXY, where, Verdict.OK, text)
    if entry.name in sidecars:
        text = "The sidecar itself, for its gateway paths: harmless."
        return Check(Group.NO_PROXY, where, Verdict.OK, text)
    return Check(Group.NO_PROXY, where, Verdict.BYPASS, _meaning(entry))


def _meaning(entry: Entry) -> str:
    """Who goes around, and for what."""
    if entry.network is not None:
        readers = _READ_NETWORKS if entry.network.version == 4 else _READ_NETWORKS_6
        return f"Addresses in {entry.network} go around, for {_who(readers)}; others ignore it."
    if entry.name.startswith("*"):
        what = f"Names below {entry.name.lstrip('*.')} go around"
        return f"{what}, for {_who(_READ_STAR_SUFFIX)}; others ignore it."
    if entry.port is not None:
        what = f"{entry.name} goes around at port {entry.port}"
        return f"{what}, for {_who(_READ_PORTS)}; others ignore it."
    if entry.name.startswith("."):
        what = f"Names below {entry.name.lstrip('.')} go around, for every client"
        return f"{what}; the name itself for {_who(_SUFFIX_IS_ALSO_NAME)}."
    if _address(entry.name) is not None:
        return f"{entry.name} goes around, for every client."
    what = f"{entry.name} goes around, for every client"
    return f"{what}; names below it for {_who(_BARE_NAME_IS_SUFFIX)}."


def _who(clients: frozenset[str]) -> str:
    return listing(client for client in CLIENTS if client in clients)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_loopback_host(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _is_loopback(entry: Entry) -> bool:
    if entry.network is not None:
        return entry.network.is_loopback
    name = entry.name.lstrip(".")
    return name.endswith(".localhost") or _is_loopback_host(name)
