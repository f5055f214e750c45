"""The proxy variables: set in both cases, agreeing, and readable; never their passwords."""

import pytest

from proxy.cli.doctor.variables import Endpoint, check_variables, endpoints, parse_proxy
from proxy.cli.doctor.verdicts import Verdict

URL = "http://run-1:s3cret@booth:8080"
OTHER = "http://run-2:s3cret@elsewhere:8080"
BOTH = {"http_proxy": URL, "HTTP_PROXY": URL, "https_proxy": URL, "HTTPS_PROXY": URL}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (URL, Endpoint("booth", 8080, "run-1", "s3cret")),
        ("booth:8080", Endpoint("booth", 8080)),
        ("HTTP://booth:8080/", Endpoint("booth", 8080)),
        ("http://a%40b:x@[::1]:8080", Endpoint("::1", 8080, "a@b", "x")),
    ],
)
def test_what_a_proxy_url_names(url: str, expected: Endpoint) -> None:
    assert parse_proxy(url) == expected


@pytest.mark.parametrize(
    "url",
    ["socks5h://s3cret@booth:1080", "https://s3cret@booth:8080", "http://s3cret@booth", "http://:80",
     "http://s3cret@booth:0", "http://s3cret@booth:http", "http://s3cret@[::1",
     "http://s3cret@\x1b[2J:80", "http://s3cret:\u2100@booth:80"],
)  # fmt: skip
def test_a_url_that_is_no_booth(url: str) -> None:
    """Refused with a sentence that does not repeat what may be a password."""
    with pytest.raises(ValueError) as refused:
        parse_proxy(url)
    assert "s3cret" not in str(refused.value)


def verdicts(environ: dict[str, str]) -> dict[str, Verdict]:
    return {check.name.partition(",")[0]: check.verdict for check in check_variables(environ)}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (BOTH, {"http_proxy": Verdict.OK, "https_proxy": Verdict.OK}),
        ({}, {"http_proxy": Verdict.BYPASS, "https_proxy": Verdict.BYPASS}),
        ({"http_proxy": URL}, {"http_proxy": Verdict.OK, "https_proxy": Verdict.BYPASS}),
        (
            {"HTTP_PROXY": URL, "HTTPS_PROXY": URL},
            {"http_proxy": Verdict.WARNING, "https_proxy": Verdict.WARNING},
        ),
        (
            BOTH | {"HTTP_PROXY": OTHER},
            {"http_proxy": Verdict.WARNING, "https_proxy": Verdict.OK},
        ),
        (
            BOTH | {"http_proxy": "socks5://booth:1080"},
            {"http_proxy": Verdict.BROKEN, "https_proxy": Verdict.OK},
        ),
        (
            BOTH | {"ALL_PROXY": URL, "grpc_proxy": URL, "NODE_USE_ENV_PROXY": "1"},
            {"http_proxy": Verdict.OK, "https_proxy": Verdict.OK, "all_proxy": Verdict.WARNING,
             "grpc_proxy": Verdict.OK, "NODE_USE_ENV_PROXY": Verdict.OK},
        ),
        (
            BOTH | {"NODE_USE_ENV_PROXY": "true"},
            {"http_proxy": Verdict.OK, "https_proxy": Verdict.OK,
             "NODE_USE_ENV_PROXY": Verdict.WARNING},
        ),
        (
            {"http_proxy": "", "HTTP_PROXY": "", "HTTPS_PROXY": "", "https_proxy": ""},
            {"http_proxy": Verdict.BYPASS, "https_proxy": Verdict.BYPASS},
        ),
    ],
)  # fmt: skip
def test_families(environ: dict[str, str], expected: dict[str, Verdict]) -> None:
    assert verdicts(environ) == expected
    shown = repr(check_variables(environ))
    assert "s3cret" not in shown


def test_lines_make_both_cases_the_same() -> None:
    [http, _] = check_variables({"HTTP_PROXY": URL, "https_proxy": URL})
    assert http.lines == ('export http_proxy="$HTTP_PROXY"',)


def test_every_place_they_point_at() -> None:
    """Once each, with the names that do; unreadable ones are told elsewhere."""
    environ = BOTH | {"HTTPS_PROXY": OTHER, "ALL_PROXY": "socks5://x:1"}
    assert endpoints(environ) == {
        Endpoint("booth", 8080, "run-1", "s3cret"): ["http_proxy", "HTTP_PROXY", "https_proxy"],
        Endpoint("elsewhere", 8080, "run-2", "s3cret"): ["HTTPS_PROXY"],
    }
    assert str(Endpoint("::1", 80, "u", "s3cret")) == "[::1]:80"
