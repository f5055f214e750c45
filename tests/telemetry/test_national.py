"""Numbers that states give to people: check digits decide."""

import re

import pytest
import re2

from proxy.telemetry.national import NATIONAL, national_ids

_SHAPE = re2.compile(NATIONAL)


def _found(text: str) -> list[str]:
    return [text[a:b] for match in _SHAPE.finditer(text) for a, b in national_ids(match)]


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        pytest.param("529.982.247-25", "529.982.247-26", id="CPF, Brazil"),
        pytest.param("12345678Z", "12345678A", id="DNI, Spain"),
        pytest.param("X1234567L", "X1234567T", id="NIE, Spain"),
        pytest.param("2 69 05 49 588 157 80", "2 69 05 49 588 157 81", id="NIR, France"),
        pytest.param("1 84 12 2A 451 089 33", "1 84 12 2A 451 089 34", id="NIR, Corsica"),
        pytest.param("756.9217.0769.85", "756.9217.0769.84", id="AHV, Switzerland"),
        pytest.param("RSSMRA85T10A562S", "RSSMRA85T10A562T", id="codice fiscale, Italy"),
        pytest.param("2341 2341 2346", "2341 2341 2347", id="Aadhaar, India"),
        pytest.param("130-692-544", "130-692-545", id="SIN, Canada"),
        pytest.param("AB 12 34 56 C", "GB 12 34 56 C", id="NINO, United Kingdom"),
        pytest.param("811228-9874", "811228-9875", id="personnummer, Sweden"),
    ],
)
def test_the_check_digit_decides(good: str, bad: str) -> None:
    assert _found(f"it is {good}.") == [good]
    assert _found(f"it is {bad}.") == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("111.111.111-11", id="eleven equal digits are no CPF"),
        pytest.param("811328-9878", id="no thirteenth month"),
        pytest.param("A-12345678Z", id="a piece of a dashed code"),
        pytest.param("7000 2341 2341 2346", id="a piece of a longer number"),
        pytest.param("2341 2341 2346 9", id="a longer number goes on"),
    ],
)
def test_what_only_looks_so_stays(text: str) -> None:
    assert _found(text) == []


def test_behind_its_name_any_number_counts() -> None:
    assert _found("Steuer-ID: 12 345 678 901, NHS number 943 476 5919") == [
        "12 345 678 901",
        "943 476 5919",
    ]


def test_every_digit_and_letter_that_fits_is_judged_without_an_error() -> None:
    for digits in range(9, 16):
        for text in ("0" * digits, "9" * digits, "2" * digits):
            _found(re.sub(r"(\d{4})", r"\1 ", text))
            _found(text)
