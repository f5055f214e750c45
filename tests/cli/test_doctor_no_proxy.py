"""NO_PROXY as each client reads it: what the matchers were seen doing, as a table."""

import urllib.request
from collections.abc import Callable
from types import ModuleType

import httpx
import httpx2
import pytest
import requests.utils
from aiohttp.helpers import get_env_proxy_for_url
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from proxy.cli.doctor.no_proxy import (
    CLIENTS,
    check_host,
    check_no_proxy,
    going_around,
    read_entries,
    split_host_port,
)
from proxy.cli.doctor.verdicts import Verdict

ALL = set(CLIENTS)
STAR = {"httpx2", "Go", "Node fetch", "Node http", "axios"}
PORTS = ALL - {"aiohttp", "curl"}
NETWORKS = {"requests", "httpx2", "curl", "Go", "axios"}
BARE = ALL - {"Node fetch", "Node http", "axios"}
APEX = {"requests", "aiohttp", "urllib", "curl"}

MATCHES = [
    ("api.example.com", "api.example.com", None, ALL),
    ("API.Example.com", "api.EXAMPLE.com.", None, ALL),
    ("api.example.com", "other.example.com", None, set()),
    (".example.com", "api.example.com", None, ALL),
    (".example.com", "a.b.example.com", None, ALL),
    (".example.com", "notexample.com", None, set()),
    (".example.com", "example.com", None, APEX),
    ("example.com", "api.example.com", None, BARE),
    ("example.com", "notexample.com", None, set()),
    ("*.example.com", "api.example.com", None, STAR),
    ("*.example.com", "example.com", None, set()),
    ("api.example.com:8443", "api.example.com", 8443, PORTS),
    ("api.example.com:8443", "api.example.com", 443, set()),
    ("api.example.com:8443", "api.example.com", None, set()),
    ("api.example.com:443", "api.example.com", None, {"Go", "Node fetch", "Node http", "axios"}),
    ("api.example.com:443", "api.example.com", 443, PORTS),
    ("10.1.2.3", "10.1.2.3", None, ALL),
    ("10.1.2.3", "10.1.2.30", None, set()),
    ("2.3", "10.1.2.3", None, set()),
    ("10.0.0.0/8", "10.1.2.3", None, NETWORKS),
    ("10.0.0.0/8", "11.1.2.3", None, set()),
    ("10.0.0.0/8", "ten.example", None, set()),
    ("fd00::/8", "fd00::1", None, NETWORKS - {"requests"}),
    ("[fd00::1]:443", "fd00::1", 443, PORTS),
    ("*", "anything.example", 1234, ALL),
    ("no/network", "no/network", None, ALL),
    ("h:port", "h", None, set()),
]


@pytest.mark.parametrize(("entry", "host", "port", "clients"), MATCHES)
def test_who_goes_around(entry: str, host: str, port: int | None, clients: set[str]) -> None:
    """Exact names, `.suffix` and exact addresses are read alike; the rest by some only."""
    [read] = read_entries(entry)
    assert set(going_around(read, host, port)) == clients


@given(st.text(max_size=40), st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True))
def test_no_entry_is_an_error(text: str, host: str) -> None:
    """NO_PROXY is what somebody typed: anything is read, and judged, without a traceback."""
    checks = check_no_proxy({"NO_PROXY": text}, ())
    assert checks
    assert check_host({"NO_PROXY": text}, host, None).verdict in (Verdict.OK, Verdict.BYPASS)


