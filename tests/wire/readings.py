"""The same bytes, read three times: by us, by h11 and by llhttp (httptools).

A `Reading` is what a message says and where it ends. `Refused` is the answer of a reader that
will not take it. `compare_*` return a sentence about the first disagreement that matters, or None:
where we refuse, nothing is compared, for being stricter is safe; where we accept, the two others
must accept too and find the same method, target, fields, content and end. The exceptions:

- White space around the `;` and `=` of a chunk extension: RFC 9112 section 7.1.1 wants it read,
  both others refuse it. Extensions are dropped and chunks written anew, so nobody behind us sees
  it.
- A higher minor version: RFC 9110 section 6.2 reads it as 1.1, llhttp refuses it. We send 1.1.
- Framing fields among the trailers: both others hold them against the head, we drop all trailers.
- Methods llhttp does not know, since its list is closed: it is shown POST in their place.
- Content after a head with `Upgrade`: llhttp takes it for the new protocol. We never forward the
  upgrade of a request with content (`tests/wire/test_forward.py`), so for llhttp the head counts.
- An answer that has no content (HEAD, 1xx, 204, 304) is what it is whatever its framing fields
  say: they end here, so it is shown without them. httptools cannot be told of HEAD.
"""

from typing import Any, NamedTuple

import h11
import httptools

from proxy.model.errors import BadMessage
from proxy.wire.body import (
    ChunkedDecoder,
    Decoder,
    Ends,
    Framing,
    decoder_for,
    request_framing,
    response_framing,
)
from proxy.wire.forward import check_single_fields
from proxy.wire.head import (
    Field,
    find_head_end,
    parse_request_head,
    parse_response_head,
)
from proxy.wire.target import check_host_field, parse_absolute, parse_connect, parse_origin_form

_MAX_EVENT_BYTES = 1 << 20
# llhttp knows a closed list of methods; any other is shown to it as one of these.
_LLHTTP_METHODS = frozenset(
    (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT",
     b"PROPFIND")
)  # fmt: skip

_FRAMING_FIELDS = (b"content-length", b"transfer-encoding")

Fields = tuple[tuple[bytes, bytes], ...]


class Reading(NamedTuple):
    """`start`: (method, target) or (status,). `is_whole`: the message has ended."""

    start: tuple[bytes, ...]
    fields: Fields
    content: bytes
    is_whole: bool


class Refused(NamedTuple):
    """`why` is for the person who reads a failing test."""

    why: str


class Ours(NamedTuple):
    """Our reading, and what the comparison has to know of it."""

    reading: Reading
    ends: Ends
    head_bytes: int
    message_bytes: int  # meaningful where the message is whole
    is_excepted: bool  # by what stands in the lines between its chunks


# --- us -------------------------------------------------------------------------------------


def our_request(raw: bytes) -> Ours | Refused | None:
    """As the listener reads it; None while the head has not all come."""
    try:
        end = find_head_end(raw)
        if end < 0:
            return None
        head = parse_request_head(raw[:end])
        check_single_fields(head, frozenset())
        if head.minor == 1 or b"host" in head.named:
            check_host_field(head.value(b"host") or b"")
        if head.method == "CONNECT":
            parse_connect(head.target)
        elif head.target.startswith("/"):
            parse_origin_form(head.target, "http", "h.test", 80)
        else:
            parse_absolute(head.target, head.method)
        framing = request_framing(head)
        if head.method == "CONNECT" and framing.ends is not Ends.AT_ONCE:
            return Refused("CONNECT has no content.")
        return _ours((head.method.encode(), head.target.encode()), head.fields, framing, raw, end)
    except BadMessage as problem:
        return Refused(str(problem))


def our_response(raw: bytes, method: str) -> Ours | Refused | None:
    """As the upstream connection reads it; None while the head has not all come."""
    try:
        end = find_head_end(raw)
        if end < 0:
            return None
        head = parse_response_head(raw[:end])
        framing = response_framing(head, method)
        return _ours((b"%d" % head.status,), head.fields, framing, raw, end)
    except BadMessage as problem:
        return Refused(str(problem))


