"""Redaction: nothing planted comes out, and what is harmless stays readable."""

import gzip
import json
import time
import tracemalloc
import zlib

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.policy.policy import RedactRule
from proxy.telemetry.redact import Redactor
from tests.telemetry.corpus import NEGATIVES, POSITIVES

RULE = RedactRule(
    headers=frozenset({"x-internal"}),
    json_keys=frozenset({"shoe_size"}),
    patterns=("ACME-[0-9]{8}",),
)
REDACTOR = Redactor(RULE)
WITHOUT_PII = Redactor(RedactRule(pii=False))
SECRET = "Zq9-vXw7Lm3"
JSON = "application/json"
SENSITIVE = (
    "Authorization Proxy-Authorization Cookie Set-Cookie X-Api-Key Api-Key X-Auth-Token "
    "X-Goog-Api-Key X-My-Token My-Secret-Header X-Password X-Internal"
)


def body(
    raw: bytes | str,
    kind: str = JSON,
    coding: str = "",
    truncated: bool = False,
    r: Redactor = REDACTOR,
) -> str:
    return r.body(raw.encode() if isinstance(raw, str) else raw, kind, coding, truncated)


class TestCorpus:
    def test_it_is_large_enough_to_mean_something(self) -> None:
        assert len(POSITIVES) >= 60
        assert len(set(NEGATIVES)) >= 60

    def test_every_positive_is_masked_as_its_kind(self) -> None:
        missed = [
            (kind, text, REDACTOR.text(text))
            for kind, text, secret in POSITIVES
            if secret in REDACTOR.text(text) or f"[redacted:{kind}]" not in REDACTOR.text(text)
        ]
        assert missed == []

    def test_a_word_like_the_beginning_of_an_iban_does_not_hide_one(self) -> None:
        shown = REDACTOR.text("ref AB12 DE89370400440532013000, GB82 DE89 3704 0044 0532 0130 00")
        assert shown == "ref AB12 [redacted:iban], GB82 [redacted:iban]"

    def test_every_look_alike_is_left_alone(self) -> None:
        changed = [(text, REDACTOR.text(text)) for text in NEGATIVES if REDACTOR.text(text) != text]
        assert changed == []

    def test_all_positives_in_one_text_are_masked(self) -> None:
        # Those without an end of their own run to the end of the text, hence last.
        cases = sorted(POSITIVES, key=lambda case: case[0] == "private_key")
        text = " \n".join(case[1] for case in cases if case[1] != "Bearer swordfish")
        masked = REDACTOR.text(text)
        assert [s for _, t, s in cases if s in masked and t != "Bearer swordfish"] == []

    @pytest.mark.parametrize("kind", ["email", "phone", "card", "iban", "ssn"])
    def test_personal_data_stays_when_the_policy_does_not_ask(self, kind: str) -> None:
        for case_kind, text, secret in POSITIVES:
            if case_kind == kind and "no=" not in text and "SSN" not in text:
                assert secret in WITHOUT_PII.text(text)

    def test_credentials_are_masked_whatever_the_policy_says(self) -> None:
        personal = {"email", "phone", "card", "iban", "ssn", "custom"}
        for kind, text, secret in POSITIVES:
            if kind not in personal:
                assert secret not in WITHOUT_PII.text(text)


