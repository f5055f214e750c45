"""The shapes of secrets and personal data in free text.

A table of RE2 expressions, each with a kind (which stands in the marker, `[redacted:email]`) and
an optional closer look. RE2, because its time is linear in the text whatever the text is: the
text comes from agents and servers. It has no look-around; where context matters, a check reads
the neighbours. Recall comes first for credentials, precision for personal data.
"""

import base64
import binascii
import math
from collections import Counter
from collections.abc import Iterator

from proxy.telemetry.named import NAMED
from proxy.telemetry.national import NATIONAL, national_ids
from proxy.telemetry.personal import (
    Found,
    Span,
    cards,
    emails,
    first_group,
    ibans,
    phones,
    social_security,
)
from proxy.telemetry.vendors import VENDORS, Shape


def credential_word(found: Found) -> Iterator[Span]:
    """`Bearer xyz`, unless the next word is prose: letters only, with more text around."""
    token = found.group(1)
    plain = token.replace("_", "").replace("-", "").rstrip(".=").isalpha()
    one_case = token[1:] == token[1:].lower()
    if not (plain and one_case and len(token) < 24) or found.group() == found.string.strip():
        yield found.span()


def basic_word(found: Found) -> Iterator[Span]:
    """`Basic xyz` where xyz is base64 of `user:password`, or where nothing else is said."""
    token = found.group(1).rstrip("=")
    padded = token.replace("-", "+").replace("_", "/") + "=" * (-len(token) % 4)
    try:
        decoded = base64.b64decode(padded, validate=True)
    except binascii.Error:
        decoded = b""
    if b":" in decoded or found.group() == found.string.strip():
        yield found.span()


def userinfo(found: Found) -> Iterator[Span]:
    """What stands before the host of a URL; a bare user name of SSH is none of it."""
    scheme = found.group().partition(":")[0].lower()
    if ":" in found.group(1) or not scheme.endswith(("ssh", "sftp")):
        yield found.span(1)


def forty_random(found: Found) -> Iterator[Span]:
    """Forty characters as in an AWS secret key: both cases, digits, high entropy, on its own.
    A hex digest has one case; a path or an identifier repeats its letters."""
    text, (start, end) = found.string, found.span(1)
    value = text[start:end]
    if value.lower() == value or value.upper() == value:
        return
    around = text[max(0, start - 1) : start] + text[end : end + 1]
    if any(char.isalnum() or char in "/+=_.-" for char in around.replace("=", "", 1)):
        return
    counts = Counter(value).values()
    entropy = -sum(n / 40 * math.log2(n / 40) for n in counts)
    if entropy >= 4.4 and any(char.isdigit() for char in value):
        yield start, end


_PEM = (
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)"
)
_COOKIE = r"""(?i)\b(?:set-)?cookie2?["']?[ \t]*[:=][ \t]*["']?([^\r\n"'=]+=[^\r\n"']+)"""

CREDENTIALS: tuple[Shape, ...] = (
    Shape("private_key", _PEM),
    Shape("jwt", r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}"),
    *VENDORS,
    Shape("cookie", _COOKIE, first_group),
    Shape("userinfo", r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/?#\"'<>]+)@", userinfo),
    Shape("bearer", r"(?i)\bbearer[ \t]+([a-z0-9._~+/-]{6,}=*)", credential_word),
    Shape("basic", r"(?i)\bbasic[ \t]+([a-z0-9+/_-]{8,}={0,2})", basic_word),
    *NAMED,
)
# Last of all: the vaguest, it would take pieces of the others.
# Only where a run of such characters begins: inside a longer one it is none, and a body may be one
# run of thousands.
VAGUE: tuple[Shape, ...] = (
    Shape("aws_secret", r"(?:^|[^A-Za-z0-9/+])([A-Za-z0-9/+]{40})", forty_random),
)

# "Not ASCII" stands for the letters of other scripts: Unicode's letter classes would make the
# automaton fifty times larger and every search thirty times slower.
_ABROAD = r"\x{80}-\x{10FFFF}"
_EMAIL = rf"[A-Za-z0-9._%+{_ABROAD}-]+(?:@|%40)(?:[A-Za-z0-9{_ABROAD}-]+\.)+[A-Za-z{_ABROAD}]{{2,}}"
_PHONE = (
    r"\+[1-9][0-9]{0,3}[ .-]?\(?[0-9](?:[ ().-]{0,2}[0-9]){5,13}"
    r"|(?:\b1[ .-])?(?:\([2-9][0-9]{2}\) ?|\b[2-9][0-9]{2}[ .-])[0-9]{3}[ .-][0-9]{4}\b"
    r"|\b0[1-9](?:[ .][0-9]{2}){4}\b"
    r"|\b0[1-9][0-9]{1,3} [0-9]{3,4} [0-9]{3,4}\b"
    r"|(?i:\b(?:tele|mobile |cell )?(?:phone|tel|fax|mobile|whatsapp)(?: ?(?:number|no))?"
    r"[.:=]{0,2} {0,2})(\(?[0-9](?:[ ().-]{0,2}[0-9]){6,14})"
)

PERSONAL: tuple[Shape, ...] = (
    Shape("email", _EMAIL, emails),
    Shape("iban", r"(?i)\b[a-z]{2}[0-9]{2}[ -]?[a-z0-9]{2}", ibans),
    Shape("card", r"[0-9](?:[ \x{a0}-]?[0-9]){12,}|(?:[0-9]{4}\.){3}[0-9]{4}", cards),
    Shape("ssn", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", social_security),
    Shape("national_id", NATIONAL, national_ids),
    Shape("phone", _PHONE, phones),
)
