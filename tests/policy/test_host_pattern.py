import pytest

from proxy.policy.host_pattern import check_host_pattern


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("*", "*"),
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("*.Example.com", "*.example.com"),
        ("*.com", "*.com"),
        ("localhost", "localhost"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("[::0:1]", "::1"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_canonical_patterns(raw: str, canonical: str) -> None:
    assert check_host_pattern(raw) == canonical


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("", "not a host"),
        ("*.", "not a host"),
        ("a..b", "not a host"),
        ("a b", "not a host"),
        ("api*.example.com", "whole|alone"),
        ("*example.com", "whole|alone"),
        ("a.*.com", "whole|alone"),
        ("*.*.com", "whole|alone"),
        ("https://example.com", "scheme"),
        ("user@example.com", "user"),
        ("example.com:443", "'ports'"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("127.1", "write 127.0.0.1"),
        ("0x7f000001", "write 127.0.0.1"),
        ("1.2.3.4.5", "always refused"),
        ("*.10.0.0.1", "no wildcard"),
        ("*.1", "no wildcard"),
        ("1:2:3", "not a host"),
    ],
)
def test_refused_patterns(raw: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_host_pattern(raw)