class TestCustomPatterns:
    @pytest.mark.parametrize(
        ("pattern", "problem"),
        [
            pytest.param("(", "not an RE2 expression", id="an open parenthesis"),
            pytest.param("(?=a)b", "not an RE2 expression", id="look-ahead"),
            pytest.param(r"(a)\1", "not an RE2 expression", id="a back reference"),
            pytest.param("a)(b", "not an RE2 expression", id="parentheses the wrong way round"),
            pytest.param("((a{100}){100}){100}", "not an RE2 expression", id="too large a repeat"),
            pytest.param("a*", "matches the empty text", id="it may match nothing"),
            pytest.param(r"\b", "matches the empty text", id="a position only"),
            pytest.param("", "1 to 1000", id="empty"),
            pytest.param("a" * 1001, "1 to 1000", id="too long"),
            pytest.param("\ud800", "not an RE2 expression", id="not encodable"),
        ],
    )
    def test_a_bad_pattern_is_refused_with_its_place(self, pattern: str, problem: str) -> None:
        with pytest.raises(ValueError, match=problem) as caught:
            Redactor(RedactRule(patterns=("ok", pattern)))
        assert "1" in str(caught.value)

    def test_too_many_patterns_are_refused(self) -> None:
        Redactor(RedactRule(patterns=("a",) * 100))
        with pytest.raises(ValueError, match="at most 100"):
            Redactor(RedactRule(patterns=("a",) * 101))

    def test_patterns_that_are_too_large_together_are_refused(self) -> None:
        large = tuple(f"x{i}[a-z]{{900}}" for i in range(67))
        Redactor(RedactRule(patterns=large[:60]))
        with pytest.raises(ValueError, match="up to 66 are too large together"):
            Redactor(RedactRule(patterns=large))

    def test_short_findings_of_own_patterns_count(self) -> None:
        assert Redactor(RedactRule(patterns=("x[0-9]",))).text("x1") == "[redacted:custom]"

    def test_a_set_that_ran_out_of_memory_hides_no_finding(self) -> None:
        class Exhausted:
            def Match(self, text: str) -> None:  # noqa: N802 - the name in re2
                return None

        redactor = Redactor(RULE)
        redactor._matcher._set = Exhausted()
        assert redactor.text("ACME-12345678") == "[redacted:custom]"

    def test_catastrophic_backtracking_does_not_happen(self) -> None:
        redactor = Redactor(RedactRule(patterns=("(a+)+$",)))
        start = time.perf_counter()
        redactor.text("a" * 5000 + "!")
        assert time.perf_counter() - start < 1.0


class TestPath:
    @pytest.mark.parametrize(
        ("raw", "shown"),
        [
            pytest.param("/v1/search", "/v1/search", id="a plain path stays"),
            pytest.param(
                "/v1/search?q=a%20b&api_key=SECRET123456",
                "/v1/search?q=[redacted]&api_key=[redacted]",
                id="every query value is masked and every key kept",
            ),
            pytest.param("/x?a=1;b=2", "/x?a=[redacted]", id="what follows a semicolon is value"),
            pytest.param("/x?a==b=c", "/x?a=[redacted]", id="equals signs in the value"),
            pytest.param("/x?q=", "/x?q=", id="an empty value shows as empty"),
            pytest.param("/x?wsdl", "/x?wsdl", id="a flag stays"),
            pytest.param("/x?Zq9-vXw7Lm3", "/x?[redacted]", id="a bare value is masked"),
            pytest.param("/x?", "/x?", id="an empty query"),
            pytest.param("/x?a=1#tok=2", "/x?a=[redacted]#[redacted]", id="a fragment is masked"),
            pytest.param("http://u:p@h.example/x", "http://h.example/x", id="userinfo is dropped"),
            pytest.param("//u:p@h.example/x", "//h.example/x", id="also without a scheme"),
            pytest.param("http://u:p@q@h/x", "http://h/x", id="also with two at signs"),
            pytest.param(
                "/fetch/https://u:p@h/x",
                "/fetch/https://[redacted:userinfo]@h/x",
                id="userinfo of a URL inside of the path is masked",
            ),
            pytest.param("/u/al@example.com", "/u/[redacted:email]", id="a secret in a segment"),
            pytest.param("/u/al%40example.com", "/u/[redacted:email]", id="percent-encoded"),
            pytest.param(
                "/u/al%2540example.com", "/u/[redacted:email]", id="an at sign encoded twice"
            ),
            pytest.param("/p%2561ssword=x1", "/password=[redacted:secret]", id="encoded twice"),
            pytest.param(
                "/x\u202e\u2028\x1b[2J", "/x\\u202e\\u2028\\x1b[2J", id="controls are seen"
            ),
            pytest.param("*", "*", id="the asterisk form"),
            pytest.param("", "", id="nothing, for a tunnel"),
        ],
    )
    def test_it_shows_what_may_be_shown(self, raw: str, shown: str) -> None:
        assert REDACTOR.path(raw) == shown

    def test_a_long_path_is_cut_between_segments(self) -> None:
        shown = REDACTOR.path("/" + "/".join([SECRET] * 1000))
        assert len(shown) <= 4096 + len("[cut]")
        assert shown.endswith(SECRET + "[cut]")
        assert REDACTOR.path("/" + "a" * 4095) == "/" + "a" * 4095
        assert REDACTOR.path("/" + "a" * 4096) == "[cut]"

    def test_a_long_query_shows_64_keys(self) -> None:
        shown = REDACTOR.path("/x?" + "&".join(f"k{i}=v" for i in range(65)))
        assert shown.count("[redacted]") == 64
        assert shown.endswith("&[cut]")