def test_entries_are_split_at_commas_and_blanks_once_each() -> None:
    assert [e.text for e in read_entries("a, b\tc,,a", "c")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("entry", "verdict", "words"),
    [
        ("localhost", Verdict.OK, "harmless"),
        (".localhost", Verdict.OK, "harmless"),
        ("127.0.0.1", Verdict.OK, "harmless"),
        ("127.0.0.0/8", Verdict.OK, "harmless"),
        ("::1", Verdict.OK, "harmless"),
        ("[::1]", Verdict.OK, "harmless"),
        ("booth", Verdict.OK, "gateway"),
        ("*", Verdict.BYPASS, "Everything"),
        (".svc.cluster.local", Verdict.BYPASS, "below svc.cluster.local go around, for every"),
        ("*.corp", Verdict.BYPASS, "others ignore it"),
        ("10.0.0.0/8", Verdict.BYPASS, "Addresses in 10.0.0.0/8"),
        ("fd00::/8", Verdict.BYPASS, "for httpx2, curl"),
        ("db.internal:5432", Verdict.BYPASS, "at port 5432"),
        ("db.internal", Verdict.BYPASS, "names below it for requests"),
        ("10.1.2.3", Verdict.BYPASS, "10.1.2.3 goes around, for every client"),
    ],
)
def test_every_entry_is_explained(entry: str, verdict: Verdict, words: str) -> None:
    [check] = check_no_proxy({"no_proxy": entry}, {"booth"})
    assert (check.verdict, check.name) == (verdict, f"entry {entry}")
    assert words in check.detail


def test_the_two_cases_may_disagree() -> None:
    """Then nobody knows which one counts, and both are judged."""
    checks = check_no_proxy({"no_proxy": "localhost", "NO_PROXY": "*"}, ())
    assert [c.verdict for c in checks] == [Verdict.WARNING, Verdict.BYPASS, Verdict.OK]
    assert [c.verdict for c in check_no_proxy({"no_proxy": ""}, ())] == [Verdict.OK]


@pytest.mark.parametrize(
    ("value", "host", "verdict", "words"),
    [
        ("localhost", "api.example.com", Verdict.OK, "No client"),
        (".example.com", "api.example.com", Verdict.BYPASS, "because of `.example.com`"),
        ("*.example.com", "api.example.com", Verdict.BYPASS, "httpx2, Go, Node fetch, Node http"),
        ("", "localhost", Verdict.BYPASS, "Go and Java go around"),
        ("", "127.0.0.2", Verdict.BYPASS, "whatever is set"),
        ("localhost", "localhost", Verdict.BYPASS, "never use a proxy for loopback"),
    ],
)
def test_a_host_asked_for(value: str, host: str, verdict: Verdict, words: str) -> None:
    check = check_host({"NO_PROXY": value}, host, None)
    assert check.verdict is verdict
    assert words in check.detail


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("h", ("h", None)),
        ("H.:80", ("h", 80)),
        ("[::1]:80", ("::1", 80)),
        ("[::1]", ("::1", None)),
        ("::1", ("::1", None)),
    ],
)
def test_hosts_with_and_without_port(text: str, expected: tuple[str, int | None]) -> None:
    assert split_host_port(text) == expected
    with pytest.raises(ValueError):
        split_host_port("h:99999")


def _aiohttp(url: str) -> bool:
    try:
        get_env_proxy_for_url(URL(url))
    except LookupError:
        return True
    return False


def _of_client(module: ModuleType) -> Callable[[str], bool]:
    def goes_around(url: str) -> bool:
        with module.Client() as client:
            return client._transport_for_url(module.URL(url)) is client._transport

    return goes_around


REAL: dict[str, Callable[[str], bool]] = {
    "requests": lambda url: bool(requests.utils.should_bypass_proxies(url, None)),
    "urllib": lambda url: bool(urllib.request.proxy_bypass(url.split("/")[2])),
    "httpx": _of_client(httpx),
    "httpx2": _of_client(httpx2),
    "aiohttp": _aiohttp,
}


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize(
    "entry",
    ["example.com", ".example.com", "*.example.com", "example.com:8443", "api.example.com",
     "10.0.0.0/8", "10.1.2.3", "*"],
)  # fmt: skip
def test_the_table_is_what_the_clients_do(
    name: str, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's clients, asked themselves; the others were run by hand."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    for unset in ("NO_PROXY", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(unset, raising=False)
    monkeypatch.setenv("no_proxy", entry)
    [read] = read_entries(entry)
    for host, port in (
        ("example.com", None), ("api.example.com", None), ("notexample.com", None),
        ("example.com", 8443), ("10.1.2.3", None), ("10.1.2.30", None),
    ):  # fmt: skip
        url = f"http://{host}{f':{port}' if port else ''}/"
        assert REAL[name](url) == (name in going_around(read, host, port)), url
