import base64
import gzip
import html
import json
import zlib
from typing import ClassVar
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.policy import RedactRule
from proxy.telemetry.literal import Literals, encoded
from proxy.telemetry.redact import Redactor

SECRET = 'k3y-a"b/c\\d+e&f g<h>é;{i},j=l'
LITERALS = Literals([SECRET])
MARK = "[redacted:secret]"

SPELLINGS = [
    pytest.param(SECRET, id="as it is"),
    pytest.param(SECRET.upper(), id="in capitals"),
    pytest.param(json.dumps(SECRET)[1:-1], id="JSON"),
    pytest.param(json.dumps(SECRET, ensure_ascii=False)[1:-1], id="JSON, not ASCII"),
    pytest.param(json.dumps(SECRET)[1:-1].replace("/", "\\/"), id="JSON of PHP"),
    pytest.param("".join(f"\\u{ord(c):04X}" for c in SECRET), id="JSON, all escaped"),
    pytest.param(quote(SECRET, safe=""), id="URL"),
    pytest.param(quote(SECRET, safe="").lower(), id="URL, lower case"),
    pytest.param(quote(SECRET, safe="/"), id="URL, slashes kept"),
    pytest.param(quote_plus(SECRET), id="form"),
    pytest.param(quote(quote(SECRET, safe=""), safe=""), id="URL in a URL"),
    pytest.param("".join(f"%{ord(c):02x}" for c in SECRET), id="URL, all escaped, Latin-1"),
    pytest.param(html.escape(SECRET), id="HTML"),
]


@pytest.mark.parametrize("spelt", SPELLINGS)
def test_spellings(spelt: str) -> None:
    assert LITERALS.masked(f"<{spelt}>") == f"<{MARK}>"


@pytest.mark.parametrize("spelt", SPELLINGS)
def test_a_secret_cut_in_half_is_masked_however_it_is_spelt(spelt: str) -> None:
    for length in range(6, len(spelt)):  # the first letter, escaped, is whole
        assert LITERALS.masked("before " + spelt[:length], is_cut=True) == f"before {MARK}"


RAW = SECRET.encode()
CODED = [
    pytest.param(RAW.hex(), id="hex"),
    pytest.param(RAW.hex().upper(), id="hex in capitals"),
    pytest.param(SECRET.encode("latin-1").hex(), id="hex of Latin-1"),
    *[
        pytest.param(base64.b64encode(before + RAW + b" end").decode(), id=f"behind {before!r}")
        for before in (b"", b"a", b"ab", b"Bearer ", b"user:")
    ],
    pytest.param(base64.urlsafe_b64encode(RAW).decode(), id="the alphabet of URLs"),
    pytest.param(quote(base64.b64encode(RAW).decode(), safe=""), id="in a URL"),
    pytest.param(base64.b64encode(RAW).decode().replace("/", "\\/"), id="in JSON of PHP"),
]


@pytest.mark.parametrize("coded", CODED)
def test_the_whole_in_hex_and_base64(coded: str) -> None:
    """All but the letters at the ends, which its neighbours have a part in."""
    masked = LITERALS.masked(f"<{coded}>")
    assert MARK in masked
    rest = masked.strip("<>").split(MARK)
    assert all(coded.startswith(rest[0]) and len(part) <= 14 for part in rest)
    assert RAW.hex()[:12] not in masked.lower()
    for length in range(20, len(coded)):
        cut = LITERALS.masked(coded[:length], is_cut=True)
        assert len(cut.replace(MARK, "")) <= 18


def test_what_is_too_short_to_tell_is_not_looked_for_encoded() -> None:
    coded = base64.b64encode(b"hunter2").decode()
    assert Literals(["hunter2"]).masked(coded) == coded
    assert encoded("hunter2") == []
    assert encoded("x" * 513) == []
    assert len(encoded("x" * 512)) == 4


def test_what_is_not_cut_keeps_its_end() -> None:
    assert LITERALS.masked("k3y-a") == "k3y-a"
    assert LITERALS.masked("something else", is_cut=True) == "something else"


def test_of_several_beginnings_the_earliest_counts() -> None:
    """The last letter of half a secret may be the first one of another."""
    literals = Literals(["kettle-and-much-more", "secret-k-and-more"])
    assert literals.masked("a secret-k", is_cut=True) == f"a {MARK}"
    assert Literals(["3x", "sss"]).masked("a %73", is_cut=True) == f"a {MARK}"


def test_the_longest_is_masked_first() -> None:
    assert Literals(["pass", "user:pass"]).masked("user:pass pass") == f"{MARK} {MARK}"


def test_many_secrets() -> None:
    many = [f"secret-{n:03}-{'x' * 90}" for n in range(120)]
    literals = Literals(many)
    assert all(literals.masked(one) == MARK for one in many)


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255), min_size=4, max_size=30)


@given(TEXT, st.text(max_size=20), st.text(max_size=20))
def test_no_text_keeps_it(secret: str, before: str, after: str) -> None:
    text = f"{before}{secret}{after}".encode("utf-8", "replace").decode()
    masked = Literals([secret]).masked(text)
    assert secret not in masked.replace(MARK, "\0")


class TestRedactor:
    """What is known goes before everything that is guessed."""

    redactor = Redactor(RedactRule()).hiding((SECRET,))

    def test_without_secrets_it_is_the_same(self) -> None:
        redactor = Redactor(RedactRule())
        assert redactor.hiding(()) is redactor

    def test_headers_and_paths(self) -> None:
        shown = self.redactor.fields(
            [(b"X-Echo", SECRET.encode()), (SECRET.encode(), b"v"), (b"Location", b"/a/" + quote(
                SECRET, safe="").encode())])  # fmt: skip
        assert "k3y" not in str(shown).lower()
        assert "k3y" not in self.redactor.path(f"/x/{quote(SECRET, safe='')}?a={SECRET}")
        assert "k3y" not in self.redactor.path("/" + "a" * 4080 + "/" + SECRET)

    BODIES: ClassVar = [
        pytest.param("application/json", json.dumps({"a": [SECRET]}), id="JSON"),
        pytest.param("application/json", json.dumps({"a": json.dumps(SECRET)}), id="JSON in JSON"),
        pytest.param("application/json", json.dumps({SECRET: 1}), id="a key"),
        pytest.param("application/json", '{"a": ' + json.dumps(SECRET), id="broken JSON"),
        pytest.param("text/plain", f"your key is {SECRET}.", id="text"),
        pytest.param("text/event-stream", f"data: {SECRET}\n\n", id="events"),
        pytest.param("application/x-www-form-urlencoded", f"a={quote_plus(SECRET)}", id="a form"),
    ]

    @pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
    @pytest.mark.parametrize(("kind", "text"), BODIES)
    def test_bodies(self, kind: str, text: str, coding: str) -> None:
        plain = text.encode()
        raw = {"": plain, "gzip": gzip.compress(plain), "deflate": zlib.compress(plain)}[coding]
        assert "k3y" not in self.redactor.body(raw, kind, coding, truncated=False)
        for length in range(len(raw)):
            assert "k3y" not in self.redactor.body(raw[:length], kind, coding, truncated=True)

    def test_basic_credentials(self) -> None:
        coded = base64.b64encode(b"user:pass-word").decode()
        redactor = self.redactor.hiding((coded.rstrip("="), "pass-word"))
        shown = redactor.body(f"{coded} pass-word".encode(), "text/plain", "", truncated=False)
        assert coded[:10] not in shown
        assert "pass" not in shown