class TestFields:
    @pytest.mark.parametrize("name", SENSITIVE.split())
    def test_a_sensitive_name_hides_its_value(self, name: str) -> None:
        assert REDACTOR.fields([(name.encode(), b"anything")]) == {name.lower(): "[redacted]"}

    def test_other_values_go_through_the_patterns(self) -> None:
        fields = [(b"User-Agent", b"bot (bob@example.com)"), (b"Accept", b"*/*")]
        assert REDACTOR.fields(fields) == {"user-agent": "bot ([redacted:email])", "accept": "*/*"}

    def test_repeated_names_become_a_list_in_order(self) -> None:
        fields = [(b"Via", b"a"), (b"X", b"1"), (b"via", b"b"), (b"VIA", b"c")]
        assert REDACTOR.fields(fields) == {"via": ["a", "b", "c"], "x": "1"}

    def test_urls_lose_their_query_values(self) -> None:
        shown = REDACTOR.fields([(b"Location", b"https://u:p@h.example/x?code=" + SECRET.encode())])
        assert shown == {"location": "https://h.example/x?code=[redacted]"}

    def test_bytes_that_are_no_text_are_escaped(self) -> None:
        fields = [(b"x-bin", b"a\xff\x1b[0m\xe2\x80\xa8b")]
        assert REDACTOR.fields(fields) == {"x-bin": "a\\xff\\x1b[0m\\u2028b"}


