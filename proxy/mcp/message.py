"""What a POST to an MCP server says: JSON-RPC messages, read strictly (pure).

What is judged here is read again by the server, with another parser. So whatever two parsers could
read in two ways is refused: a key that stands there twice, a key that differs from one that counts
in its case alone (Go's decoder takes it for the same), anything that is not plain RFC 8259.
"""

import json
import re
import unicodedata
from array import array
from hashlib import blake2b
from itertools import accumulate
from typing import Any, NamedTuple

import orjson

from proxy.model.errors import BadMessage

MAX_BODY_BYTES = 1024 * 1024  # of the content of one POST
MAX_BATCH = 50  # messages in one array
MAX_CONTAINERS = 10_000  # arrays and objects: they cost most to read and to hold
MAX_MEMBERS = 50_000  # of all objects together, for the same reason
MAX_DEPTH = 100  # levels of arrays and objects
_MAX_METHOD_CHARS = 256

PARSE_ERROR = -32700  # JSON-RPC 2.0 section 5.1
INVALID_REQUEST = -32600
HEADER_MISMATCH = -32020  # MCP 2026-07-28, Streamable HTTP

CALL = "tools/call"
# The params key that names what a method is about, and that `Mcp-Name` repeats (SEP-2243).
NAME_KEYS = {CALL: "name", "prompts/get": "name", "resources/read": "uri"}

LIST = "tools/list"
LISTEN = "subscriptions/listen"
PROTOCOL = frozenset(
    ("initialize", "ping", "server/discover", "logging/setLevel", LIST, LISTEN)
)  # fmt: skip
READING = frozenset(
    ("resources/list", "resources/read", "resources/templates/list", "resources/subscribe",
     "resources/unsubscribe", "prompts/list", "prompts/get", "completion/complete", "tasks/get",
     "tasks/list", "tasks/result")
)  # fmt: skip
_KNOWN = PROTOCOL | READING | {CALL}
_FOLDED = frozenset(method.casefold() for method in _KNOWN)

