"""Secrets that have no shape of their own, known by the name that stands beside them.

`password=`, `"api_key":`, `<token>`, `--client-secret`, `name="pw" value=`: the ways in which
programs, settings, pages and people put a name to a value. Names that mean nothing but a secret
are believed; weak ones (`key`, `sig`) only where the value looks random. Words of a sentence,
types and references to a variable are no values.
"""

import re
from collections.abc import Iterator

from proxy.telemetry.personal import Found, Span, first_group
from proxy.telemetry.vendors import Shape

# Words that end the name of a secret. `tokens`, `token_type`, `secretary` do not end in one.
_STRONG = (
    r"(?:pass(?:word|wd|phrase|code)|pwd|secret(?:[_-]?(?:access[_-]?)?key)?|token|"
    r"(?:api|access|private|signing|encryption|account|license|shared|master|storage)[ _.-]?key|"
    r"authorization|credentials?|(?:session|php|jsession)[_-]?(?:sess)?id|connection[_-]?string|"
    r"ssn|cvv2?|cvc)"
)
_WEAK = r"(?:\b|_)(?:key|auth|pass|sig|signature|sid|session)"
# `="`, `": "`, `\": \"`, and with a colour of the terminal or a remark in between.
_ASSIGN = (
    r'[0-9]{0,3}(?:\x1b\[[0-9;]*m)*\\{0,8}["\']?[ \t]{0,8}(?:\([a-z0-9 ._-]{1,20}\))?'
    r"(:=|=>|==?|:)[ \t]{0,8}"
)
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
    "which will with wrong yes you your same-origin omit number boolean object changed"
)
_PROSE = frozenset(_PROSE_TEXT.split())
# Types, and the schemes of a header whose value was not written down.
_NOTHING_TEXT = (
    "true false null none nil undefined string str bytes secretstr bearer basic token await new"
)
_NOTHING = frozenset(_NOTHING_TEXT.split())
_BLOCK_START = ("|", ">")
_NEAR_CHARS = 4096
_MOST_LINES = 100
# `${NAME}`, `{{ .Values.x }}`: what a template puts in. Code, where spaces stand around the sign.
_TEMPLATE = re.compile(r"\$\{|\$\(|\{\{|\$[A-Z_]+$|%[A-Z_]+%$")
_CODE = re.compile(
    r"(?:process|os|import\.meta|self|this|settings|config)\.[a-zA-Z_.]+\b|[a-zA-Z_][\w.]*\("
)


def assigned(found: Found) -> Iterator[Span]:
    """The value after `password=` or `"api_key":`, unless it is a plain word of a sentence."""
    start, end = found.span(2)
    written = found.group(2)
    value = written.strip("\\\"' \t")
    if value.startswith(_BLOCK_START) and "\n" in value:
        yield _block(found.string, end - 1)
        return
    lowered = value.rstrip(".,!?)").lower()
    if not value or value.startswith(("[redacted", ":")) or lowered in _NOTHING:
        return
    if not any(char.isalnum() for char in value) or _refers(found, written):
        return
    if found.group(1) != "=" and lowered in _PROSE:
        return
    yield start, end


def _refers(found: Found, written: str) -> bool:
    """Is the value the name of one? A call or an attribute counts only where it is spaced like
    code: `password = hash(x)`, not `password=hash(x`."""
    if _TEMPLATE.match(written.strip("\"'")):
        return True
    return found.string[found.span(2)[0] - 1] == " " and bool(_CODE.match(written))


def _block(text: str, start: int) -> Span:
    """The lines from here on that are indented as deep as the first; more than a hundred are not
    counted, then it is all the rest."""
    line = text.rfind("\n", 0, start) + 1
    indent = text[line:start]
    end = text.find("\n", start)
    for _ in range(_MOST_LINES):
        if end < 0 or not text.startswith(indent, end + 1):
            return start, end if end >= 0 else len(text)
        end = text.find("\n", end + 1)
    return start, len(text)


