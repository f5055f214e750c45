"""JSON-RPC messages, read strictly."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.mcp.message import (
    INVALID_REQUEST,
    MAX_BATCH,
    MAX_DEPTH,
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
    assert message == Message("tools/call", 1, "search", ({"q": "cats"}, None))
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


def test_utf_16_is_no_json() -> None:
    with pytest.raises(BadJsonRpc):
        read_messages((CALL % SEARCH).encode("utf-16"))


def test_brackets_in_strings_are_no_depth() -> None:
    assert read(CALL % ('{"name":"x","arguments":{"q":"\\"' + "[" * 500 + '"}}')).name == "x"


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
    assert (message.name, message.arguments) == (name, (arguments, None))


@given(st.binary(max_size=200))
def test_garbage_is_told_and_nothing_else(content: bytes) -> None:
    with pytest.raises(BadJsonRpc):
        read_messages(content)
