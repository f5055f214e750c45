"""IP addresses: recognise one in a host, say which class it is, judge whether it may be dialled.

The classes are an explicit table (the IANA special-purpose registries and the known metadata
services) because the standard library's `is_global` and `is_private` call multicast, 6to4, NAT64
and IPv4-compatible addresses public, and carrier-grade NAT not private. IPv6 addresses that carry
an IPv4 address are judged by what they carry, or an attacker would wrap `127.0.0.1` in one of
them. In IPv6 what is not in 2000::/3 is not public, whether the table knows it or not.
"""

import re
from enum import StrEnum
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from proxy.policy.policy import Network

Address = IPv4Address | IPv6Address


class AddressClass(StrEnum):
    """What kind of place an address is. Only `PUBLIC` may be dialled without being asked for."""

    PUBLIC = "public"
    UNSPECIFIED = "unspecified"
    THIS_NETWORK = "this_network"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    LINK_LOCAL = "link_local"
    CGNAT = "cgnat"
    MULTICAST = "multicast"
    BROADCAST = "broadcast"
    RESERVED = "reserved"
    DOCUMENTATION = "documentation"
    BENCHMARKING = "benchmarking"
    METADATA = "metadata"
    IPV4_MAPPED = "ipv4_mapped"
    IPV4_TRANSLATED = "ipv4_translated"
    IPV4_COMPATIBLE = "ipv4_compatible"
    NAT64 = "nat64"
    NAT64_LOCAL = "nat64_local"
    SIX_TO_FOUR = "6to4"
    TEREDO = "teredo"
    ISATAP = "isatap"


_C = AddressClass

# The first row that holds the address decides, so single addresses stand above their networks.
_IPV4_TABLE = (
    ("169.254.169.254/32", _C.METADATA),  # AWS, Azure, Google, and most that copied them
    ("169.254.170.2/32", _C.METADATA),  # AWS ECS task credentials
    ("169.254.170.23/32", _C.METADATA),  # AWS EKS pod identity
    ("169.254.0.23/32", _C.METADATA),  # Tencent
    ("169.254.42.42/32", _C.METADATA),  # Scaleway
    ("100.100.100.200/32", _C.METADATA),  # Alibaba, within carrier-grade NAT
    ("168.63.129.16/32", _C.METADATA),  # Azure host services, within public space
    ("192.0.0.192/32", _C.METADATA),  # Oracle
    ("0.0.0.0/32", _C.UNSPECIFIED),  # Linux connects it to the local host
    ("0.0.0.0/8", _C.THIS_NETWORK),
    ("10.0.0.0/8", _C.PRIVATE),
    ("100.64.0.0/10", _C.CGNAT),
    ("127.0.0.0/8", _C.LOOPBACK),
    ("169.254.0.0/16", _C.LINK_LOCAL),
    ("172.16.0.0/12", _C.PRIVATE),
    ("192.0.0.0/24", _C.RESERVED),  # IETF protocol assignments
    ("192.0.2.0/24", _C.DOCUMENTATION),
    ("192.88.99.0/24", _C.RESERVED),  # 6to4 relays, withdrawn by RFC 7526
    ("192.168.0.0/16", _C.PRIVATE),
    ("198.18.0.0/15", _C.BENCHMARKING),
    ("198.51.100.0/24", _C.DOCUMENTATION),
    ("203.0.113.0/24", _C.DOCUMENTATION),
    ("224.0.0.0/4", _C.MULTICAST),
    ("255.255.255.255/32", _C.BROADCAST),
    ("240.0.0.0/4", _C.RESERVED),
)
_IPV6_TABLE = (
    ("::/128", _C.UNSPECIFIED),
    ("::1/128", _C.LOOPBACK),
    ("fd00:ec2::/32", _C.METADATA),  # AWS: metadata, DNS, time, pod identity
    ("fd20:ce::254/128", _C.METADATA),  # Google
    ("fd00:c1::a9fe:a9fe/128", _C.METADATA),  # Oracle
    ("fd00:42::42/128", _C.METADATA),  # Scaleway
    ("2001::/23", _C.RESERVED),  # IETF protocol assignments, ORCHID and benchmarking among them
    ("2001:db8::/32", _C.DOCUMENTATION),
    ("3fff::/20", _C.DOCUMENTATION),
    ("2000::/3", _C.PUBLIC),
    ("fc00::/7", _C.PRIVATE),  # unique local
    ("fe80::/10", _C.LINK_LOCAL),
    ("fec0::/10", _C.PRIVATE),  # site local, withdrawn and still routed within sites
    ("ff00::/8", _C.MULTICAST),
)

