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
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from proxy.telemetry.personal import (
    Found,
    Span,
    cards,
    emails,
    ibans,
    phones,
    social_security,
)

Check = Callable[[Found], Iterable[Span]]


def whole(found: Found) -> Iterator[Span]:
    """The match itself, no closer look."""
    yield found.span()


class Pattern(NamedTuple):
    """`kind` names the finding, `regex` finds candidates, `check` yields the spans to mask."""

    kind: str
    regex: str
    check: Check = whole


# Words that end the name of a secret. `tokens`, `token_type`, `secretary` do not end in one.
_STRONG = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret(?:[_-]?(?:access[_-]?)?key)?|token|"
    r"(?:api|access|private|signing|encryption|account|license|shared|master)[_.-]?key|"
    r"authorization|credentials?|(?:session|php|jsession)[_-]?(?:sess)?id|connection[_-]?string|"
    r"ssn|cvv2?|cvc)"
)
_WEAK = r"\b(?:key|auth|pass|sig|signature|sid)"
_ASSIGN = r'[0-9]{0,3}\\{0,8}["\']?[ \t]{0,8}(:=|=>|==?|:)[ \t]{0,8}'
_SCHEME = r"(?:(?:bearer|basic|token|apikey|digest|negotiate)[ \t]+)?"
_VALUE = (
    r'("(?:[^"\\]|\\[\s\S])*"?'  # quoted; without an end quote it runs to the end of the text
    r"|'(?:[^'\\]|\\[\s\S])*'?"
    r'|\\+"[^"]*"?'  # quoted inside of a quoted text
    r"|" + _SCHEME + r"[^\s\"'&,;<>]+)"
)

# After a colon these words start a sentence, not a secret.
_PROSE_TEXT = (
    "a an and are as at be by can cannot do does expired failed for from has have how if in "
    "incorrect include invalid is it its malformed may missing must name never no not of on only "
    "optional or please required should string strings the this to too type used was what when "
    "which will with wrong yes you your same-origin omit number boolean object"
)
_PROSE = frozenset(_PROSE_TEXT.split())
_NOTHING = frozenset(("true", "false", "null", "none", "nil", "undefined"))


def assigned(found: Found) -> Iterator[Span]:
    """The value after `password=` or `"api_key":`, unless it is a plain word of a sentence."""
    start, end = found.span(2)
    value = found.group(2).strip("\\\"' \t")
    lowered = value.rstrip(".,!?)").lower()
    if not value or value.startswith(("[redacted", ":")) or lowered in _NOTHING:
        return
    if not any(char.isalnum() for char in value):
        return
    if found.group(1) != "=" and lowered in _PROSE:
        return
    yield start, end


def weakly_assigned(found: Found) -> Iterator[Span]:
    """The value after `key=`, `sig=`, ..., where it looks random: names as common as these need
    more than a name."""
    if looks_random(found.group(2).strip("\\\"' \t")):
        yield from assigned(found)


def looks_random(value: str) -> bool:
    """At least 16 characters of letters in both cases and digits, or 32 of letters and digits."""
    letters = any(char.isalpha() for char in value)
    digits = any(char.isdigit() for char in value)
    mixed = value.lower() != value and value.upper() != value
    if len(value) < 16 or not letters or not digits or any(char in ":/." for char in value):
        return False
    return mixed or (len(value) >= 32 and "-" not in value)


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


def not_plain_words(found: Found) -> Iterator[Span]:
    """A token with a digit or both cases: `sk-` also starts class names of style sheets."""
    body = found.group()[3:]
    if any(char.isdigit() for char in body) or (body.lower() != body and body.upper() != body):
        yield found.span()


def forty_random(found: Found) -> Iterator[Span]:
    """Forty characters as in an AWS secret key: both cases, digits, high entropy, on its own.
    A hex digest has one case; a path or an identifier repeats its letters."""
    text, (start, end) = found.string, found.span(1)
    value = text[start:end]
    around = text[max(0, start - 1) : start] + text[end : end + 1]
    if any(char.isalnum() or char in "/+=_.-" for char in around.replace("=", "", 1)):
        return
    counts = Counter(value).values()
    entropy = -sum(n / 40 * math.log2(n / 40) for n in counts)
    classes = (str.isupper, str.islower, str.isdigit)
    if entropy >= 4.4 and all(any(is_class(char) for char in value) for is_class in classes):
        yield start, end


def first_group(found: Found) -> Iterator[Span]:
    """The part in parentheses."""
    yield found.span(1)


_PEM = (
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)"
)
_VENDOR = (
    r"\b(?:npm_[A-Za-z0-9]{30,}|pypi-AgE[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{30,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|do[opr]_v1_[a-f0-9]{40,}"
    r"|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|dckr_pat_[A-Za-z0-9_-]{20,}"
    r"|(?:bot)?[0-9]{8,10}:AA[A-Za-z0-9_-]{33}|eyJrIjoi[A-Za-z0-9=]{20,})"
)

CREDENTIALS: tuple[Pattern, ...] = (
    Pattern("private_key", _PEM),
    Pattern("jwt", r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}"),
    Pattern("aws_key", r"\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}\b"),
    Pattern("github_token", r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,})"),
    Pattern("gitlab_token", r"\bgl(?:pat|dt|rt|ptt|soat|cbt|ft|agent|imt)-[A-Za-z0-9_-]{16,}"),
    Pattern("slack_token", r"\b(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}"),
    Pattern(
        "slack_token", r"hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9/_-]+)", first_group
    ),
    Pattern("stripe_key", r"\b(?:(?:sk|rk)_(?:live|test)_|whsec_)[A-Za-z0-9]{10,}"),
    Pattern("anthropic_key", r"\bsk-ant-[A-Za-z0-9_-]{8,}"),
    Pattern("openai_key", r"\bsk-[A-Za-z0-9_-]{20,}", not_plain_words),
    Pattern(
        "google_key", r"\b(?:AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{16,}|GOCSPX-[\w-]{16,})"
    ),
    Pattern("token", _VENDOR),
    Pattern("userinfo", r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/?#\"'<>]+)@", first_group),
    Pattern("bearer", r"(?i)\bbearer[ \t]+([a-z0-9._~+/-]{6,}=*)", credential_word),
    Pattern("basic", r"(?i)\bbasic[ \t]+([a-z0-9+/_-]{8,}={0,2})", basic_word),
    Pattern("secret", f"(?i){_STRONG}{_ASSIGN}{_VALUE}", assigned),
    Pattern("secret", f"(?i){_WEAK}{_ASSIGN}{_VALUE}", weakly_assigned),
    Pattern("secret", rf"(?i)<[a-z0-9_:.-]{{0,40}}{_STRONG}>\s*([^<\s][^<]*)", first_group),
    Pattern("secret", rf"(?i)--(?:[a-z]+-)*{_STRONG}[ \t]+([^\s-][^\s]*)", first_group),
    # Last: the vaguest, it would take pieces of the others.
    Pattern("aws_secret", r"([A-Za-z0-9/+]{40})", forty_random),
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

PERSONAL: tuple[Pattern, ...] = (
    Pattern("email", _EMAIL, emails),
    Pattern("iban", r"(?i)\b[a-z]{2}[0-9]{2}[ -]?[a-z0-9]{2}", ibans),
    Pattern("card", r"[0-9](?:[ -]?[0-9]){12,}", cards),
    Pattern("ssn", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", social_security),
    Pattern("phone", _PHONE, phones),
)