def kubernetes_secret(found: Found) -> Iterator[Span]:
    """The block under `data:` of an object of kind Secret: base64 under any key."""
    text, start = found.string, found.span()[0]
    if "kind: Secret" in text[max(0, start - _NEAR_CHARS) : start + _NEAR_CHARS]:
        yield _block(text, found.span()[1] - 1)


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


def no_plain_word(found: Found) -> Iterator[Span]:
    """What a sentence calls a password, if it does not look like the next word of the sentence:
    `the password is hunter2`, not `the password is well-known`."""
    start, end = found.span(1)
    value = found.group(1).strip("\"'`").rstrip(".,:!?)")
    letters = value.replace("-", "").replace("'", "").replace("_", "")
    plain = not letters or (letters.isalpha() and (letters[1:].islower() or letters.isupper()))
    if not plain and value.lower() not in _PROSE | _NOTHING:
        yield start, end


_PAIRED = rf"""(?i)\b(?:name|key|id)=["']{_NAME}{_STRONG}["'][^<>]*?\svalue=({_QUOTED})"""
_FIELD = rf"""(?i)\btype=["']password["'][^<>]*?\svalue=({_QUOTED})"""
_LISTED = rf"""(?i)\bname:[ \t]*["']?{_NAME}{_STRONG}["']?[ \t]*\r?\n[ \t]*value(:)[ \t]*{_VALUE}"""
_SAID = rf"(?i)\b{_STRONG}[ \t]+(?:is|was|to)[ \t]+[\"'`]?([^\s\"'`,;<>]{{4,}})"
_CELL = rf"(?i)\|[ \t`*]*{_NAME}{_STRONG}[ \t`*]*\|[ \t`]*([^|\s`]+)[ \t`]*(?:\||$)"
_DIRECTIVE = rf"(?im)^[ \t]*(?:env|arg|setenv|setx)[ \t]+{_NAME}{_STRONG}[ \t]+({_QUOTED}|\S+)"
_STATED = (  # SQL, .netrc, sshpass, and a pair in code
    r"(?i)(?:\b(?:password|identified by(?: password)?)[ \t]+('[^'\n]+'|\"[^\"\n]+\")"
    r"|\blogin[ \t]+\S+\s+password[ \t]+(\S+)|\bsshpass[ \t]+-p[ \t]*('[^'\n]+'|\"[^\"\n]+\"|\S+)"
    r"|\bauth=\([\"'][^\"'\n]*[\"'],[ \t]*('[^'\n]+'|\"[^\"\n]+\"))"
)
_LOGIN = r"(?:\s-[uU]|--(?:proxy-)?user)[ =][\"']?[^\s:\"']+:([^\s\"']+)"
_SSN = r"(?i)\bssn\b[\"']?[:=# ]{1,3}[\"']?([0-9]{3}[ -]?[0-9]{2}[ -]?[0-9]{4})\b"


def any_group(found: Found) -> Iterator[Span]:
    """The one of four parts that matched."""
    for group in range(1, 5):
        if found.span(group)[0] >= 0:
            yield found.span(group)


NAMED: tuple[Shape, ...] = (
    Shape("ssn", _SSN, first_group),
    Shape("secret", rf"(?i){_STRONG}{_ASSIGN}{_VALUE}", assigned),
    Shape("secret", rf"(?i){_WEAK}{_ASSIGN}{_VALUE}", weakly_assigned),
    Shape("secret", rf"(?i)<[a-z0-9_:.-]{{0,40}}{_STRONG}>\s*([^<\s][^<]*)", first_group),
    Shape("secret", rf"(?i)--(?:[a-z]+-)*{_STRONG}[ \t]+([^\s-][^\s]*)", first_group),
    Shape("secret", _PAIRED, first_group),
    Shape("secret", _FIELD, first_group),
    Shape("secret", _LISTED, assigned),
    Shape("secret", _SAID, no_plain_word),
    Shape("secret", _CELL, no_plain_word),
    Shape("secret", _DIRECTIVE, first_group),
    Shape("secret", _STATED, any_group),
    Shape("secret", _LOGIN, first_group),
    Shape("secret", r"(?m)^[ \t]*(?:data|stringData):[ \t]*\r?\n[ \t]+[^\s]", kubernetes_secret),
)
