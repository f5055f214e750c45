"""Redirects that stay in the gateway: what is rewritten, and all that is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.call import Origin
from proxy.wire.head import parse_response_head
from proxy.wire.location import gateway_lines, gateway_place, names_place

API = Origin("https", "api.test", 443)
ODD = Origin("http", "api.test", 8080)
SIX = Origin("http", "2001:db8::1", 80)

PLACES = [
    pytest.param(API, "/v1", "https://api.test/v1/x", "/tools/t/x", id="absolute, below"),
    pytest.param(API, "/v1", "https://api.test/v1", "/tools/t", id="absolute, the base itself"),
    pytest.param(API, "/v1", "https://api.test/v1/", "/tools/t/", id="its slash is kept"),
    pytest.param(API, "/v1", "https://api.test/v1?a=b", "/tools/t?a=b", id="the base and a query"),
    pytest.param(API, "/v1", "/v1/x?a=/b", "/tools/t/x?a=/b", id="path-absolute with a query"),
    pytest.param(API, "/v1", "//api.test/v1/x", "/tools/t/x", id="network-path"),
    pytest.param(API, "/v1", "//API.TEST:443/v1/x", "/tools/t/x", id="network-path, port, case"),
    pytest.param(API, "/v1", "HTTPS://Api.Test.:443/v1/x", "/tools/t/x", id="spelt otherwise"),
    pytest.param(API, "/v1", "/v1/x#part", "/tools/t/x#part", id="the fragment is kept"),
    pytest.param(API, "/v1", "/v1/x%2fy;z", "/tools/t/x%2fy;z", id="the path is not decoded"),
    pytest.param(API, "", "https://api.test", "/tools/t/", id="no base, no path"),
    pytest.param(API, "", "https://api.test/a/b", "/tools/t/a/b", id="no base, a path"),
    pytest.param(API, "", "/", "/tools/t/", id="no base, the root"),
    pytest.param(ODD, "/v1", "http://api.test:8080/v1/x", "/tools/t/x", id="a port of its own"),
    pytest.param(ODD, "/v1", "/v1/x", "/tools/t/x", id="path-absolute at such a port"),
    pytest.param(SIX, "", "http://[2001:DB8:0::1]/x", "/tools/t/x", id="an IPv6 address"),
    pytest.param(SIX, "", "/x", "/tools/t/x", id="path-absolute at an IPv6 address"),
    pytest.param(API, "/v1", "/v10/x", None, id="a longer segment is not below"),
    pytest.param(API, "/v1", "https://api.test/v10", None, id="nor absolute"),
    pytest.param(API, "/v1", "/other", None, id="beside the base"),
    pytest.param(API, "/v1", "/V1/x", None, id="paths have case"),
    pytest.param(API, "/v1", "http://api.test/v1/x", None, id="another scheme"),
    pytest.param(API, "/v1", "https://api.test:8443/v1/x", None, id="another port"),
    pytest.param(ODD, "/v1", "http://api.test/v1/x", None, id="the default port is another"),
    pytest.param(API, "/v1", "https://api.test.evil.test/v1/x", None, id="a longer host"),
    pytest.param(API, "/v1", "//evil.test/v1/x", None, id="network-path to another host"),
    pytest.param(API, "/v1", "https://u:p@api.test/v1/x", None, id="userinfo"),
    pytest.param(API, "/v1", "https://api.test@evil.test/v1/x", None, id="userinfo that looks so"),
    pytest.param(API, "/v1", "/v1/../admin", None, id="dot segments"),
    pytest.param(API, "/v1", "/v1/%2e%2E/admin", None, id="encoded dot segments"),
    pytest.param(API, "/v1", "https://api.test/v1\\..\\x", None, id="dot segments of Windows"),
    pytest.param(API, "/v1", "x", None, id="relative"),
    pytest.param(API, "/v1", "../x", None, id="relative, upwards"),
    pytest.param(API, "/v1", "?page=2", None, id="a query alone"),
    pytest.param(API, "/v1", "#top", None, id="a fragment alone"),
    pytest.param(API, "/v1", "", None, id="nothing"),
    pytest.param(API, "/v1", "mailto:a@api.test", None, id="another kind of URL"),
    pytest.param(API, "/v1", "https:/v1/x", None, id="a scheme without host"),
    pytest.param(API, "/v1", "/v1/\xe9", None, id="not ASCII"),
    pytest.param(API, "/v1", "/v1/x#\xe9", None, id="not ASCII in the fragment"),
    pytest.param(API, "/v1", "/v1/a b", None, id="a space"),
]


@pytest.mark.parametrize(("origin", "base", "reference", "expected"), PLACES)
def test_places(origin: Origin, base: str, reference: str, expected: str | None) -> None:
    assert gateway_place(reference, origin, base, "/tools/t") == expected


@given(st.text(max_size=60))
def test_whatever_is_rewritten_stays_in_the_gateway(reference: str) -> None:
    place = gateway_place(reference, API, "/v1", "/tools/t")
    assert place is None or place == "/tools/t" or place.startswith(("/tools/t/", "/tools/t?", "/tools/t#"))  # noqa: E501 # fmt: skip


def test_only_two_fields_are_touched() -> None:
    lines = [
        b"LOCATION:  /v1/a ", b"Content-Location: /v1/b", b"Link: </v1/c>", b"Location: /other",
    ]  # fmt: skip
    assert gateway_lines(lines, API, "/v1", "/tools/t") == [
        b"LOCATION: /tools/t/a",
        b"Content-Location: /tools/t/b",
        b"Link: </v1/c>",
        b"Location: /other",
    ]


def test_an_answer_that_points_nowhere_is_left_alone() -> None:
    assert not names_place(parse_response_head(b"HTTP/1.1 200 OK\r\nLink: </a>\r\n\r\n"))
    assert names_place(parse_response_head(b"HTTP/1.1 200 OK\r\ncontent-location: /\r\n\r\n"))