class TestJsonBody:
    @pytest.mark.parametrize(
        "document",
        [
            pytest.param({"password": SECRET}, id="at the top"),
            pytest.param({"a": [{"b": {"Api-Key": SECRET}}]}, id="deep, another spelling"),
            pytest.param({"accessToken": SECRET}, id="camel case"),
            pytest.param({"dbpassword": SECRET}, id="at the end of a name without seams"),
            pytest.param(
                {"text": json.dumps({"shoe_size": SECRET})}, id="own key, JSON in a string"
            ),
            pytest.param(
                {"text": '{"shoe_size": "' + SECRET}, id="own key, broken JSON in a string"
            ),
            pytest.param({"user_password_hash": SECRET}, id="a word of a longer name"),
            pytest.param({"ShoeSize": SECRET}, id="a key of the policy, another spelling"),
            pytest.param({"credentials": {"any": [SECRET]}}, id="a whole subtree"),
            pytest.param({"name": "DB_PASSWORD", "value": SECRET}, id="a pair of name and value"),
            pytest.param({"text": json.dumps({"token": SECRET})}, id="JSON in a string"),
            pytest.param({"text": '{"token": "' + SECRET}, id="broken JSON in a string"),
            pytest.param({"x" * 300: SECRET}, id="a name too long to judge"),
            pytest.param({"note": f"the password={SECRET}"}, id="a shape in a leaf"),
        ],
    )
    def test_a_secret_is_masked(self, document: object) -> None:
        raw = json.dumps(document)
        assert SECRET in raw
        assert SECRET not in body(raw)
        orjson.loads(body(raw))

    def test_escapes_hide_nothing(self) -> None:
        raw = r'{"pass\u0077ord": "SEC\u0052ET123456", "mail": "al\u0069ce\u0040example.com"}'
        assert orjson.loads(body(raw)) == {"password": "[redacted]", "mail": "[redacted:email]"}

    def test_escapes_hide_nothing_where_it_does_not_parse(self) -> None:
        shown = body(r'{"pass\u0077ord": "SEC\u0052ET123456", "n": NaN}')
        assert "123456" not in shown
        assert "NaN" in shown

    def test_numbers_are_looked_at(self) -> None:
        raw = '{"pin": 1234, "n": 4111111111111111, "id": 1234567890123456, "max_tokens": 5}'
        assert orjson.loads(body(raw)) == {
            "pin": "[redacted]", "n": "[redacted:card]", "id": 1234567890123456, "max_tokens": 5,
        }  # fmt: skip

    def test_booleans_and_null_under_a_sensitive_name_stay(self) -> None:
        assert body('{"secret":true,"token":null}') == '{"secret":true,"token":null}'

    def test_what_is_harmless_stays(self) -> None:
        raw = '{"items":[{"id":7,"name":"Ada","tags":["a",null,1.5]}],"next":false}'
        assert body(raw) == raw

    def test_keys_are_looked_at(self) -> None:
        assert body('{"alice@example.com":1}') == '{"[redacted:email]":1}'

    def test_depth_is_bounded(self) -> None:
        assert "[redacted:depth]" in body("[" * 100 + "]" * 100)
        assert body("[" * 5000 + "]" * 5000).startswith("[")

    @pytest.mark.parametrize("kind", ["", "text/plain", "application/problem+json; charset=UTF-8"])
    def test_json_is_json_whatever_it_is_called(self, kind: str) -> None:
        assert body('{"password":"x1"}', kind) == '{"password":"[redacted]"}'

    def test_every_cut_of_a_document_hides_what_is_in_it(self) -> None:
        raw = json.dumps(
            {
                "a": {"password": SECRET + " " + SECRET},
                "to": "al@example.com",
                "k": "sk-ant-" + SECRET,
            }
        )
        for cut in range(len(raw)):
            shown = body(raw[:cut], truncated=True)
            for part in ("Zq9", "al@ex", "sk-ant-Z"):
                assert part not in shown, (cut, shown)

    def test_a_container_under_a_sensitive_key_is_masked_to_the_end_of_a_cut(self) -> None:
        shown = body('{"x": 1, "credentials": {"u": "one two", "p": ["three four', truncated=True)
        assert "one" not in shown
        assert "three" not in shown
        assert '"x": 1' in shown

    def test_card_digits_at_the_cut_are_masked(self) -> None:
        assert "1111" not in body("pay with 4111 1111 1111", "text/plain", truncated=True)


