import pytest

from proxy.guards.loop import loop_key
from proxy.model.call import Origin, Target

CALL = ("search", "GET", "/v1?q=a", "api.example", b"body")


def key_of(tool: str, method: str, path: str, host: str, body: bytes) -> int:
    return loop_key(tool, method, Target(Origin("http", host, 80), path), body)


def test_equal_calls_have_equal_keys_of_64_bits() -> None:
    assert key_of(*CALL) == key_of(*CALL)
    assert -(2**63) <= key_of(*CALL) < 2**63


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(("search2", "GET", "/v1?q=a", "api.example", b"body"), id="another tool"),
        pytest.param(("search", "POST", "/v1?q=a", "api.example", b"body"), id="another method"),
        pytest.param(("search", "GET", "/v1?q=b", "api.example", b"body"), id="another query"),
        pytest.param(("search", "GET", "/v1?q=a", "b.example", b"body"), id="another host"),
        pytest.param(("search", "GET", "/v1?q=a", "api.example", b"bodY"), id="another body"),
        pytest.param(("searchG", "ET", "/v1?q=a", "api.example", b"body"), id="a moved border"),
        pytest.param(("search", "GET", "/v1?q=ab", "api.example", b"ody"), id="path and body"),
    ],
)
def test_different_calls_have_different_keys(other: tuple[str, str, str, str, bytes]) -> None:
    assert key_of(*other) != key_of(*CALL)


def test_no_text_can_imitate_the_border_of_another() -> None:
    assert key_of("t", "GET", "/", "a", b"0:") != key_of("t", "GET1:a", "", "/", b"")


def test_a_target_with_raw_bytes_has_a_key_too() -> None:
    assert key_of("search", "GET", "/\udcff", "a", b"") != key_of("search", "GET", "/", "a", b"")
