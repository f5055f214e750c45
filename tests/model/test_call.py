import pytest

from proxy.model.call import Mode, Origin, is_probe_host

AUTHORITIES = [
    pytest.param(Origin("http", "h.test", 80), "h.test", id="the default port of http"),
    pytest.param(Origin("https", "h.test", 443), "h.test", id="the default port of https"),
    pytest.param(Origin("http", "h.test", 443), "h.test:443", id="another scheme's default"),
    pytest.param(Origin("https", "h.test", 80), "h.test:80", id="and the other way round"),
    pytest.param(Origin("http", "h.test", 8080), "h.test:8080", id="another port"),
    pytest.param(Origin("http", "::1", 80), "[::1]", id="an IPv6 address has brackets"),
    pytest.param(Origin("https", "::1", 8443), "[::1]:8443", id="also with a port"),
    pytest.param(Origin("http", "192.0.2.1", 80), "192.0.2.1", id="an IPv4 address has none"),
]


@pytest.mark.parametrize(("origin", "authority"), AUTHORITIES)
def test_an_authority_is_written_as_a_host_field(origin: Origin, authority: str) -> None:
    assert origin.authority == authority


def test_modes_are_the_words_of_the_record() -> None:
    assert [f"{mode}" for mode in Mode] == [
        "absolute",
        "connect",
        "tunnel_http",
        "intercepted",
        "gateway",
    ]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("toolbooth.invalid", True),
        ("nonce.toolbooth.invalid", True),
        ("nottoolbooth.invalid", False),
        ("invalid", False),
        ("toolbooth.invalid.example", False),
        ("", False),
    ],
)
def test_the_probe_host_and_the_names_below_it(host: str, expected: bool) -> None:
    assert is_probe_host(host) is expected
