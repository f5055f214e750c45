"""Numbers that states give to people: candidates by shape, findings by check digit.

Each country's own rule decides (sources at the functions), so that part numbers and dates stay
readable. Numbers that are digits and nothing else are looked for only behind their name.
"""

from collections.abc import Iterator

from proxy.telemetry.personal import Found, Span, in_a_code, passes_luhn

_NAMED = (
    r"(?i:\b(?:steuer-?id(?:nr|entifikationsnummer)?|tax[ -]?(?:id|number)|tin|pesel|bsn|sin|cpf"
    r"|curp|tfn|dni|nie|nif|nir|ahv|avs|ssn|nino|nhs(?: number| no)?|aadhaar|personnummer"
    r"|passport(?: (?:no|number))?|social security(?: (?:no|number))?)"
    r"[.:=#]{0,2} {0,2})([A-Z]?[0-9](?:[ .-]?[0-9]){6,14}[A-Z]?)"
)
NATIONAL = (
    r"\b(?:[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"  # Brazil, CPF
    r"|(?:[0-9]{8}|[XYZ][0-9]{7})[A-HJ-NP-TV-Z]"  # Spain, DNI and NIE
    r"|[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}"  # France, NIR
    r"|756\.?[0-9]{4}\.?[0-9]{4}\.?[0-9]{2}"  # Switzerland, AHV
    r"|[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]"  # Italy, codice fiscale
    r"|[2-9][0-9]{3} [0-9]{4} [0-9]{4}"  # India, Aadhaar
    r"|[1-79][0-9]{2}-[0-9]{3}-[0-9]{3}"  # Canada, SIN
    r"|[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]"  # UK, NINO
    r"|[0-9]{6}[-+][0-9]{4}"  # Sweden, personnummer
    rf")\b|{_NAMED}"
)

_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_FISCAL_ODD = (
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23,
)  # fmt: skip
_DIHEDRAL = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_PERMUTED = (
    "0123456789", "1576283094", "5803796142", "8916043527",
    "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip
_NO_SEAMS = str.maketrans("", "", " .-+")
_NEVER_NINO = frozenset(("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"))


def is_cpf(digits: str) -> bool:
    """Two check digits mod 11 (Receita Federal); eleven equal digits are no number."""
    for size in (9, 10):
        total = sum(int(d) * w for d, w in zip(digits[:size], range(size + 1, 1, -1), strict=True))
        if total * 10 % 11 % 10 != int(digits[size]):
            return False
    return digits != digits[0] * 11


def is_dni(text: str) -> bool:
    """A letter, number mod 23; X, Y, Z stand for 0, 1, 2 (Ministerio del Interior)."""
    number = text[:-1].translate(str.maketrans("XYZ", "012"))
    return _DNI_LETTERS[int(number) % 23] == text[-1]


def is_nir(text: str) -> bool:
    """A month, and 97 less the number mod 97; Corsica counts as 19 and 18 (INSEE)."""
    number = text[:13].replace("2A", "19").replace("2B", "18")
    month = int(text[3:5])
    return (1 <= month <= 12 or month >= 20) and 97 - int(number) % 97 == int(text[13:])


def is_ahv(digits: str) -> bool:
    """EAN-13 check digit (BSV)."""
    return sum(int(d) * (1 + 2 * (i % 2)) for i, d in enumerate(digits)) % 10 == 0


def is_codice_fiscale(text: str) -> bool:
    """A check letter over tables of odd and even places (D.M. 12/03/1974)."""
    total = 0
    for place, char in enumerate(text[:-1]):
        value = int(char) if char.isdigit() else ord(char) - 65
        total += value if place % 2 else _FISCAL_ODD[value]
    return chr(65 + total % 26) == text[-1]


def is_aadhaar(digits: str) -> bool:
    """Verhoeff's check digit (UIDAI)."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_DIHEDRAL[check][int(_PERMUTED[place % 8][int(digit)])])
    return check == 0


def is_personnummer(digits: str) -> bool:
    """A day of birth (or, plus 60, a coordination number) and Luhn (Skatteverket)."""
    month, day = int(digits[2:4]), int(digits[4:6])
    return 1 <= month <= 12 and 1 <= day % 60 <= 31 and passes_luhn(digits)


def _known(written: str) -> bool:
    """Does a country's rule hold for this, as it is written?"""
    text = written.translate(_NO_SEAMS)
    if text.isdigit():
        return _known_digits(written, text)
    if len(text) == 9 and text[:2].isalpha():
        return text[:2] not in _NEVER_NINO
    if len(text) == 9:
        return is_dni(text)
    return is_codice_fiscale(text) if len(text) == 16 else is_nir(text)


def _known_digits(written: str, digits: str) -> bool:
    size = len(digits)
    if size == 11:
        return is_cpf(digits)
    if size == 13:
        return is_ahv(digits)
    if size == 15:
        return is_nir(digits)
    if size == 12:
        return is_aadhaar(digits)
    return is_personnummer(digits) if size == 10 else size == 9 and passes_luhn(digits)


def national_ids(found: Found) -> Iterator[Span]:
    """A number with a good check digit, or any number of the right length behind its name."""
    start, end = found.span(1)
    if start >= 0:
        yield start, end
        return
    start, end = found.span()
    text = found.string
    if in_a_code(text, start, end) or _more_digits(text, start, end):
        return
    if _known(found.group()):
        yield start, end


def _more_digits(text: str, start: int, end: int) -> bool:
    """A piece of a longer number in groups."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    return (before[-1:] in (" ", "-") and before[:1].isdigit()) or (
        after[:1] in (" ", "-") and after[1:].isdigit()
    )
