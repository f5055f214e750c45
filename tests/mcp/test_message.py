"""JSON-RPC messages, read strictly."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.mcp.message import (
    INVALID_REQUEST,
    MAX_BATCH,
    MAX_BODY_BYTES,
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_MEMBERS,
    PARSE_ERROR,
    BadJsonRpc,
    Message,
    read_messages,
)

CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%s}'
SEARCH = '{"name":"search","arguments":{"q":"cats"}}'


def read(text: str) -> Message:
    messages, is_batch = read_messages(text.encode())
    assert not is_batch
    return messages[0]


def test_a_call_of_a_tool() -> None:
    message = read(CALL % SEARCH)
    assert message == Message("tools/call", 1, "search", message.digest)
    assert len(message.digest) == 16
    assert message.is_call
    assert message.wants_answer


@pytest.mark.parametrize(
    ("text", "method", "wants_answer"),
    [
        pytest.param('{"jsonrpc":"2.0","id":"a","method":"ping"}', "ping", True, id="a request"),
        pytest.param(
            '{"jsonrpc":"2.0","method":"notifications/x","params":null}', "notifications/x", False,
            id="a notification",
        ),
        pytest.param('{"jsonrpc":"2.0","id":1,"result":{}}', "", False, id="a response"),
        pytest.param('{"jsonrpc":"2.0","id":null,"error":{}}', "", False, id="an error to nobody"),
        pytest.param(
            '{"jsonrpc":"2.0","id":1,"\\u006dethod":"ping"}', "ping", True, id="an escaped key"
        ),
    ],
)  # fmt: skip
def test_what_else_a_client_says(text: str, method: str, wants_answer: bool) -> None:
    message = read(text)
    assert (message.method, message.wants_answer) == (method, wants_answer)


REFUSED = [
    ("no JSON", "hello", PARSE_ERROR),
    ("nothing", "", PARSE_ERROR),
    ("content after the JSON", CALL % SEARCH + CALL % SEARCH, PARSE_ERROR),
    ("a byte order mark", "\ufeff" + CALL % SEARCH, PARSE_ERROR),
    ("a comment", "/* */" + CALL % SEARCH, PARSE_ERROR),
    ("NaN", CALL % '{"name":"search","arguments":{"q":NaN}}', PARSE_ERROR),
    ("half a surrogate", CALL % '{"name":"search\\ud800"}', PARSE_ERROR),
    ("a string", '"tools/call"', INVALID_REQUEST),
    ("an empty batch", "[]", INVALID_REQUEST),
    ("a batch in a batch", f"[[{CALL % SEARCH}]]", INVALID_REQUEST),
    ("no version", '{"id":1,"method":"ping"}', INVALID_REQUEST),
    ("another version", '{"jsonrpc":"1.0","id":1,"method":"ping"}', INVALID_REQUEST),
    (
        "the method twice",
        '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
        INVALID_REQUEST,
    ),
    (
        "twice, once escaped",
        '{"jsonrpc":"2.0","id":1,"method":"ping","\\u006dethod":"x"}',
        INVALID_REQUEST,
    ),
    (
        "the params twice",
        '{"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{}}',
        INVALID_REQUEST,
    ),
    ("the name twice", CALL % '{"name":"search","name":"delete"}', INVALID_REQUEST),
    (
        "an argument twice",
        CALL % '{"name":"search","arguments":{"q":"a","q":"b"}}',
        INVALID_REQUEST,
    ),
    (
        "the method in another case",
        '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}',
        INVALID_REQUEST,
    ),
    ("the name in another case", CALL % '{"name":"search","NAME":"delete"}', INVALID_REQUEST),
    (
        "params with a long s",
        '{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{}}',
        INVALID_REQUEST,
    ),
    ("an id that is null", '{"jsonrpc":"2.0","id":null,"method":"ping"}', INVALID_REQUEST),
    ("an id that is true", '{"jsonrpc":"2.0","id":true,"method":"ping"}', INVALID_REQUEST),
    ("an id that is a fraction", '{"jsonrpc":"2.0","id":1.0,"method":"ping"}', INVALID_REQUEST),
    (
        "an id beyond 64 bits",
        '{"jsonrpc":"2.0","id":123456789012345678901,"method":"ping"}',
        INVALID_REQUEST,
    ),
    (
        "a method that is a list",
        '{"jsonrpc":"2.0","id":1,"method":["tools/call"]}',
        INVALID_REQUEST,
    ),
    (
        "a request and a response",
        '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}',
        INVALID_REQUEST,
    ),
    ("neither", '{"jsonrpc":"2.0","id":1}', INVALID_REQUEST),
    ("both ends of a response", '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', INVALID_REQUEST),
    ("params that are a list", CALL % '["search"]', INVALID_REQUEST),
    ("a call without a name", CALL % "{}", INVALID_REQUEST),
    ("a name that is a number", CALL % '{"name":7}', INVALID_REQUEST),
    ("arguments that are text", CALL % '{"name":"search","arguments":"{}"}', INVALID_REQUEST),
    (
        "too deep",
        CALL % ('{"name":"x","arguments":{"a":' + "[" * MAX_DEPTH + "]" * MAX_DEPTH + "}}"),
        INVALID_REQUEST,
    ),
    ("two requests of one id", f"[{CALL % SEARCH},{CALL % SEARCH}]", INVALID_REQUEST),
]


@pytest.mark.parametrize(
    ("text", "code"), [pytest.param(text, code, id=name) for name, text, code in REFUSED]
)
def test_what_two_parsers_could_read_in_two_ways_is_refused(text: str, code: int) -> None:
    with pytest.raises(BadJsonRpc) as caught:
        read_messages(text.encode())
    assert caught.value.rpc_code == code
    assert "delete" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "is_read"),
    [
        ("tools/call2", True),
        ("made/Up", True),
        ("notifications/Progress", True),
        ("Tools/Call", False),
        ("tools/call ", False),
        ("\\ttools/ call", False),
        ("tools/call\\u0000", False),
        ("tools\\u200b/call", False),
        ("\uff54ools/call", False),
        ("RESOURCES/LIST", False),
        ("Initialize", False),
        ("lin\u212a", True),
    ],
)
def test_a_method_is_unknown_or_written_as_it_should_be(method: str, is_read: bool) -> None:
    text = f'{{"jsonrpc":"2.0","id":1,"method":"{method}"}}'
    if is_read:
        assert read(text).method == method
    else:
        with pytest.raises(BadJsonRpc, match="otherwise"):
            read(text)


def test_utf_16_is_no_json() -> None:
    with pytest.raises(BadJsonRpc):
        read_messages((CALL % SEARCH).encode("utf-16"))


def test_brackets_in_strings_are_no_depth() -> None:
    assert read(CALL % ('{"name":"x","arguments":{"q":"\\"' + "[" * 500 + '"}}')).name == "x"


@pytest.mark.parametrize(("count", "fits"), [(MAX_CONTAINERS - 3, True), (MAX_CONTAINERS, False)])
def test_arrays_and_objects_are_counted_before_they_are_made(count: int, fits: bool) -> None:
    text = CALL % ('{"name":"x","arguments":{"a":[' + ",".join(["[]"] * (count - 1)) + "]}}")
    if fits:
        assert read(text).name == "x"
    else:
        with pytest.raises(BadJsonRpc, match="arrays and objects"):
            read(text)


@pytest.mark.parametrize(("count", "fits"), [(MAX_MEMBERS - 6, True), (MAX_MEMBERS, False)])
def test_members_are_counted_before_they_are_made(count: int, fits: bool) -> None:
    members = ",".join(f'"{at}":0' for at in range(count))
    text = CALL % ('{"name":"x","arguments":{' + members + "}}")
    if fits:
        assert read(text).name == "x"
    else:
        with pytest.raises(BadJsonRpc, match="members"):
            read(text)


def test_brackets_in_strings_are_not_counted() -> None:
    text = "[{" * MAX_CONTAINERS
    assert read(CALL % ('{"name":"x","arguments":{"q":"\\"' + text + '"}}')).name == "x"


@pytest.mark.parametrize("piece", ['\\"', '"', "[]", '{"":', "\\", "["])
def test_no_content_takes_long_to_be_refused(piece: str) -> None:
    """Seconds if each quote began another search to the end."""
    content = (piece * (MAX_BODY_BYTES // len(piece))).encode()
    started_s = time.process_time()
    with pytest.raises(BadJsonRpc):
        read_messages(content)
    assert time.process_time() - started_s < 1


@pytest.mark.parametrize(("count", "fits"), [(MAX_BATCH, True), (MAX_BATCH + 1, False)])
def test_a_batch_is_bounded(count: int, fits: bool) -> None:
    pings = [{"jsonrpc": "2.0", "id": at, "method": "ping"} for at in range(count)]
    content = json.dumps(pings).encode()
    if fits:
        messages, is_batch = read_messages(content)
        assert (len(messages), is_batch) == (count, True)
    else:
        with pytest.raises(BadJsonRpc):
            read_messages(content)


_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3),
    max_leaves=10,
)


@given(
    arguments=st.dictionaries(st.text(max_size=5), _values, max_size=4), name=st.text(min_size=1)
)
def test_what_is_read_is_what_json_says(arguments: dict[str, object], name: str) -> None:
    """For every call that is read at all, another strict parser reads the same."""
    value: dict[str, object] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    value["params"] = {"name": name, "arguments": arguments}
    message = read(json.dumps(value))
    assert message.name == name
    value["params"] = {"arguments": dict(reversed(arguments.items())), "name": name}
    assert read(json.dumps(value)).digest == message.digest


@given(st.binary(max_size=200))
def test_garbage_is_told_and_nothing_else(content: bytes) -> None:
    with pytest.raises(BadJsonRpc):
        read_messages(content)
