"""Makers of personal data: numbers with good check digits, of several countries, drawn at random.

No number belongs to anybody: card numbers have issuers' ranges and random rest, domains are the
reserved ones.
"""

import string
from collections.abc import Callable
from random import Random

from tests.telemetry.labelled.credentials import Maker, Written, drawn

_D = string.digits
_VERHOEFF_D = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_P = (
    "0123456789", "1576283094", "5803796142", "8916043527",
    "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def luhn_digit(payload: str) -> str:
    """The digit that makes `payload` pass (ISO/IEC 7812)."""
    total = 0
    for place, digit in enumerate(reversed(payload)):
        value = int(digit) * (2 - place % 2)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def card(
    prefix: str, size: int, groups: tuple[int, ...] = (), sign: str = " "
) -> Callable[[Random], str]:
    """A card of an issuer, written in groups."""

    def make(rng: Random) -> str:
        payload = prefix + "".join(rng.choice(_D) for _ in range(size - 1 - len(prefix)))
        return grouped(payload + luhn_digit(payload), groups, sign)

    return make


def grouped(digits: str, groups: tuple[int, ...], sign: str) -> str:
    """`digits` in groups of the given sizes."""
    parts, start = [], 0
    for size in groups or (len(digits),):
        parts.append(digits[start : start + size])
        start += size
    return sign.join(parts)


def iban(country: str, bank: str, size: int, spaced: bool = False) -> Callable[[Random], str]:
    """An IBAN (ISO 13616) with a good mod 97."""

    def make(rng: Random) -> str:
        account = bank + drawn(rng, _D, size - 4 - len(bank))
        number = int("".join(str(int(c, 36)) for c in account + country + "00"))
        text = f"{country}{98 - number % 97:02d}{account}"
        return " ".join(text[i : i + 4] for i in range(0, size, 4)) if spaced else text

    return make


def verhoeff_digit(payload: str) -> str:
    """The check digit of an Aadhaar number."""
    check = 0
    for place, digit in enumerate(reversed(payload + "0")):
        check = int(_VERHOEFF_D[check][int(_VERHOEFF_P[place % 8][int(digit)])])
    inverse = (0, 4, 3, 2, 1, 5, 6, 7, 8, 9)
    return str(inverse[check])


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(d) * w for d, w in zip(digits, weights, strict=True))


def _cpf(rng: Random) -> str:
    digits = drawn(rng, _D, 9)
    for _ in range(2):
        weights = tuple(range(len(digits) + 1, 1, -1))
        digits += str(_weighted(digits, weights) * 10 % 11 % 10)
    return f"{digits[:3]}.{digits[3:6]}.{digits[6:9]}-{digits[9:]}"


def _dni(rng: Random) -> str:
    number = rng.randrange(10_000_000, 99_999_999)
    return f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"


def _nie(rng: Random) -> str:
    first, rest = rng.randrange(3), drawn(rng, _D, 7)
    return f"{'XYZ'[first]}{rest}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(f'{first}{rest}') % 23]}"


def _nir(rng: Random) -> str:
    number = (
        f"{rng.choice('12')}{rng.randrange(40, 99)}{rng.randrange(1, 13):02d}75{drawn(rng, _D, 6)}"
    )
    key = 97 - int(number) % 97
    return f"{number[0]} {number[1:3]} {number[3:5]} {number[5:7]} {number[7:10]} {number[10:]} {key:02d}"


def _ahv(rng: Random) -> str:
    digits = "756" + drawn(rng, _D, 9)
    check = -_weighted(digits, (1, 3) * 6) % 10
    return f"756.{digits[3:7]}.{digits[7:11]}.{digits[11]}{check}"


def _codice_fiscale(rng: Random) -> str:
    name = "".join(rng.choice("BCDFGLMNPRSTV") for _ in range(6))
    body = (
        f"{name}{rng.randrange(40, 99)}{rng.choice('ABCDEHLMPRST')}{rng.randrange(1, 29):02d}H501"
    )
    odd = (
        1,
        0,
        5,
        7,
        9,
        13,
        15,
        17,
        19,
        21,
        2,
        4,
        18,
        20,
        11,
        3,
        6,
        8,
        12,
        14,
        16,
        10,
        22,
        25,
        24,
        23,
    )
    total = 0
    for place, char in enumerate(body):
        value = int(char) if char.isdigit() else ord(char) - 65
        total += odd[value] if place % 2 == 0 else value
    return body + chr(65 + total % 26)


