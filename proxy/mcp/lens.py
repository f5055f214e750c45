"""Answers of an MCP server as they pass: tools that may not be called are taken out of lists, and
it is known at any moment what an interrupted stream still owes its client (pure).

Nothing is rewritten but what changes: an untouched answer or event passes byte for byte. A list
that cannot be read does not pass at all.
"""

import json
from collections.abc import Callable

import orjson

from proxy.mcp.request import McpRequest
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.wire.head import ResponseHead
from proxy.wire.sse import Event, EventReader, EventTooLargeError

MAX_LISTING_BYTES = 4 * 1024 * 1024  # of one answer or event with a list of tools
# Arrays and objects in it, and members of them, texts that look like one included: reading holds
# up everybody else.
MAX_CONTAINERS = 100_000
MAX_TTL_MS = 30_000  # how long a client may keep a list, at most: kill switches change it

UNREADABLE = Refusal(
    Reason.UPSTREAM_INVALID,
    "The server's list of tools could not be read, so it was held back; tell the operator.",
)

MayList = Callable[[str], bool]


class UnreadableError(Exception):
    """An answer that has to be read cannot be."""


class JsonLens:
    """An `application/json` answer with a list of tools: held until it is whole."""

    keeps_content = False

    def __init__(
        self, request: McpRequest, may_list: MayList, on_unreadable: Callable[[], None]
    ) -> None:
        self._request = request
        self._may_list = may_list
        self._on_unreadable = on_unreadable
        self._held = bytearray()
        self._is_too_large = False
        self._is_over = False

    def feed(self, content: bytes) -> bytes:
        """See `ContentFilter`."""
        if not self._is_too_large:
            self._held += content
            if len(self._held) > MAX_LISTING_BYTES:
                self._held, self._is_too_large = bytearray(), True
        return b""

    def finish(self) -> bytes:
        """See `ContentFilter`."""
        self._is_over = True
        if not self._held and not self._is_too_large:
            return b""
        try:
            return without_tools(bytes(self._held), self._may_list)
        except UnreadableError:  # as nothing is, where it was too large to hold
            self._on_unreadable()
            return self._request.refusal_as_json(UNREADABLE) or b""

    def closing(self, refusal: Refusal) -> bytes | None:
        """What ends the answer early; None if it cannot be ended."""
        return None if self._is_over else self._request.refusal_as_json(refusal)


class EventLens:
    """A stream of events. `may_list` None: it lists no tools, and only what it owes is followed.

    What is held back is the event that has not ended, so that one of ours can come after it.
    """

    keeps_content = False

    def __init__(
        self, request: McpRequest, may_list: MayList | None, on_unreadable: Callable[[], None],
        *, is_encoded: bool = False,
    ) -> None:  # fmt: skip
        self._request = request
        self._may_list = may_list
        self._on_unreadable = on_unreadable
        self._is_encoded = is_encoded
        self._unanswered = request.unanswered
        self._reader = EventReader(MAX_LISTING_BYTES)
        self._ends_in_cr = False
        self._is_raw = False  # it holds an event too large to keep: what follows passes as it is
        self._is_over = False

    def feed(self, content: bytes) -> bytes:
        """See `ContentFilter`."""
        if self._is_over:
            return b""
        if self._is_raw:
            return content
        if self._is_encoded:
            return self._give_up()
        # The reader takes a CR for an end at once, and drops the LF that comes in another piece.
        lost = b"\n" if self._ends_in_cr and content[:1] == b"\n" else b""
        try:
            passed = lost + b"".join([self._passed(each) for each in self._reader.feed(content)])
        except EventTooLargeError:
            self._is_raw = self._may_list is None
            return lost + self._reader.held if self._is_raw else self._give_up()
        except UnreadableError:
            return self._give_up()
        self._ends_in_cr = passed.endswith(b"\r") and self._reader.is_empty
        return passed

    def finish(self) -> bytes:
        """See `ContentFilter`. An event that has not ended is none, and is dropped."""
        self._is_over = True
        return b""

    def closing(self, refusal: Refusal) -> bytes | None:
        """The events that end the stream early, none if nobody waits; None if it cannot be ended
        cleanly."""
        if self._is_over or self._is_raw:
            return None
        self._is_over = True
        return self._request.refusal_as_events(refusal, self._unanswered)

    def _give_up(self) -> bytes:
        tail = self.closing(UNREADABLE) or b""
        self._on_unreadable()
        return tail

    def _passed(self, event: Event) -> bytes:
        if not event.data:
            return event.raw
        self._note_answer(event.data)
        if self._may_list is None:
            return event.raw
        data = without_tools(event.data, self._may_list)
        return event.raw if data is event.data else event.with_data(data)

    def _note_answer(self, data: bytes) -> None:
        """An answer has come: its request waits no longer."""
        if not self._unanswered or _is_costly(data):
            return
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        for message in value if isinstance(value, list) else (value,):
            if isinstance(message, dict) and "method" not in message:
                answered = message.get("id")
                if type(answered) not in (str, int):
                    continue
                self._unanswered.discard((type(answered), answered))


def media_type(head: ResponseHead) -> str:
    """`json`, `events`, or empty for anything else."""
    media = (head.value(b"content-type") or b"").partition(b";")[0].strip().lower()
    return {b"application/json": "json", b"text/event-stream": "events"}.get(media, "")


def is_encoded(head: ResponseHead) -> bool:
    """Has the content a coding, though none was asked for?"""
    return (head.value(b"content-encoding") or b"identity").lower() != b"identity"


def without_tools(content: bytes, may_list: MayList) -> bytes:
    """The JSON-RPC messages in `content`, their lists of tools cut down to what `may_list` (by MCP
    tool name); the very same bytes where nothing changes. Raises `UnreadableError`."""
    if _is_costly(content):
        raise UnreadableError
    try:
        value = json.loads(content)  # unlike orjson it keeps integers of any size
        messages = value if isinstance(value, list) else [value]
        changes = [_shorten(message, may_list) for message in messages]
        if not any(changes):
            return content
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise UnreadableError from None


def _is_costly(content: bytes) -> bool:
    containers = content.count(b"[") + content.count(b"{")
    return containers > MAX_CONTAINERS or content.count(b":") > MAX_CONTAINERS


def _shorten(message: object, may_list: MayList) -> bool:
    """Cut the list in one message; True if something changed."""
    result = message.get("result") if isinstance(message, dict) else None
    if not isinstance(result, dict) or "tools" not in result:
        return False
    tools = result["tools"]
    if not isinstance(tools, list):
        raise UnreadableError
    result["tools"] = [tool for tool in tools if _is_listed(tool, may_list)]
    is_changed = len(result["tools"]) != len(tools)
    ttl_ms = result.get("ttlMs")
    if ttl_ms is not None and not (isinstance(ttl_ms, int) and 0 <= ttl_ms <= MAX_TTL_MS):
        result["ttlMs"] = MAX_TTL_MS
        is_changed = True
    if "cacheScope" in result and result["cacheScope"] != "private":
        result["cacheScope"] = "private"
        is_changed = True
    return is_changed


def _is_listed(tool: object, may_list: MayList) -> bool:
    name = tool.get("name") if isinstance(tool, dict) else None
    return isinstance(name, str) and may_list(name)
