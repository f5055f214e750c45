"""A secret at any place, cut anywhere, in any coding: it never comes out whole, and the text stays
safe to print."""

import gzip
import time
import zlib

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor
from tests.telemetry.labelled import cases
from tests.telemetry.labelled.score import leaks, shown_by

REDACTOR = Redactor(RedactRule())
SHOW = shown_by(Redactor(RedactRule(), 1 << 20))
JSON, PLAIN = "application/json", "text/plain"
KEYS = (
    "gh" + "p_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "AK" + "IAIOSFODNN7EXAMPLE",
    "sk" + "-ant-api03-Zx8Qw7Er6Ty5Ui4Op3As2Df1",
    "4111 1111 1111 1111",
    "ada.lovelace@example.com",
    "DE89370400440532013000",
)
_CODED = [
    pytest.param("gzip", gzip.compress, id="gzip"),
    pytest.param("deflate", zlib.compress, id="deflate"),
    pytest.param("deflate", lambda raw: zlib.compress(raw)[2:-4], id="deflate without its frame"),
    pytest.param("", bytes, id="as it is"),
]
_WORDS = st.text(alphabet="abcxyz ,;:\n<>()/é日\u202e\x1b", max_size=60)


def _window_shown(secret: str, shown: str, size: int = 8) -> bool:
    return any(secret[i : i + size] in shown for i in range(len(secret) - size + 1))


@settings(max_examples=150, deadline=None)
@given(_WORDS, _WORDS, st.sampled_from(KEYS), st.sampled_from([JSON, PLAIN, "text/xml", ""]))
def test_a_secret_at_any_offset(before: str, after: str, key: str, kind: str) -> None:
    raw = f"{before} {key} {after}"
    if kind == JSON:
        raw = orjson.dumps({"n": raw}).decode()
    assert not _window_shown(key, REDACTOR.body(raw.encode(), kind, "", False))


@pytest.mark.parametrize(("coding", "pack"), _CODED)
@pytest.mark.parametrize("key", KEYS)
def test_a_body_cut_at_any_byte(coding: str, pack: object, key: str) -> None:
    """What was cut shows at most seven characters in a row of a secret it went through."""
    document = orjson.dumps({"a": f"use {key} for it", "b": [1, {"c": key}]})
    raw = pack(document)  # type: ignore[operator]
    for cut in range(len(raw) + 1):
        assert not _window_shown(key, REDACTOR.body(raw[:cut], JSON, coding, True)), cut


@pytest.mark.parametrize(
    "codec", ["utf-16", "utf-16-le", "utf-32", "latin-1", "utf-8-sig", "cp500"]
)
@pytest.mark.parametrize(
    "charset", ["", "; charset=utf-8", "; charset=utf-16", "; charset=latin-1"]
)
def test_no_charset_hides_a_secret(codec: str, charset: str) -> None:
    """Also where the head says another one than the body has."""
    for key in KEYS:
        raw = f"Grüße: {key} für dich".encode(codec)
        shown = REDACTOR.body(raw, PLAIN + charset, "", False)
        assert not _window_shown(key, shown)
        assert not _window_shown(key, shown.replace("\\x00", ""))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.sampled_from(KEYS), st.binary(max_size=80))
def test_bytes_that_are_no_text_around_it_hide_nothing(a: bytes, key: str, b: bytes) -> None:
    shown = REDACTOR.body(a + b" " + key.encode() + b" " + b, PLAIN, "", False)
    assert key not in shown


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([JSON, PLAIN, "text/event-stream", "", "text/xml"]))
def test_what_comes_out_is_safe_to_print(raw: bytes, kind: str) -> None:
    shown = REDACTOR.body(raw, kind, "", False)
    assert all(char.isprintable() or char in "\n\t" for char in shown)
    assert REDACTOR.line(raw.decode("latin-1")).isprintable()
    assert REDACTOR.path(raw.decode("latin-1")).isprintable()


def test_what_came_out_may_go_in_again() -> None:
    """Markers are no secrets: a second pass shows no more and loses at most what a longer marker
    would; a third changes nothing."""
    for case in cases.tuned():
        once = REDACTOR.text(case.text)
        twice = REDACTOR.text(once)
        assert REDACTOR.text(twice) == twice
        assert not (case.secrets and leaks(case, twice) and not leaks(case, once))


def test_a_secret_of_every_kind_behind_half_a_kilobyte() -> None:
    """Nothing depends on where in a text it stands."""
    filler = "the quick brown fox jumps over the lazy dog. " * 12
    for case in cases.tuned():
        if case.secrets and case.media == "text" and not case.cut and "\n" not in case.text:
            shown = SHOW(case._replace(text=filler + case.text))
            assert leaks(case, shown) == leaks(case, SHOW(case)), case


@pytest.mark.parametrize(
    "unit",
    ["A" * 40 + " ", "QUJD" * 11 + "\n", "QUJDREVG", "a_B1", "password is ", "| token ",
     "cookie: a=", 'name="token" ', '<input type="password" ', "data:\n  x", "name: token\n",
     "password: |\n  a\n", " password: |\n a\n", " kind: Secret\n data:\n a\n", "curl -u a:",
     "ENV token ", "756.", "1 2 3 4 ", "12-", "X1234567L ", "sk-", "tok_", "://", "MT.",
     "token", "auth=('a', ", "login a password ", "password\x1b[0m"],
)  # fmt: skip
def test_four_times_the_text_takes_about_four_times_as_long(unit: str) -> None:
    """A square would take sixteen times as long for four times the text; clocks are coarse."""
    redactor = Redactor(RedactRule(), 1 << 20)

    def took_s(size: int) -> float:
        text = (unit * size)[:size]
        best = float("inf")
        for _ in range(3):
            start = time.perf_counter()
            redactor.text(text)
            best = min(best, time.perf_counter() - start)
        return best

    assert took_s(131_072) < 12 * took_s(32_768) + 0.02


def test_a_hundred_own_patterns_of_full_length_stay_fast() -> None:
    """The most a policy may have: building takes a moment, and a text without a hit little."""
    start = time.perf_counter()
    own = tuple(f"X{i:03d}-" + "[a-z0-9]{4}" * 70 for i in range(100))
    assert all(len(pattern) <= 1000 for pattern in own)
    redactor = Redactor(RedactRule(patterns=own))
    redactor.text("x" * 32_768)
    assert time.perf_counter() - start < 5.0
