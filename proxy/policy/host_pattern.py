"""Hosts as the catalog names them: an exact name, an address, `*.suffix`, or `*`."""

from proxy.model.errors import BadMessage
from proxy.policy.address import NumericSpelling, literal_address
from proxy.wire.target import canonical_host


def check_host_pattern(raw: str) -> str:
    """The canonical spelling of a pattern; raises `ValueError` with a sentence otherwise.

    The hosts of requests pass through the same `canonical_host`, so that equal hosts are equal
    strings. A wildcard stands for whole labels in front and nowhere else: `*example.com` would
    also match `evil-example.com`, which anybody can register.
    """
    if raw == "*":
        return raw
    if not raw.isascii():
        raise ValueError(f"write an internationalised name in its ASCII form{_a_label_hint(raw)}")
    wildcard = raw.startswith("*.")
    body = raw[2:] if wildcard else raw
    if "*" in body:
        raise ValueError("'*' may stand alone or for the first labels, as in '*.example.com'")
    if "/" in body or "@" in body:
        raise ValueError("is not a host; leave out scheme, user and path")
    if body.startswith("[") and body.endswith("]"):
        body = body[1:-1]
    elif body.count(":") == 1:
        raise ValueError("holds a port; ports go into 'ports'")
    try:
        host = canonical_host(body)
    except BadMessage as error:
        raise ValueError(f"is not a host: {error}") from None
    literal = literal_address(host)
    if wildcard and literal is not None:
        raise ValueError("an address can have no wildcard; list addresses one by one")
    if isinstance(literal, NumericSpelling):
        raise _misspelt(literal)
    return f"*.{host}" if wildcard else host


def _misspelt(literal: NumericSpelling) -> ValueError:
    hint = f"; write {literal.address}" if literal.address else ""
    return ValueError(f"is an address in a spelling that is always refused{hint}")


def _a_label_hint(raw: str) -> str:
    try:
        return f": '{raw.encode('idna').decode('ascii')}'"
    except UnicodeError:
        return ""