def _ours(
    start: tuple[bytes, ...], fields: list[Field], framing: Framing, raw: bytes, end: int
) -> Ours:
    content, used, is_whole = _decoded(decoder_for(framing), raw[end:])
    reading = Reading(start, _fields(fields), content, is_whole)
    is_excepted = framing.ends is Ends.BY_CHUNK and _is_excepted(raw[end:])
    return Ours(reading, framing.ends, end, end + used, is_excepted)


def _decoded(decoder: Decoder, data: bytes) -> tuple[bytes, int, bool]:
    if decoder.done:
        return b"", 0, True
    content, surplus = decoder.feed(data)
    return content, len(data) - len(surplus), decoder.done


def _fields(fields: list[Field]) -> Fields:
    return tuple(_field(name, line.partition(b":")[2]) for name, line in fields)


def _field(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """h11 gives transfer codings in lower case, so everybody does."""
    value = value.strip(b" \t")
    return name, value.lower() if name == b"transfer-encoding" else value


def _is_excepted(body: bytes) -> bool:
    decoder = _KeptLines()
    decoder.feed(body)
    has_blank = any(b";" in line and {32, 9} & set(line) for line in decoder.size_lines)
    names = {line.partition(b":")[0].lower() for line in decoder.trailer_lines}
    return has_blank or bool(names & set(_FRAMING_FIELDS))


class _KeptLines(ChunkedDecoder):
    """The decoder, remembering the lines it drops."""

    def __init__(self) -> None:
        super().__init__()
        self.size_lines: list[bytes] = []
        self.trailer_lines: list[bytes] = []

    def _take_size(self, line: bytes) -> None:
        self.size_lines.append(line)
        super()._take_size(line)

    def _take_trailer(self, line: bytes) -> None:
        self.trailer_lines.append(line)
        super()._take_trailer(line)


# --- h11 ------------------------------------------------------------------------------------


def h11_request(raw: bytes) -> Reading | Refused:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_EVENT_BYTES)
    return _h11(connection, raw, is_closed=False)


def h11_response(raw: bytes, method: str, *, is_closed: bool) -> Reading | Refused:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_EVENT_BYTES)
    # An upgrade is offered so that a 101 is an answer h11 has been told to expect.
    headers = [("Host", "h.test"), ("Connection", "upgrade"), ("Upgrade", "websocket")]
    connection.send(h11.Request(method=method, target="/", headers=headers))
    connection.send(h11.EndOfMessage())
    return _h11(connection, raw, is_closed=is_closed)


def _h11(connection: h11.Connection, raw: bytes, *, is_closed: bool) -> Reading | Refused:
    start: tuple[bytes, ...] = ()
    fields: Fields = ()
    content = b""
    is_whole = False
    try:
        connection.receive_data(raw)
        if is_closed:
            connection.receive_data(b"")
        while not is_whole:
            event = connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                break
            if isinstance(event, h11.Request):
                start, fields = (event.method, event.target), _pairs(event.headers)
            elif isinstance(event, h11.InformationalResponse):
                # One message is compared, and an interim answer is one.
                return Reading((b"%d" % event.status_code,), _pairs(event.headers), b"", True)
            elif isinstance(event, h11.Response):
                start, fields = (b"%d" % event.status_code,), _pairs(event.headers)
            elif isinstance(event, h11.Data):
                content += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                is_whole = True
    except h11.RemoteProtocolError as problem:
        return Refused(str(problem))
    return Reading(start, fields, content, is_whole)


def _pairs(headers: Any) -> Fields:
    return tuple(_field(bytes(name), bytes(value)) for name, value in headers)


# --- llhttp ---------------------------------------------------------------------------------


class _Events:
    """What llhttp calls back; it stops listening once the first message has ended."""

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.content = b""
        self.has_head = False
        self.is_whole = False

    def on_url(self, url: bytes) -> None:
        if not self.is_whole:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:  # trailers come here too
            self.fields.append(_field(name.lower(), value))

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, body: bytes) -> None:
        if not self.is_whole:
            self.content += body

    def on_message_complete(self) -> None:
        self.is_whole = True


