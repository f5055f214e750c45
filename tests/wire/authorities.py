"""Authorities as urllib and ipaddress read them."""

from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

from proxy.model.errors import BadMessage
from proxy.wire.target import split_authority
from tests.wire.fragments import Chooser

PIECES = (
    "h.test", "g.test", "H", "a_b", "-", "xn--", "xn--mgb", "xn--bcher-kva", "127.0.0.1", "127.1",
    "0x7f", "2130706433", "[::1]", "[", "]", "::1", "::ffff:127.0.0.1", "fe80::1", "%25", "%25eth0",
    "%", "%00", "%2e", ".", "..", ":", ":80", ":080", ":0", ":65535", ":65536", ":+80", ": 80",
    "@", "u@", "u:p@", "/", "\\", "?", "#", ";", ",", "a" * 63, "a" * 64, "1.", "\x00", " ",
    "\t", "\u212a", "\uff11", "\u3002", "\u2460",
)  # fmt: skip


def odd_authority(choose: Chooser) -> str:
    """Up to five pieces in a row."""
    return "".join(choose.of(PIECES) for _ in range(1 + choose.below(5)))


def other_hosts(raw: str) -> list[str] | None:
    """What others read where it differs from what we accept; None: we refuse. The zone of a
    link-local address is dropped by us and compared by nobody."""
    try:
        host, port = split_authority(raw)
    except BadMessage:
        return None
    split = urlsplit(f"http://{raw}/")
    others = []
    if _canonical(split.hostname or "") != host:
        others.append(f"host {split.hostname}")
    if split.port != port:
        others.append(f"port {split.port}")
    if split.username is not None or split.path != "/" or split.query or split.fragment:
        others.append(str(split))
    return others


def _canonical(name: str) -> str:
    """As a reader that knows nothing of our rules would write it."""
    address = name.partition("%")[0]
    if ":" in name:
        return str(IPv6Address(address))
    try:
        return str(ip_address(name))
    except ValueError:
        return name.removesuffix(".")
