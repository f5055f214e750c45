"""What makes a run of digits or letters personal data.

Regular expressions find candidates; these functions look closer (check digits, issuer ranges,
neighbours) and return the spans to mask, so that order numbers, UUIDs and timestamps stay
readable. Each looks at a bounded window around its candidate.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

Span = tuple[int, int]


class Found(Protocol):
    """The part of a match object that the checks read (RE2's and the standard library's)."""

    @property
    def string(self) -> str:
        """The text searched."""

    def span(self, group: int = 0, /) -> Span:
        """Where a group matched; (-1, -1): it did not."""

    def group(self, group: int = 0, /) -> str:
        """What a group matched."""


Check = Callable[[Found], Iterable[Span]]


def whole(found: Found) -> Iterator[Span]:
    """The match itself, no closer look."""
    yield found.span()


def first_group(found: Found) -> Iterator[Span]:
    """The part in parentheses."""
    yield found.span(1)


_GROUPS = re.compile(r"[0-9]+")
_NEXT_GROUP = re.compile(r" [0-9]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FILE_SUFFIXES_TEXT = (
    "png jpg jpeg gif svg webp ico css js mjs ts tsx jsx json map html htm md txt pdf zip"
)
_FILE_SUFFIXES = frozenset(_FILE_SUFFIXES_TEXT.split())

# Total length by country, ISO 13616 registry.
_IBAN_TEXT = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 "
    "DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 "
    "IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 "
    "MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 "
    "SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _IBAN_TEXT.split()}


def passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812 check digit: one random number in ten passes."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_card(digits: str) -> bool:
    """A number of an issuer's range and length, with a good check digit. The range is what keeps
    epoch milliseconds and most order numbers out."""
    size, two, four = len(digits), int(digits[:2]), int(digits[:4])
    if digits[0] == "4":
        known = size in (13, 16, 19)
    elif 51 <= two <= 55 or 2221 <= four <= 2720:
        known = size == 16
    elif two in (34, 37):
        known = size == 15
    elif two in (36, 38, 39) or 3000 <= four <= 3059:
        known = size == 14
    elif 3528 <= four <= 3589 or two == 62 or two in (50, 56, 57, 58) or two in (60, 63, 64, 65):
        known = 16 <= size <= 19
    else:
        known = False
    return known and passes_luhn(digits)


def _stands_alone(text: str, span: Span) -> bool:
    """Not a piece of a word, a hex digest, a decimal number, a UUID or a longer dashed code."""
    start, end = span
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before[-1:].isalnum() or after[:1].isalnum():
        return False
    if before[-1:] in ("-", ".") and before[:1].isalnum() and len(before) == 2:
        return False
    return not (
        (after[:1] == "-" and after[1:].isalnum()) or (after[:1] == "." and after[1:].isdigit())
    )


def in_a_code(text: str, start: int, end: int) -> bool:
    """A piece of a word, of a dashed code with letters, or of a decimal number. A dash and more
    digits is not a code: that is how numbers stand in lists."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before[-1:].isalnum() or after[:1].isalnum():
        return True
    if (before[-1:] == "-" and before[:1].isalpha()) or (after[:1] == "-" and after[1:].isalpha()):
        return True
    return (before[-1:] == "." and before[:1].isdigit()) or (
        after[:1] == "." and after[1:].isdigit()
    )


def cards(found: Found) -> Iterator[Span]:
    """Every window of whole digit groups that is a card number. Windows, because a number next to
    a card (`4 x 4111 1111 1111 1111`) must not hide it."""
    text, (start, end) = found.string, found.span()
    groups = [(m.start(), m.end()) for m in _GROUPS.finditer(text, start, end)]
    masked_to = -1
    for first, (begin, _) in enumerate(groups):
        if begin < masked_to:
            continue
        digits = ""
        for left, right in groups[first : first + 8]:
            digits += text[left:right]
            if len(digits) > 19:
                break
            if len(digits) >= 13 and is_card(digits) and not in_a_code(text, begin, right):
                yield begin, right
                masked_to = right
                break


def ibans(found: Found) -> Iterator[Span]:
    """The IBAN that starts here, or behind the group that only looked like its beginning (`ref
    AB12 DE89 3704 ...`), by its country's length and ISO 7064 mod 97."""
    text, start = found.string, found.span()[0]
    end = _iban_end(text, start)
    if end == start and not text[start + 4].isalnum():
        start += 5
        end = _iban_end(text, start)
    if end > start:
        yield start, end


def _iban_end(text: str, start: int) -> int:
    """Where the IBAN that starts here ends; `start` if there is none."""
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper(), 0)
    end, compact = start, ""
    while len(compact) < length and end < len(text):
        char = text[end]
        if char.isascii() and char.isalnum():
            compact += char
        elif char not in " -" or not text[end - 1].isalnum():
            return start
        end += 1
    if not length or len(compact) < length or text[end : end + 1].isalnum():
        return start
    if text[max(0, start - 1) : start].isalnum() or not compact[2:4].isdigit():
        return start
    good = int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1
    return end if good else start


def social_security(found: Found) -> Iterator[Span]:
    """US SSN with dashes; areas 000, 666 and 9xx, group 00 and serial 0000 were never issued."""
    area, group, serial = found.group().split("-")
    issued = area not in ("000", "666") and area[0] != "9" and group != "00" and serial != "0000"
    if issued and _stands_alone(found.string, found.span()):
        yield found.span()


def phones(found: Found) -> Iterator[Span]:
    """A number written the way people write phone numbers, and not a date or part of a code."""
    span = found.span(1) if found.span(1) != (-1, -1) else found.span()
    text = found.string[span[0] : span[1]]
    count = sum(char.isdigit() for char in text)
    before = found.string[max(0, span[0] - 1) : span[0]]
    if not 7 <= count <= 15 or _DATE.search(text) or before == "+":
        return
    if text[0] == "0" and _NEXT_GROUP.match(found.string, span[1]):
        return  # the middle of a longer number in groups
    if _stands_alone(found.string, span):
        yield span


def emails(found: Found) -> Iterator[Span]:
    """An address, and not `icon@2x.png`, `package@1.0.0-rc.next` or `git@github.com:org/repo`."""
    local, _, domain = found.group().replace("%40", "@").rpartition("@")
    first, _, rest = domain.partition(".")
    if first[:1].isdigit() and (first.isdigit() or domain.rpartition(".")[2] in _FILE_SUFFIXES):
        return
    if rest and local != "git":
        yield found.span()