# Prefix, class, how far right the IPv4 address stands, and whether a public one inside makes the
# whole public. It does where the kernel (mapped) or a DNS64 network (NAT64) dials that address
# itself; the tunnels of the others are withdrawn, and nobody honest needs them.
_EMBEDDINGS = (
    ("::ffff:0:0/96", _C.IPV4_MAPPED, (0,), True),
    ("::ffff:0:0:0/96", _C.IPV4_TRANSLATED, (0,), False),
    ("::/96", _C.IPV4_COMPATIBLE, (0,), False),
    ("64:ff9b::/96", _C.NAT64, (0,), True),
    ("64:ff9b:1::/48", _C.NAT64_LOCAL, (0,), False),
    ("2002::/16", _C.SIX_TO_FOUR, (80,), False),
    ("2001::/32", _C.TEREDO, (0, 64), False),  # client (inverted) and server
)
_ISATAP_MARKS = (0x0000_5EFE, 0x0200_5EFE)  # RFC 5214 section 6.1: above the last 32 bits
_ALL_ONES = 0xFFFF_FFFF


class _Row(NamedTuple):
    first: int
    last: int
    kind: AddressClass


class _Embedding(NamedTuple):
    first: int
    last: int
    kind: AddressClass
    shifts: tuple[int, ...]
    transparent: bool


def _row(network: Network, kind: AddressClass) -> _Row:
    return _Row(int(network.network_address), int(network.broadcast_address), kind)


_IPV4_ROWS = tuple(_row(IPv4Network(text), kind) for text, kind in _IPV4_TABLE)
_IPV6_ROWS = tuple(_row(IPv6Network(text), kind) for text, kind in _IPV6_TABLE)
_EMBEDDING_ROWS = tuple(
    _Embedding(*_row(IPv6Network(text), kind), shifts, transparent)
    for text, kind, shifts, transparent in _EMBEDDINGS
)
METADATA_NETWORKS: tuple[Network, ...] = tuple(
    [IPv4Network(text) for text, kind in _IPV4_TABLE if kind is _C.METADATA]
    + [IPv6Network(text) for text, kind in _IPV6_TABLE if kind is _C.METADATA]
)


def address_class(address: Address) -> str:
    """The `AddressClass` of an address; for an IPv6 address that carries a non-public IPv4 one,
    both, as in `nat64:loopback`."""
    number = int(address)
    if address.version == 4:
        return _find(_IPV4_ROWS, number, _C.PUBLIC)
    if number > 1:  # `::` and `::1` would else pass for embeddings of 0.0.0.0 and 0.0.0.1
        for row in _EMBEDDING_ROWS:
            if row.first <= number <= row.last:
                return _embedded_class(row, number)
    if (number >> 32) & _ALL_ONES in _ISATAP_MARKS:
        inner = _find(_IPV4_ROWS, number & _ALL_ONES, _C.PUBLIC)
        if inner is not _C.PUBLIC:
            return f"{_C.ISATAP}:{inner}"
    return _find(_IPV6_ROWS, number, _C.RESERVED)


def _find(rows: tuple[_Row, ...], number: int, otherwise: AddressClass) -> AddressClass:
    for first, last, kind in rows:
        if first <= number <= last:
            return kind
    return otherwise


