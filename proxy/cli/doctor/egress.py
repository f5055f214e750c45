"""Direct ways out: TCP connections from here that do not ask the booth.

Variables bind only the willing. Whether an unwilling program could get out is a matter of the
network, and one connection that opens shows that it could. Nothing is sent over it.
"""

import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from proxy.cli.doctor.no_proxy import split_host_port
from proxy.cli.doctor.verdicts import Check, Group, Verdict

# Public resolvers: reachable from anywhere that reaches anything, and used to being tried.
WELL_KNOWN = (
    "1.1.1.1:443",
    "8.8.8.8:443",
    "1.1.1.1:53",
    "9.9.9.9:53",
    "[2606:4700:4700::1111]:443",
)
_TIMEOUT_S = 3.0
_MOST_AT_ONCE = 16


def parse_target(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `[V6]:PORT`. Raises ValueError."""
    host, port = split_host_port(text)
    if not host or not port:
        raise ValueError("expected HOST:PORT")
    return host, port


def check_egress(targets: Sequence[tuple[str, int]], timeout_s: float = _TIMEOUT_S) -> list[Check]:
    """Try each target directly, all at once: open is a bypass, closed is as it should be."""
    if not targets:
        return []
    with ThreadPoolExecutor(min(len(targets), _MOST_AT_ONCE)) as pool:
        return list(pool.map(lambda target: _check(target[0], target[1], timeout_s), targets))


def _check(host: str, port: int, timeout_s: float) -> Check:
    name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        with socket.create_connection((host, port), timeout_s):
            pass
    except (OSError, UnicodeError) as error:
        text = f"Closed ({_why(error)})."
        return Check(Group.EGRESS, name, Verdict.OK, text)
    text = (
        "Open: a program that ignores the variables gets out. Close the network "
        "(docs/doctor.md, Enforcing it)."
    )
    return Check(Group.EGRESS, name, Verdict.BYPASS, text)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, socket.gaierror):
        return "the name does not resolve"
    return (getattr(error, "strerror", None) or "no connection").lower()
