"""Secrets in base64."""

import base64

import pytest

from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor

REDACTOR = Redactor(RedactRule(patterns=("ACME-[0-9]{8}",)))
WITHOUT_PII = Redactor(RedactRule(pii=False))


def _encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


HIDDEN = _encoded("some lines of settings\npassword=hunter2\nmore\n")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(HIDDEN, id="a password"),
        pytest.param(_encoded("the mail of ada is ada@example.com here"), id="an address"),
        pytest.param(_encoded("this is our own ticket ACME-12345678 here"), id="own pattern"),
        pytest.param(_encoded("größe süß: password=hunter2 und mehr Text"), id="not only ASCII"),
        pytest.param(HIDDEN[:-3], id="cut"),
        pytest.param(HIDDEN.rstrip("="), id="without its padding"),
        pytest.param(
            base64.urlsafe_b64encode(b"??>>??>> password=hunter2 ~~~~ ok ok").decode(),
            id="URL-safe",
        ),
    ],
)
def test_a_run_with_a_secret_in_it_is_masked_whole(text: str) -> None:
    assert REDACTOR.text(f'"{text}"') == '"[redacted:encoded]"'


def test_lines_of_mime_are_one_run() -> None:
    raw = _encoded("x" * 70 + " password=hunter2 and then some more text that goes on " + "y" * 80)
    lines = "\n".join(raw[i : i + 76] for i in range(0, len(raw), 76))
    assert REDACTOR.text(f"a: {lines}\nb: 1") == "a: [redacted:encoded]\nb: 1"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(_encoded("nothing to hide in these words, really"), id="harmless text"),
        pytest.param(_encoded(b"\x89PNG\r\n\x1a\n" + bytes(range(200))), id="a picture"),
        pytest.param("da39a3ee5e6b4b0d3255bfef95601890afd80709" * 2, id="digests in hex"),
        pytest.param("A" * 200, id="one letter"),
        pytest.param("some_long_identifier_of_a_program_that_goes_on_and_on", id="an identifier"),
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert REDACTOR.text(text) == text


def test_personal_data_in_it_counts_only_where_the_policy_asks() -> None:
    text = _encoded("the mail of ada is ada@example.com here")
    assert WITHOUT_PII.text(text) == text