def _embedded_class(row: _Embedding, number: int) -> str:
    candidates = [(number >> shift) & _ALL_ONES for shift in row.shifts]
    if row.kind is _C.TEREDO:
        candidates[0] ^= _ALL_ONES
    elif row.kind is _C.NAT64_LOCAL:  # RFC 6052 section 2.2: a /48 splits the address around u
        candidates.append((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF)
    for candidate in candidates:
        inner = _find(_IPV4_ROWS, candidate, _C.PUBLIC)
        if inner is not _C.PUBLIC:
            return f"{row.kind}:{inner}"
    return _C.PUBLIC if row.transparent else row.kind


def judge_address(ip: Address, allow: tuple[Network, ...]) -> str | None:
    """None if this address may be dialled, else the class it is refused for.

    `allow` (the tool's `allow_addresses`) opens what is not public. A metadata service hands out
    credentials to whoever asks, so only an entry of exactly its address opens it, never a network
    that happens to hold it.
    """
    kind = address_class(ip)
    if kind == _C.PUBLIC or (allow and _is_opened(ip, allow, kind.endswith(_C.METADATA))):
        return None
    return kind


def _is_opened(ip: Address, allow: tuple[Network, ...], exactly: bool) -> bool:
    plain = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    for network in allow:
        if exactly and network.prefixlen != network.max_prefixlen:
            continue
        if ip in network or (plain is not None and plain in network):
            return True
    return False


class NumericSpelling(NamedTuple):
    """A host that resolvers may take for a number, though it is not how the address is written.
    `address` is what `inet_aton` would make of it, None if nothing."""

    address: IPv4Address | None

    @property
    def kind(self) -> str:
        """What to call it in a refusal: `numeric spelling of loopback`."""
        if self.address is None:
            return "malformed address"
        return f"numeric spelling of {address_class(self.address)}"


_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")


@lru_cache(maxsize=4096)
def literal_address(host: str) -> Address | NumericSpelling | None:
    """The address that a canonical host is, a `NumericSpelling`, or None for a name.

    A host whose last label is a number is never a name (WHATWG URL, "ends in a number"): the C
    library dials `2130706433`, `0x7f.1` and `127.1` as 127.0.0.1 without asking any resolver that
    we could watch.
    """
    if ":" in host:
        try:
            return NumericSpelling(None) if "%" in host else IPv6Address(host)
        except AddressValueError:
            return NumericSpelling(None)
    last = host[host.rfind(".") + 1 :]
    if not last[:1].isdigit() or not _NUMBER.fullmatch(last):
        return None
    try:
        return IPv4Address(host)
    except AddressValueError:
        return NumericSpelling(_inet_aton(host))


def judge_literal(host: str, allow: tuple[Network, ...]) -> str | None:
    """`judge_address` for a canonical host: None for a name (its addresses are judged once they
    are known) and for an address that may be dialled; a numeric spelling never may."""
    literal = literal_address(host)
    if literal is None:
        return None
    return literal.kind if isinstance(literal, NumericSpelling) else judge_address(literal, allow)


def _inet_aton(host: str) -> IPv4Address | None:
    """One to four decimal, octal or hexadecimal parts, the last filling what is left."""
    parts = host.split(".")
    if len(parts) > 4 or len(host) > 64 or not all(map(_NUMBER.fullmatch, parts)):
        return None
    try:
        *heads, tail = [_c_number(part) for part in parts]
    except ValueError:
        return None
    if any(head > 255 for head in heads) or tail >= 256 ** (4 - len(heads)):
        return None
    number = sum(head << (24 - 8 * place) for place, head in enumerate(heads)) + tail
    return IPv4Address(number)


def _c_number(text: str) -> int:
    if text[:2] in {"0x", "0X"}:
        return int(text[2:] or "0", 16)
    return int(text, 8) if text.startswith("0") else int(text)
