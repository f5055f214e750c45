"""Where an answer of a gateway's upstream points, in the gateway's terms (RFC 9110 section 10.2.2).

A client that was given `/tools/NAME/` must not be sent to the upstream by name: it would go there
without its secret, or not be let through at all. Only what certainly points below the upstream is
rewritten. What may be read in two ways (user names, dot segments, odd hosts) is left as it is, and
so is a relative reference, which a client resolves against the gateway's own path.
"""

from proxy.model.call import Origin
from proxy.model.errors import BadMessage
from proxy.wire.head import ResponseHead
from proxy.wire.target import has_dot_segment, parse_absolute

_FIELDS = (b"location", b"content-location")


def names_place(head: ResponseHead) -> bool:
    """Does the answer point anywhere?"""
    return _FIELDS[0] in head.named or _FIELDS[1] in head.named


def gateway_lines(lines: list[bytes], origin: Origin, base: str, prefix: str) -> list[bytes]:
    """`lines` of an answer with `Location` and `Content-Location` pointing into the gateway.

    `origin` and `base` (a path without trailing slash) are the upstream, `prefix` the path that
    stands for it here.
    """
    return [_gateway_line(line, origin, base, prefix) for line in lines]


def _gateway_line(line: bytes, origin: Origin, base: str, prefix: str) -> bytes:
    name, _, value = line.partition(b":")
    if name.lower() not in _FIELDS:
        return line
    place = gateway_place(value.strip(b" \t").decode("latin-1"), origin, base, prefix)
    return line if place is None else b"%b: %b" % (name, place.encode())


def gateway_place(reference: str, origin: Origin, base: str, prefix: str) -> str | None:
    """The path in the gateway that `reference` means, or None where it points elsewhere.

    Absolute references, those without a scheme (`//host/path`) and absolute paths are read; the
    base of the last two is the upstream's origin (RFC 3986 section 5.2).
    """
    place, hash_sign, fragment = reference.partition("#")
    if place.startswith("//"):
        place = f"{origin.scheme}:{place}"
    elif place.startswith("/"):
        place = f"{origin.scheme}://{origin.authority}{place}"
    try:
        target = parse_absolute(place, "GET")
    except BadMessage:
        return None
    if target.origin != origin or has_dot_segment(target.path):
        return None
    path, question, query = target.path.partition("?")
    rest = path.removeprefix(base)
    is_below = path.startswith(base) and (not rest or rest.startswith("/"))
    is_plain = fragment.isascii() and fragment.isprintable()
    if not is_below or not is_plain:
        return None
    return f"{prefix}{rest}{question}{query}{hash_sign}{fragment}"
