"""Lines of the audit log: what is hashed is what stands there."""

import hmac
import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.store.audit_chain import GENESIS, MAX_LINE_BYTES, Head, read_line, sealed

KEY = b"0123456789abcdef"
TEXTS = st.text(max_size=60) | st.text(st.characters(categories=["Cs", "Cc", "Cf"]), max_size=9)
ENTRIES = st.dictionaries(
    TEXTS, TEXTS | st.integers(-9, 9) | st.none() | st.lists(TEXTS, max_size=3), max_size=5
)


@given(entry=ENTRIES, key=st.sampled_from([None, KEY]))
def test_what_is_sealed_can_be_read_and_is_one_printable_line(
    entry: dict[str, object], key: bytes | None
) -> None:
    """Whatever it holds: line breaks, direction marks, halves of characters."""
    raw, head = sealed(entry, GENESIS, key)
    assert raw.endswith(b"\n")
    assert raw[:-1].decode().isprintable()
    line = read_line(raw[:-1])
    assert line is not None
    assert (line.head, line.prev, line.is_true) == (head, GENESIS.hash, True)
    assert (line.mac == "") is (key is None)
    assert key is None or line.is_by(key)
    assert not line.is_by(b"another key, as long")
    assert json.loads(raw)["seq"] == 1


def test_a_hash_can_be_made_with_standard_tools() -> None:
    """The bytes up to `,"hash"`, and for the mac up to `,"mac"`: nothing is put in order first."""
    raw, head = sealed({"action": "x", "seq": 9, "hash": "no"}, Head(41, "a" * 64), KEY)
    hashed = raw.partition(b',"hash":')[0]
    assert head == Head(42, sha256(hashed).hexdigest())
    found = json.loads(raw)
    body = raw.partition(b',"mac":')[0]
    assert found["mac"] == hmac.new(KEY, body, sha256).hexdigest()
    assert (found["seq"], found["prev"], found["action"]) == (42, "a" * 64, "x")


def test_an_entry_too_long_for_a_line_keeps_what_matters() -> None:
    raw, _ = sealed({"action": "x", "key": "k" * 5000, "more": [["é" * 2000] * 20]}, GENESIS, KEY)
    assert len(raw) <= MAX_LINE_BYTES
    found = json.loads(raw)
    assert (found["action"], found["cut"], found["key"]) == ("x", True, "k" * 2000)
    assert "more" not in found
    assert read_line(raw[:-1]) is not None


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{}", id="another object"),
        pytest.param(b'{"seq":0,"a":1,"prev":"%b","hash":"%b"}' % (b"0" * 64, b"0" * 64),
                     id="no line has the number 0"),
        pytest.param(b'{"seq":1,"a":1,"prev":"%b","hash":"%b"}\r' % (b"0" * 64, b"0" * 64),
                     id="a line that Windows has seen"),
        pytest.param(sealed({"a": "b"}, GENESIS, None)[0][:-2], id="half a line"),
        pytest.param(sealed({"a": "b"}, GENESIS, None)[0], id="its newline does not belong to it"),
    ],
)  # fmt: skip
def test_what_is_no_line(raw: bytes) -> None:
    assert read_line(raw) is None


@pytest.mark.parametrize("character", ["k", "é", "\U000e0041", "😀", "\u2028"])
def test_a_line_is_bounded_in_bytes_whatever_its_fields_are_made_of(character: str) -> None:
    """A character that is escaped takes up to twelve; a line that nobody reads back would look like
    tampering."""
    names = ("ts", "event", "actor", "role", "action", "key", "outcome")
    raw, _ = sealed(dict.fromkeys(names, character * 8192), GENESIS, KEY)
    assert len(raw) <= MAX_LINE_BYTES
    assert read_line(raw[:-1]) is not None
