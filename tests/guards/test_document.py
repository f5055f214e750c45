import time

import pytest

from proxy.guards.document import (
    MAX_CONTAINERS,
    DocumentError,
    DocumentTooLargeError,
    count_containers,
    read_document,
)

READABLE = [
    pytest.param(b'{"a":1}', {"a": 1}, id="plain"),
    pytest.param(b'{"a":1,"b":"\\ud800"}', {"a": 1, "b": "\ud800"}, id="half a surrogate pair"),
    pytest.param(b'\xef\xbb\xbf{"a":1}', {"a": 1}, id="a byte order mark"),
    pytest.param(b'{"a":1,"b":Infinity}', {"a": 1, "b": float("inf")}, id="a number that is none"),
    pytest.param('{"a":1}'.encode("utf-16"), {"a": 1}, id="UTF-16"),
    pytest.param(b"[" + b"[]," * (MAX_CONTAINERS - 2) + b"[]]", None, id="as much as is read"),
]


@pytest.mark.parametrize(("text", "expected"), READABLE)
def test_what_another_reader_takes_is_read(text: bytes, expected: object) -> None:
    found = read_document(text)
    assert expected is None or found == expected


UNREADABLE = [
    pytest.param(b"", id="nothing"),
    pytest.param(b'{"a":', id="broken"),
    pytest.param(b'"\xff"', id="no UTF-8"),
    pytest.param(b"[" * 40_000, id="deep and open"),
    pytest.param(b"[" * 40_000 + b"]" * 40_000, id="deep"),
    pytest.param(b'{"a":' + b"9" * 9999 + b"}", id="a number nobody converts"),
    pytest.param(b"[" + b"[]," * MAX_CONTAINERS + b"[]]", id="more than is read"),
]


@pytest.mark.parametrize("text", UNREADABLE)
def test_everything_else_is_unreadable(text: bytes) -> None:
    with pytest.raises(DocumentError):
        read_document(text)


def test_a_million_lists_are_counted_and_not_made() -> None:
    text = b"[" + b"[]," * 1_000_000 + b"0]"
    assert count_containers(text) == 1_000_001
    started_s = time.process_time()
    with pytest.raises(DocumentTooLargeError):
        read_document(text)
    assert time.process_time() - started_s < 0.1
