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

# Words that end the name of a secret. `tokens`, `token_type`, `secretary` do not end in one.
_STRONG = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret(?:[_-]?(?:access[_-]?)?key)?|token|"
    r"(?:api|access|private|signing|encryption|account|license|shared|master|storage)[_.-]?key|"
    r"authorization|credentials?|(?:session|php|jsession)[_-]?(?:sess)?id|connection[_-]?string|"
    r"ssn|cvv2?|cvc)"
)
_WEAK = r"(?:\b|_)(?:key|auth|pass|sig|signature|sid)"
_ASSIGN = r'[0-9]{0,3}\\{0,8}["\']?[ \t]{0,8}(:=|=>|==?|:)[ \t]{0,8}'
_SCHEME = r"(?:(?:bearer|basic|token|apikey|digest|negotiate)[ \t]+)?"
_QUOTED = (
    r'"(?:[^"\\]|\\[\s\S])*"?'  # without an end quote it runs to the end of the text
    r"|'(?:[^'\\]|\\[\s\S])*'?"
    r'|\\+"[^"]*"?'  # quoted inside of a quoted text
)
_BLOCK = r"[|>][+-]?[0-9]?[ \t]*\r?\n[ \t]+[^\s]"  # YAML's block of lines; the check reads on
_VALUE = rf"({_QUOTED}|{_BLOCK}|{_SCHEME}[^\s\"'&,;<>]+)"
_NAME = r"[A-Za-z0-9_.:-]*"

# After a colon these words start a sentence, not a secret.
_PROSE_TEXT = (
    "a an and are as at be by can cannot do does expired failed for from has have how if in "
    "incorrect include invalid is it its malformed may missing must name never no not of on only "
    "optional or please required should string strings the this to too type used was what when "
    "which will with wrong yes you your same-origin include omit number boolean object"
)
_PROSE = frozenset(_PROSE_TEXT.split())
_NOTHING_TEXT = "true false null none nil undefined string str bytes secretstr"  # and types
_NOTHING = frozenset(_NOTHING_TEXT.split())
_BLOCK_START = ("|", ">")


def assigned(found: Found) -> Iterator[Span]:
    """The value after `password=` or `"api_key":`, unless it is a plain word of a sentence."""
    start, end = found.span(2)
    value = found.group(2).strip("\\\"' \t")
    if value.startswith(_BLOCK_START) and "\n" in value:
        yield _block(found.string, end - 1)
        return
    lowered = value.rstrip(".,!?)").lower()
    if not value or value.startswith(("[redacted", ":")) or lowered in _NOTHING:
        return
    if not any(char.isalnum() for char in value):
        return
    if found.group(1) != "=" and lowered in _PROSE:
        return
    yield start, end


def _block(text: str, start: int) -> Span:
    """The lines from here on that are indented as deep as the first."""
    line = text.rfind("\n", 0, start) + 1
    indent = text[line:start]
    end = text.find("\n", start)
    while end >= 0 and text.startswith(indent, end + 1):
        end = text.find("\n", end + 1)
    return start, end if end >= 0 else len(text)


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


def no_plain_word(found: Found) -> Iterator[Span]:
    """What a sentence calls a password, if it does not look like the next word of the sentence:
    `the password is hunter2`, not `the password is well-known`."""
    start, end = found.span(1)
    value = found.group(1).strip("\"'`").rstrip(".,:!?)")
    letters = value.replace("-", "").replace("'", "")
    if value.lower() not in _PROSE | _NOTHING and not (letters.isalpha() and letters[1:].islower()):
        yield start, end


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
_TAGGED = rf"""(?i)\b(?:name|key|id)=["']{_NAME}{_STRONG}["'][^<>]*?\svalue=({_QUOTED})"""
_FIELD = rf"""(?i)\btype=["']password["'][^<>]*?\svalue=({_QUOTED})"""
_LISTED = (
    rf"""(?i)\bname:[ \t]*["']?{_NAME}{_STRONG}["']?[ \t]*\r?\n[ \t]*value()?:[ \t]*{_VALUE}"""
)
_SAID = rf"(?i)\b{_STRONG}[ \t]+(?:is|was|to|=)[ \t]+[\"'`]?([^\s\"'`,;<>]{{4,}})"
_LOGIN = r"(?:\s-[uU]|--(?:proxy-)?user)[ =][\"']?[^\s:\"']+:([^\s\"']+)"

CREDENTIALS: tuple[Shape, ...] = (
    Shape("private_key", _PEM),
    Shape("jwt", r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}"),
    *VENDORS,
    Shape("userinfo", r"[A-Za-z][A-Za-z0-9+.-]*://([^\s/?#\"'<>]+)@", first_group),
    Shape("bearer", r"(?i)\bbearer[ \t]+([a-z0-9._~+/-]{6,}=*)", credential_word),
    Shape("basic", r"(?i)\bbasic[ \t]+([a-z0-9+/_-]{8,}={0,2})", basic_word),
    Shape("secret", f"(?i){_STRONG}{_ASSIGN}{_VALUE}", assigned),
    Shape("secret", f"(?i){_WEAK}{_ASSIGN}{_VALUE}", weakly_assigned),
    Shape("secret", rf"(?i)<[a-z0-9_:.-]{{0,40}}{_STRONG}>\s*([^<\s][^<]*)", first_group),
    Shape("secret", rf"(?i)--(?:[a-z]+-)*{_STRONG}[ \t]+([^\s-][^\s]*)", first_group),
    Shape("secret", _TAGGED, first_group),
    Shape("secret", _FIELD, first_group),
    Shape("secret", _LISTED, assigned),
    Shape("secret", _SAID, no_plain_word),
    Shape("secret", _LOGIN, first_group),
)
# Last of all: the vaguest, it would take pieces of the others.
VAGUE: tuple[Shape, ...] = (Shape("aws_secret", r"([A-Za-z0-9/+]{40})", forty_random),)

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
    Shape("card", r"[0-9](?:[ -]?[0-9]){12,}", cards),
    Shape("ssn", r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", social_security),
    Shape("national_id", NATIONAL, national_ids),
    Shape("phone", _PHONE, phones),
)