_TOP_KEYS = frozenset(("jsonrpc", "id", "method", "params", "result", "error"))
_PARAM_KEYS = frozenset(("name", "arguments", "uri", "_meta", "requeststate", "inputresponses"))
_SPELLING = {"requeststate": "requestState", "inputresponses": "inputResponses"}
# The last quote may be missing, so that no text can make the search begin again and again.
_STRING = re.compile(rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+"?')
_OTHERS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = bytes.maketrans(b"[]{}", b"\x01\xff\x01\xff")  # up and, as a signed byte, down


class BadJsonRpc(BadMessage):
    """Content that is not the JSON-RPC it should be. `rpc_code` is the error's code there."""

    def __init__(self, problem: str, rpc_code: int = INVALID_REQUEST, *, status: int = 0) -> None:
        super().__init__(problem, status=status)
        self.rpc_code = rpc_code


class Message(NamedTuple):
    """One message of a client. `method` is empty for a response. `id` None: a notification, or a
    response to nothing. `name`: what a method of `NAME_KEYS` is about. `digest`: what is equal for
    equal calls of a tool, whatever the order of keys; rather than the arguments themselves, which
    can take a hundred times their size. `trace`: the traceparent and tracestate of `_meta`
    (SEP-414), as they stand there."""

    method: str
    id: str | int | None
    name: str | None = None
    digest: bytes = b""
    trace: tuple[str, str] | None = None

    @property
    def is_call(self) -> bool:
        """Does it call a tool?"""
        return self.method == CALL

    @property
    def wants_answer(self) -> bool:
        """Is it a request, as opposed to a notification or a response?"""
        return bool(self.method) and self.id is not None


def read_messages(content: bytes) -> tuple[tuple[Message, ...], bool]:
    """The messages of one POST, and whether they came as a batch. Raises `BadJsonRpc`."""
    value = _read_json(content)
    if not isinstance(value, list):
        return (_read_message(value),), False
    if not 1 <= len(value) <= MAX_BATCH:
        raise BadJsonRpc(f"A batch has 1 to {MAX_BATCH} messages.")
    messages = tuple(_read_message(entry) for entry in value)
    ids = [message.id for message in messages if message.wants_answer]
    if len({(type(one), one) for one in ids}) != len(ids):
        raise BadJsonRpc("Two requests of the batch have the same id.")
    return messages, True


def _read_json(content: bytes) -> object:
    bare: bytes = _STRING.sub(b"", content)
    brackets: bytes = bare.translate(_STEPS, _OTHERS)
    if len(brackets) > 2 * MAX_CONTAINERS:
        raise BadJsonRpc(f"The JSON has more than {MAX_CONTAINERS} arrays and objects.")
    if bare.count(b":") > MAX_MEMBERS:
        raise BadJsonRpc(f"The objects of the JSON have more than {MAX_MEMBERS} members.")
    try:
        value: object = orjson.loads(content)  # strict, UTF-8 only, and bounded in depth
    except orjson.JSONDecodeError:
        raise BadJsonRpc("The content is not one JSON value in UTF-8.", PARSE_ERROR) from None
    if _depth(brackets) > MAX_DEPTH:
        raise BadJsonRpc(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    # orjson keeps the last of equal keys and does not say so. Numbers play no part here.
    json.loads(content, object_pairs_hook=_check_pairs, parse_int=bool, parse_float=bool)
    return value


def _depth(brackets: bytes) -> int:
    """Levels of nesting of valid JSON, from the steps up and down in it."""
    return max(accumulate(array("b", brackets)), default=0)


def _check_pairs(pairs: list[tuple[str, object]]) -> None:
    if len({key for key, _ in pairs}) != len(pairs):
        raise BadJsonRpc("A key stands twice in one object.")


def _check_spelling(given: dict[str, Any], known: frozenset[str]) -> None:
    """No key may differ from a known one by case alone, in the widest sense: `casefold` takes the
    Kelvin sign for a k, as Go does."""
    for key in given:
        folded = key.casefold()
        if folded in known and key != _SPELLING.get(folded, folded):
            raise BadJsonRpc("A key is written in another case than it should be.")


def _check_method(method: str) -> None:
    """It may be unknown, but not a known one to a server that reads carelessly: in another case,
    with blanks, with what cannot be seen, in full-width letters."""
    if method in _KNOWN:
        return
    bare = "".join(each for each in method if each.isprintable() and not each.isspace())
    if unicodedata.normalize("NFKC", bare).casefold() in _FOLDED:
        raise BadJsonRpc("A method is written otherwise than it should be.")


def _read_message(value: object) -> Message:
    if not isinstance(value, dict):
        raise BadJsonRpc("A message is a JSON object.")
    _check_spelling(value, _TOP_KEYS)
    if value.get("jsonrpc") != "2.0":
        raise BadJsonRpc('A message says `"jsonrpc": "2.0"`.')
    has_id, given_id = "id" in value, value.get("id")
    is_id = type(given_id) in (str, int)
    if "method" not in value:
        if not has_id or ("result" in value) is ("error" in value):
            raise BadJsonRpc("The message is neither a request nor a response.")
        if not is_id and not (given_id is None and "error" in value):
            raise BadJsonRpc("An id is a string or an integer.")
        return Message("", given_id)
    method = value["method"]
    if not isinstance(method, str) or not 0 < len(method) <= _MAX_METHOD_CHARS:
        raise BadJsonRpc("A method is a name.")
    _check_method(method)
    if has_id and not is_id:
        raise BadJsonRpc("An id is a string or an integer.")
    if "result" in value or "error" in value:
        raise BadJsonRpc("The message is a request and a response at once.")
    return _with_params(method, given_id, value.get("params"))


def _with_params(method: str, given_id: str | int | None, params: object) -> Message:
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise BadJsonRpc("The params of a message are an object.")
    _check_spelling(params, _PARAM_KEYS)
    key = NAME_KEYS.get(method)
    trace = _trace_of(params.get("_meta"))
    if key is None:
        return Message(method, given_id, trace=trace)
    name = params.get(key)
    if method != CALL:
        return Message(method, given_id, name if isinstance(name, str) else None, trace=trace)
    arguments = params.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict | None):
        raise BadJsonRpc("A call of a tool has a name, and its arguments are an object.")
    continued = params.get("inputResponses")  # the same call, gone on with: not a loop
    said = orjson.dumps((arguments, continued), option=orjson.OPT_SORT_KEYS)
    return Message(method, given_id, name, blake2b(said, digest_size=16).digest(), trace)


def _trace_of(meta: object) -> tuple[str, str] | None:
    parent = meta.get("traceparent") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(parent, str):
        return None
    state = meta.get("tracestate")
    return parent, state if isinstance(state, str) else ""