def llhttp_request(raw: bytes) -> Reading | Refused:
    method, space, rest = raw.partition(b" ")
    shown = method if method in _LLHTTP_METHODS else b"POST"
    events = _Events()
    problem = _llhttp(httptools.HttpRequestParser(events), shown + space + rest)
    if problem is not None:
        return problem
    return Reading((method, events.url), tuple(events.fields), events.content, events.is_whole)


def llhttp_response(raw: bytes) -> Reading | Refused:
    events = _Events()
    parser = httptools.HttpResponseParser(events)
    problem = _llhttp(parser, raw)
    if problem is not None:
        return problem
    start = (b"%d" % parser.get_status_code(),)
    return Reading(start, tuple(events.fields), events.content, events.is_whole)


def _llhttp(parser: Any, raw: bytes) -> Refused | None:
    try:
        parser.feed_data(raw)
    except httptools.HttpParserUpgrade:
        return None  # its word for "and from here on it is not HTTP"
    except httptools.HttpParserError as problem:
        if "Pause on CONNECT/Upgrade" in str(problem):
            return None  # the same after a 101 that has no Upgrade field
        return Refused(f"{type(problem).__name__}: {problem}")
    return None


# --- the comparison -------------------------------------------------------------------------


def compare_request(raw: bytes) -> str | None:
    """A sentence about a disagreement over a request we accept, or None."""
    ours = our_request(raw)
    if ours is None or isinstance(ours, Refused) or ours.is_excepted:
        return None
    reading = ours.reading
    if reading.is_whole:
        raw = raw[: ours.message_bytes]
    disagreement = _differ("h11", reading, h11_request(raw)) or _ends_early(
        "h11", reading, h11_request(raw[:-1])
    )
    if disagreement or raw.partition(b"\r\n")[0][-1:] not in b"01":
        return disagreement
    if _is_upgrade(reading.fields):
        raw = raw[: ours.head_bytes]
        reading = reading._replace(content=b"", is_whole=True)
    return _differ("llhttp", reading, llhttp_request(raw)) or _ends_early(
        "llhttp", reading, llhttp_request(raw[:-1])
    )


def compare_response(raw: bytes, method: str = "GET") -> str | None:
    """The same for a response to `method`. `raw` is all there is before the connection closes."""
    ours = our_response(raw, method)
    if ours is None or isinstance(ours, Refused) or ours.is_excepted:
        return None
    reading, is_by_close = ours.reading, ours.ends is Ends.BY_CLOSE
    if reading.is_whole:
        raw = raw[: ours.message_bytes]
    if ours.ends is Ends.AT_ONCE:
        raw = _without_framing(raw)
        kept = tuple(field for field in reading.fields if field[0] not in _FRAMING_FIELDS)
        reading = reading._replace(fields=kept)
    whole = reading._replace(is_whole=True) if is_by_close else reading
    disagreement = _differ("h11", whole, h11_response(raw, method, is_closed=is_by_close))
    peer = llhttp_response(raw)
    if method == "HEAD" and isinstance(peer, Reading):
        peer = peer._replace(is_whole=True, content=b"")
    return disagreement or _differ("llhttp", reading, peer)


def _is_upgrade(fields: Fields) -> bool:
    options = [value.lower() for name, value in fields if name == b"connection"]
    has_option = any(b"upgrade" in value for value in options)
    return has_option and any(name == b"upgrade" for name, _ in fields)


def _without_framing(head: bytes) -> bytes:
    lines = head.split(b"\r\n")
    return b"\r\n".join(
        line for line in lines if line.partition(b":")[0].lower() not in _FRAMING_FIELDS
    )


def _ends_early(name: str, ours: Reading, shorter: Reading | Refused) -> str | None:
    """With its last byte missing, nobody may call a message whole."""
    if ours.is_whole and isinstance(shorter, Reading) and shorter.is_whole:
        return f"{name} sees the end before us"
    return None


def _differ(name: str, ours: Reading, peer: Reading | Refused) -> str | None:
    if isinstance(peer, Refused):
        if not ours.is_whole:
            return None  # it saw no need to wait for the rest
        return f"{name} refuses what we accept: {peer.why}"
    for what, mine, theirs in zip(Reading._fields, ours, peer, strict=True):
        if mine != theirs:
            return f"{name} has another {what}: {theirs!r}, and we {mine!r}"
    return None