def _aadhaar(rng: Random) -> str:
    payload = rng.choice("23456789") + "".join(rng.choice(_D) for _ in range(10))
    return grouped(payload + verhoeff_digit(payload), (4, 4, 4), " ")


def _sin(rng: Random) -> str:
    payload = rng.choice("1234567") + "".join(rng.choice(_D) for _ in range(7))
    return grouped(payload + luhn_digit(payload), (3, 3, 3), "-")


def _nino(rng: Random) -> str:
    first, second = rng.choice("ABCEHJKLMPRSTWX"), rng.choice("ABCEHJKLMPRSTWXYZ")
    if first + second in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"):
        return _nino(rng)
    rest = [drawn(rng, _D, 2) for _ in range(3)]
    return " ".join([first + second, *rest, rng.choice("ABCD")])


def _personnummer(rng: Random) -> str:
    born = f"{rng.randrange(40, 99)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}"
    payload = born + drawn(rng, _D, 3)
    return f"{born}-{payload[6:]}{luhn_digit(payload)}"


def _ssn(rng: Random) -> str:
    area = rng.choice([rng.randrange(1, 666), rng.randrange(667, 900)])
    return f"{area:03d}-{rng.randrange(1, 100):02d}-{rng.randrange(1, 10000):04d}"


def _email(domain: str, sign: str = ".") -> Callable[[Random], str]:
    first = ("ada", "Grace", "alan", "edsger", "barbara", "Linus", "radia")
    last = ("lovelace", "Hopper", "turing", "dijkstra", "liskov", "perlman")
    return lambda rng: f"{rng.choice(first)}{sign}{rng.choice(last)}{rng.randrange(90)}@{domain}"


def _phone(*forms: str) -> Callable[[Random], str]:
    """`#` is a digit, `@` one from 2 to 9."""

    def make(rng: Random) -> str:
        form = rng.choice(forms)
        return "".join(
            rng.choice(_D) if c == "#" else rng.choice("23456789") if c == "@" else c for c in form
        )

    return make


PEOPLE: tuple[Maker, ...] = (
    Maker("email", _email("example.com"), ("contact", "user")),
    Maker("email", _email("mail.example.co.uk", "_"), ("owner", "to")),
    Maker("email", _email("example.museum", "+"), ("cc", "author")),
    Maker("email", _email("b\u00fccher.example", "-"), ("from", "reply_to")),
    Maker(
        "phone",
        _phone("+1 @## 555 ####", "+1-@##-555-####", "+1 (@##) 555-####"),
        ("mobile", "contact"),
    ),
    Maker(
        "phone",
        _phone("+49 30 @######", "+49 (0)171 @######", "+49171@######"),
        ("mobil", "contact"),
    ),
    Maker("phone", _phone("+44 20 7946 0###", "+44 7700 900###"), ("mobile", "cell")),
    Maker(
        "phone",
        _phone("+33 6 12 ## ## ##", "+33612######", "+34 612 ### ###"),
        ("portable", "contact"),
    ),
    Maker(
        "phone",
        _phone("+91 98### #####", "+81 90-@###-####", "+86 138 #### ####"),
        ("cell", "contact"),
    ),
    Maker("phone", _phone("(@##) 555-####", "@##-555-####", "@##.555.####"), ("fax", "contact")),
    Maker("card", card("4", 16), ("number", "payment")),
    Maker("card", card("4", 16, (4, 4, 4, 4)), ("number", "payment")),
    Maker("card", card("53", 16, (4, 4, 4, 4), "-"), ("number", "payment")),
    Maker("card", card("37", 15, (4, 6, 5)), ("number", "payment")),
    Maker("card", card("6011", 16), ("number", "payment")),
    Maker("iban", iban("DE", "37040044", 22), ("account", "to")),
    Maker("iban", iban("DE", "37040044", 22, spaced=True), ("account", "to")),
    Maker("iban", iban("GB", "WEST", 22, spaced=True), ("account", "to")),
    Maker("iban", iban("ES", "", 24), ("cuenta", "to")),
    Maker("iban", iban("NO", "", 15), ("konto", "to")),
    Maker("us ssn", _ssn, ("ssn", "applicant")),
    Maker("national id", _cpf, ("cpf", "documento")),
    Maker("national id", _dni, ("dni", "documento")),
    Maker("national id", _nie, ("nie", "documento")),
    Maker("national id", _nir, ("nir", "assure")),
    Maker("national id", _ahv, ("ahv", "person")),
    Maker("national id", _codice_fiscale, ("codice", "persona")),
    Maker("national id", _aadhaar, ("aadhaar", "holder")),
    Maker("national id", _sin, ("sin", "holder")),
    Maker("national id", _nino, ("nino", "holder")),
    Maker("national id", _personnummer, ("personnummer", "kund")),
)

