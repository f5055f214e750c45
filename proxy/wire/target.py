"""Request targets and hosts: the three forms of RFC 9112 section 3.2 that a proxy meets.

The policy is decided on what this module returns, and what it returns is what is sent upstream,
so there is one reading of a target and not two. Anything that another parser might read
differently (userinfo, fragments, odd ports, percent-encoded or non-ASCII hosts) is refused rather
than repaired; paths are never decoded, normalised or rewritten.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from unicodedata import category, normalize

from proxy.model.call import Origin, Target
from proxy.model.errors import BadMessage
from proxy.model.remember import Memory

_MAX_HOST_CHARS = 253
_MAX_REMEMBERED = 1024
_MAX_REMEMBERED_CHARS = 512
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_JOINERS = "\u200c\u200d"  # invisible, but some scripts cannot be written without them
_ZONE = re.compile(r"25[A-Za-z0-9._~-]{1,32}")  # RFC 6874, without percent-encoding
_ABSOLUTE = re.compile(r"(?ai:(https?))://([^/?#]*+)([/?][\x21\x22\x24-\x7e]*+)?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@lru_cache(maxsize=4096)
def canonical_host(raw: str) -> str:
    """The one spelling of `raw` (no brackets, no port) that everything else uses.

    Lower case, one trailing dot stripped, IPv6 in its shortest form. Numeric IPv4 spellings such
    as `127.1` come back as they are: `policy.address` tells them from names. Raises `BadMessage`
    for what is neither a host name of letters, digits, hyphens and underscores nor an address.
    """
    if ":" in raw:
        return _canonical_ipv6(raw)
    host = raw.lower().removesuffix(".")
    # `raw` must be ASCII before it is lowered: the Kelvin sign becomes a plain `k`.
    if not host or len(host) > _MAX_HOST_CHARS or not raw.isascii():
        raise BadMessage("The host is empty, too long or not ASCII.")
    for label in host.split("."):
        if not _LABEL.fullmatch(label):
            raise BadMessage("The host has a label that no host name may have.")
        if label.startswith("xn--"):
            _check_a_label(label)
    return host


def _canonical_ipv6(raw: str) -> str:
    address, percent, zone = raw.partition("%")
    if percent and not _ZONE.fullmatch(zone):
        raise BadMessage("The zone of the address is not %25 and a name.")
    try:
        parsed = IPv6Address(address)
    except AddressValueError:
        raise BadMessage("The bracketed host is not an IPv6 address.") from None
    mapped = parsed.ipv4_mapped
    # Python's own word and spelling for an IPv4 address in IPv6 changed with 3.13; a verdict and
    # a host's one spelling (RFC 5952 section 5) are the same whatever runs this.
    if percent and (mapped is not None or not parsed.is_link_local):
        raise BadMessage("Only a link-local address has a zone.")
    # A zone is dropped: link-local addresses are refused by class anyway.
    return str(parsed) if mapped is None else f"::ffff:{mapped}"


def _check_a_label(label: str) -> None:
    """RFC 5891: an A-label must decode, and encode back to itself; to no controls or blanks, and to
    nothing that another reader would fold into another name (capitals, full-width digits)."""
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
        encoded = b"xn--" + decoded.encode("punycode")
    except UnicodeError:
        encoded, decoded = b"", ""
    is_folded = normalize("NFKC", decoded.lower()) == decoded
    is_visible = all(char in _JOINERS or category(char)[0] not in "CZ" for char in decoded)
    if encoded != label.encode("ascii") or decoded.isascii() or not is_folded or not is_visible:
        raise BadMessage("The host has an invalid internationalised label.")


@lru_cache(maxsize=4096)
def split_authority(raw: str) -> tuple[str, int | None]:
    """`host[:port]` to (canonical host, port or None). No userinfo, no empty or padded port."""
    if raw.startswith("["):
        inner, bracket, rest = raw[1:].partition("]")
        if not bracket or ":" not in inner or (rest and rest[0] != ":"):
            raise BadMessage("The authority has misplaced brackets.")
        host, port_text = inner, rest[1:] if rest else None
    else:
        name, colon, digits = raw.partition(":")
        host, port_text = name, digits if colon else None
        if ":" in (port_text or ""):
            raise BadMessage("An IPv6 address needs brackets.")
    return canonical_host(host), None if port_text is None else _port(port_text)


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise BadMessage("The port is not a number from 1 to 65535.")
    return int(text)


def parse_absolute(raw: str, method: str) -> Target:
    """Absolute-form (RFC 9112 section 3.2.2): `http://host[:port][/path][?query]`.

    An empty path becomes `/` (3.2.1), or `*` for OPTIONS without path and query (3.2.4).
    """
    is_options = method == "OPTIONS"
    target = _absolutes.known.get((raw, is_options))
    if target is None:
        target = _absolute(raw, is_options=is_options)
        if len(raw) <= _MAX_REMEMBERED_CHARS:
            _absolutes.keep((raw, is_options), target)
    return target


def _absolute(raw: str, *, is_options: bool) -> Target:
    match = _ABSOLUTE.fullmatch(raw)
    if match is None:
        raise BadMessage("The target is not an http or https URL without fragment.")
    scheme, authority, path = match.groups()
    if not path:
        path = "*" if is_options else "/"
    elif not path.startswith("/"):
        path = "/" + path
    return Target(_origin(scheme.lower(), authority), path)


@lru_cache(maxsize=_MAX_REMEMBERED)
def _origin(scheme: str, authority: str) -> Origin:
    host, port = split_authority(authority)
    return Origin(scheme, host, port or _DEFAULT_PORTS[scheme])


_absolutes: Final[Memory[tuple[str, bool], Target]] = Memory(_MAX_REMEMBERED)


def parse_connect(raw: str) -> Target:
    """Authority-form (RFC 9112 section 3.2.3): `host:port`, the port mandatory."""
    host, port = split_authority(raw)
    if port is None:
        raise BadMessage("CONNECT needs host:port.")
    return Target(Origin("https", host, port), "")


def parse_origin_form(raw: str, scheme: str, host: str, port: int) -> Target:
    """Origin-form inside a tunnel, whose authority is already known."""
    if not raw.startswith("/") or "#" in raw:
        raise BadMessage("The target is not a path.")
    return Target(Origin(scheme, host, port), raw)


@lru_cache(maxsize=4096)
def check_host_field(value: bytes) -> tuple[str, int | None]:
    """A Host field must be one authority (RFC 9112 section 3.2): what it says is not used for
    routing, but a list, userinfo or a path in it is an attempt to be read in two ways."""
    try:
        return split_authority(value.decode("ascii"))
    except UnicodeDecodeError:
        raise BadMessage("The Host field is not ASCII.") from None


_DOT_SEGMENT = re.compile(r"(?i)(?:^|/|\\|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\;?]|%2f|%5c|%3b)")


def has_dot_segment(path: str) -> bool:
    """Is there a `.` or `..` segment in the path, in any encoding an origin might undo?"""
    return _DOT_SEGMENT.search(path.partition("?")[0]) is not None