class TestOtherBodies:
    def test_lines_of_json(self) -> None:
        raw = '{"token":"%s"}\n{"a":1}\nnot json password=%s\n' % (SECRET, SECRET)  # noqa: UP031
        shown = body(raw, "application/x-ndjson")
        assert shown == '{"token":"[redacted]"}\n{"a":1}\nnot json password=[redacted:secret]\n'

    def test_an_event_stream(self) -> None:
        raw = 'event: x\r\ndata: {"token":"%s"}\r\n\r\ndata: [DONE]\r\n\r\n' % SECRET  # noqa: UP031
        shown = body(raw, "text/event-stream; charset=utf-8")
        assert shown == 'event: x\ndata: {"token":"[redacted]"}\n\ndata: [DONE]\n\n'

    def test_a_document_over_two_data_lines(self) -> None:
        raw = 'data: {"shoe_size":\ndata: "%s"}\n\n' % SECRET  # noqa: UP031
        assert body(raw, "text/event-stream") == 'data: {"shoe_size":"[redacted]"}\n\n'

    def test_a_form(self) -> None:
        raw = f"user=ann&pass%77ord={SECRET}&mail=al%40example.com&shoe-size={SECRET}&n=a+b"
        shown = body(raw, "application/x-www-form-urlencoded")
        assert shown == (
            "user=ann&password=[redacted]&mail=[redacted:email]&shoe-size=[redacted]&n=a+b"
        )

    def test_the_last_pair_of_a_cut_form_is_masked(self) -> None:
        shown = body("a=1&b=Zq9", "application/x-www-form-urlencoded", truncated=True)
        assert shown == "a=1&[redacted:cut]"

    @pytest.mark.parametrize(
        ("raw", "kind", "shown"),
        [
            pytest.param(b"abc", "image/png", "[3 bytes of image/png]", id="binary by type"),
            pytest.param(
                b"--x\r\n", "multipart/form-data; boundary=x", "[5 bytes of multipart/form-data]",
                id="multipart",
            ),
            pytest.param(b"a\x00b", "text/plain", "[3 bytes of text/plain]", id="by content"),
            pytest.param(b"\xff\xfe\x00", "", "[3 bytes of unknown type]", id="no type, no text"),
            pytest.param(
                b"abc", "text/plain; charset=utf-7", "[3 bytes of text/plain]",
                id="a charset in which letters hide",
            ),
            pytest.param(b"x", "te\nxt/<b>", "[1 bytes of unknown type]", id="a forged type"),
            pytest.param(b"", "", "", id="nothing"),
        ],
    )  # fmt: skip
    def test_what_is_not_text_becomes_a_count(self, raw: bytes, kind: str, shown: str) -> None:
        assert body(raw, kind) == shown

    def test_controls_are_made_visible_and_lines_kept(self) -> None:
        assert body("a\n\tb\x1b[2J\u202ec", "text/plain") == "a\n\tb\\x1b[2J\\u202ec"


class TestEncodedBodies:
    RAW = json.dumps({"password": SECRET, "fine": "yes"}).encode()
    SHOWN = '{"password":"[redacted]","fine":"yes"}'

    @pytest.mark.parametrize(
        ("coding", "data"),
        [
            pytest.param("gzip", gzip.compress(RAW), id="gzip"),
            pytest.param("X-Gzip", gzip.compress(RAW), id="its old name"),
            pytest.param("deflate", zlib.compress(RAW), id="deflate as the RFC has it"),
            pytest.param("deflate", zlib.compress(RAW)[2:-4], id="deflate as some servers have it"),
            pytest.param("identity", RAW, id="identity"),
        ],
    )
    def test_a_known_coding_is_undone(self, coding: str, data: bytes) -> None:
        assert body(data, JSON, coding) == self.SHOWN

    def test_a_cut_gzip_shows_its_beginning(self) -> None:
        data = gzip.compress(b'{"a":1,"password":"' + bytes(range(32, 127)) * 20)
        shown = body(data[:-20], JSON, "gzip", truncated=True)
        assert shown.startswith('{"a":1,"password":')

    @pytest.mark.parametrize(
        ("coding", "label"),
        [
            pytest.param("br", "br", id="unknown to us"),
            pytest.param("gzip, gzip", "unknown encoding", id="twice"),
            pytest.param("gzip", "gzip", id="not what it says"),
            pytest.param("<x>\n", "unknown encoding", id="made to forge"),
        ],
    )
    def test_anything_else_is_a_count(self, coding: str, label: str) -> None:
        assert body(b"garbage", JSON, coding) == f"[7 bytes of application/json, {label}]"

    def test_a_bomb_stops_at_four_times_the_limit(self) -> None:
        bomb = gzip.compress(b"ab " * 10_000_000)
        redactor = Redactor(RULE, body_limit_bytes=2048)
        tracemalloc.start()
        shown = redactor.body(bomb, "text/plain", "gzip", False)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20
        assert 8000 < len(shown) < 8192 + 20
        assert shown.endswith("[redacted:cut]")