PEOPLE_TUNED: tuple[Written, ...] = (
    Written("email", _email("example.org"), "text", "From: Ada <{S}>\nSubject: hi", ("From: Ada <", ">\nSubject: hi")),
    Written("email", _email("example.org"), "text", "[mail](mailto:{S}) us", ("[mail](mailto:", ") us")),
    Written("phone", _phone("0171 @######", "030 @######"), "text", "Tel. {S}, Berlin", (", Berlin",)),
    Written("phone", _phone("tel:+4930@######"), "text", "<a href=\"{S}\">call</a>", (">call</a>",)),
    Written("phone", _phone("0# ## ## ## ##".replace("#", "@", 1)), "text", "appelez le {S} demain", ("appelez le ", " demain")),
    Written("card", card("4", 16, (4, 4, 4, 4)), "text", "2 x {S}, exp 01/29", ("2 x ", ", exp 01/29")),
    Written("card", card("3530", 16), "application/json", '{"items":[{"n":{S}}],"ok":true}', ('"ok":true',)),
    Written("us ssn", _ssn, "text", "applicant {S} (verified)", ("applicant ", " (verified)")),
    Written("national id", _dni, "text", "DNI: {S}.", ("DNI: ",)),
    Written("national id", lambda r: drawn(r, _D, 9), "application/json", '{"passport_number":"{S}","age":7}', ('"age":7',)),
)  # fmt: skip

PEOPLE_HELD_OUT: tuple[Written, ...] = (
    Written("email", _email("example.net"), "text", "BEGIN:VCARD\nEMAIL;TYPE=work:{S}\nEND:VCARD", ("BEGIN:VCARD\n", "\nEND:VCARD")),
    Written("email", _email("example.net"), "text", "Signed-off-by: A B <{S}>", ("Signed-off-by: A B <",)),
    Written("email", _email("example.net"), "text", "commit by {S}: fix #12", ("commit by ", ": fix #12")),
    Written("phone", _phone("+39 06 698#####", "+31 20 @## ####"), "text", "TEL;CELL:{S}\nN:x", ("\nN:x",)),
    Written("phone", _phone("09# ### ####", "0@ #### ####"), "text", "phone number: {S}, ask", (", ask",)),
    Written("phone", _phone("@##555####"), "application/json", '{"phone":"{S}","n":1}', ('"n":1',)),
    Written("phone", _phone("+55 11 9####-####", "+61 4## ### ###"), "text", "zap {S} hoje", ("zap ", " hoje")),
    Written("card", card("4", 16, (4, 4, 4, 4), "\u00a0"), "text", "paid with {S} today", ("paid with ", " today")),
    Written("card", card("4", 16, (4, 4, 4, 4), "."), "text", "paid with {S} today", ("paid with ", " today")),
    Written("card", card("36", 14, (4, 6, 4)), "text", "diners {S} ok", ("diners ", " ok")),
    Written("iban", iban("FR", "20041", 27, spaced=True), "text", "virement sur {S} merci", ("virement sur ", " merci")),
    Written("us ssn", _ssn, "text/csv", "id,ssn\n7,{S}\n", ("id,ssn\n7,",)),
    Written("us ssn", lambda r: _ssn(r).replace("-", " "), "text", "SSN: {S} (US)", (" (US)",)),
    Written("national id", lambda r: _cpf(r).replace(".", "").replace("-", ""), "text", "CPF {S} ok", ("CPF ", " ok")),
    Written("national id", lambda r: drawn(r, _D, 11), "text", "Steuer-ID: {S}, ok", (", ok",)),
    Written("national id", lambda r: drawn(r, _D, 8), "application/json", '{"passportNumber":"C{S}","n":1}', ('"n":1',)),
)  # fmt: skip