KINDS = st.sampled_from(
    [JSON, "text/plain", "", "text/event-stream", "application/x-ndjson", "image/png",
     "application/x-www-form-urlencoded", "text/html; charset=latin-1", "x/\ud800", "text/xml"]
)  # fmt: skip
CODINGS = st.sampled_from(["", "gzip", "deflate", "br"])
JSONISH = st.lists(
    st.sampled_from([*'{}[]":,\\ \n01eE-.', '"password"', "null", "\\u00", '"a"', "data:", "&="])
).map(lambda parts: "".join(parts).encode())
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


class TestAnyInput:
    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=300) | JSONISH, KINDS, CODINGS, st.booleans())
    def test_a_body_becomes_serialisable_text_twice_the_same(
        self, raw: bytes, kind: str, coding: str, truncated: bool
    ) -> None:
        shown = REDACTOR.body(raw, kind, coding, truncated)
        orjson.dumps(shown)
        assert shown == REDACTOR.body(raw, kind, coding, truncated)

    @settings(max_examples=200, deadline=None)
    @given(
        st.text(), st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=60)), max_size=6)
    )
    def test_paths_and_fields_never_raise(
        self, raw: str, fields: list[tuple[bytes, bytes]]
    ) -> None:
        orjson.dumps([REDACTOR.path(raw), REDACTOR.fields(fields)])
        orjson.dumps(REDACTOR.line(raw + "\ud800"))

    @settings(max_examples=200, deadline=None)
    @given(VALUES, VALUES, st.sampled_from(["password", "API-KEY", "shoeSize", "refresh_token"]))
    def test_a_planted_secret_never_comes_out(
        self, before: object, after: object, key: str
    ) -> None:
        document = {"a": before, "b": [{key: SECRET}, after], "c": {"d": {key: [SECRET, after]}}}
        raw = json.dumps(document).encode()
        assert SECRET not in REDACTOR.body(raw, JSON, "", False)
        for cut in range(0, len(raw), 7):
            assert SECRET not in REDACTOR.body(raw[:cut], JSON, "", True)

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=20), st.text(max_size=20))
    def test_a_query_value_never_comes_out(self, before: str, after: str) -> None:
        assert SECRET not in REDACTOR.path(f"/{before.replace('?', '')}?k={SECRET}{after}")

    @pytest.mark.parametrize(
        "unit",
        ["a@", "a@b.", "1-", "4111 ", "x://a@", "token ", "eyJ", "-----BEGIN ", 'password="', "{[",
         '"a":', '"pin":1,', "+1 ", "DE89 ", "--token ", "<token>", "%25", "\\", "&a=",
         "data:\n\n"],
    )  # fmt: skip
    def test_time_is_linear_in_the_text(self, unit: str) -> None:
        raw = (unit * 32768)[:32768].encode()
        for kind in (JSON, "text/plain", "application/x-www-form-urlencoded"):
            start = time.perf_counter()
            REDACTOR.body(raw, kind, "", False)
            assert time.perf_counter() - start < 1.5


def test_keys_of_forty_characters_are_found_side_by_side_and_not_inside_longer_runs() -> None:
    key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    other = key[::-1]
    for between in (" ", ",", "\n", '"'):
        assert key not in REDACTOR.text(f"{key}{between}{other}")
        assert other not in REDACTOR.text(f"{key}{between}{other}")
    longer = key + other
    assert REDACTOR.text(f"x {longer}") == f"x {longer}"
