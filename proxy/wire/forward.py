"""What of a head goes on to the next hop, and what stops here (RFC 9110 section 7.6).

Three kinds of field stop: those that describe one connection (hop-by-hop, and whatever
`Connection` nominates), those that were meant for us (credentials of the proxy, the run's
identity), and those that only we may say (`Toolbooth-*`, and our member of `Proxy-Status`).
Framing fields are written anew from what was decoded, so a forwarded length is always true.

A name spelt with `_` for `-` is the same name to CGI, WSGI and their like, so `Content_Length` or
`X_Agent_Run_Id` stop where `Content-Length` and `X-Agent-Run-Id` do.
"""

from typing import Final

from proxy.model.call import Origin
from proxy.model.errors import BadMessage
from proxy.model.remember import Memory
from proxy.wire.body import Ends, Framing, is_length
from proxy.wire.head import (
    Field,
    Head,
    RequestHead,
    ResponseHead,
    Section,
    field_values,
    list_tokens,
)

_HOP_BY_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
     b"upgrade", b"http2-settings")
)  # fmt: skip
# `Proxy` is the httpoxy attack on CGI-like origins; no client means it.
_REQUEST_STOPS: Final = _HOP_BY_HOP | {b"host", b"content-length", b"proxy-authorization", b"proxy"}
_RESPONSE_STOPS: Final = _HOP_BY_HOP | {
    b"content-length", b"proxy-authenticate", b"proxy-authentication-info",
}  # fmt: skip
BAGGAGE_RUN: Final = b"agent.run_id"  # the W3C baggage member that may carry the run id

# Two of these would let two readers pick two values (RFC 9110 section 5.3 allows lists only).
_SINGLE: Final = frozenset(
    (b"host", b"content-length", b"proxy-authorization", b"authorization", b"max-forwards",
     b"content-type", b"expect")
)  # fmt: skip


_NOTHING: Final[frozenset[bytes]] = frozenset()
_MAX_REMEMBERED: Final = 64  # values of Connection
_MAX_REMEMBERED_BYTES: Final = 64


def check_single_fields(head: RequestHead | Section, ours: frozenset[bytes]) -> None:
    """Raise where a field that has one value comes twice; `ours` adds the identity headers."""
    if len(head.named) == len(head.fields):
        return
    seen: set[bytes] = set()
    for name, _ in head.fields:
        if name in seen and (name in _SINGLE or name in ours):
            raise BadMessage(f"The field {name.decode()} stands there twice.")
        seen.add(name)


def nominated(head: Head) -> frozenset[bytes]:
    """The field names that `Connection` makes hop-by-hop (RFC 9110 section 7.6.1)."""
    return _options(head.section) if b"connection" in head.named else _NOTHING


def _options(section: Section) -> frozenset[bytes]:
    options = section.options
    if options is None:
        options = section.options = _read_options(field_values(section, b"connection"))
    return options


_connections: Final[Memory[bytes, frozenset[bytes]]] = Memory(_MAX_REMEMBERED)


def _read_options(values: list[bytes]) -> frozenset[bytes]:
    """Nearly all say `keep-alive` or `close`."""
    if len(values) != 1 or len(values[0]) > _MAX_REMEMBERED_BYTES:
        return frozenset(list_tokens(values))
    known = _connections.known.get(values[0])
    if known is None:
        known = frozenset(list_tokens(values))
        _connections.keep(values[0], known)
    return known


def via_of(minor: int, via: bytes) -> bytes:
    """Our Via line for a message that came in HTTP/1.`minor` (RFC 9110 section 7.6.3: the
    received protocol); `via` says 1.1."""
    return via if minor else via.replace(b" 1.1 ", b" 1.0 ", 1)


def wants_websocket(head: RequestHead, options: frozenset[bytes]) -> bool:
    """The one upgrade that is passed on; any other is ignored, as RFC 9110 section 7.8 allows.

    Never that of a request with content: some origins take what follows such a head for the new
    protocol, and when they decline, for the next request.
    """
    return (
        b"upgrade" in options
        and head.minor == 1
        and head.method == "GET"
        and b"content-length" not in head.named
        and b"transfer-encoding" not in head.named
        and list_tokens(field_values(head, b"upgrade")) == [b"websocket"]
    )


class Outgoing:
    """The parts of a request head that stay the same over its attempts.

    `identity`: header names that told us who calls, lower case. `via`: our Via line. `replace`:
    lines that take the place of the client's own of that name (trace context, credentials).
    """

    __slots__ = ("_after", "_before", "upgrade")

    def __init__(
        self,
        head: RequestHead,
        *,
        origin: Origin,
        path: str,
        identity: frozenset[bytes],
        via: bytes,
        replace: dict[bytes, bytes],
        keep_upgrade: bool = True,
    ) -> None:
        if replace:
            options = nominated(head)
            lines = _kept_lines(head.section, identity | frozenset(replace), options)
            lines.extend(line for line in replace.values() if line)
            lines.append(via)
            after = b"\r\n".join(lines)
        else:
            after, options = _unchanged(head.section, identity, via), nominated(head)
        self.upgrade = keep_upgrade and wants_websocket(head, options)
        if self.upgrade:
            after += b"\r\nConnection: Upgrade\r\nUpgrade: websocket"
        self._before = _first_lines(head, origin, path)
        self._after = after

    def head(self, framing: Framing, *, drop_expect: bool = False, trace: bytes = b"") -> bytes:
        """The whole head, empty line included. `trace`: this attempt's traceparent line."""
        after = self._after
        if drop_expect:
            after = b"\r\n".join(
                line for line in after.split(b"\r\n") if line[:7].lower() != b"expect:"
            )
        if framing.ends is Ends.AT_ONCE:
            length = b""
        elif framing.ends is Ends.BY_CHUNK:
            length = b"\r\nTransfer-Encoding: chunked"
        else:
            length = b"\r\nContent-Length: %d" % framing.length
        if trace:
            after = b"%b\r\n%b" % (after, trace)
        return b"%b%b%b\r\n\r\n" % (self._before, after, length)


def _first_lines(head: RequestHead, origin: Origin, path: str) -> bytes:
    known = head.onward
    if known is not None and known[0] is origin and known[1] is path:
        return known[2]
    lines = f"{head.method} {path} HTTP/1.1\r\nHost: {origin.authority}\r\n".encode()
    head.onward = (origin, path, lines)
    return lines


def _unchanged(section: Section, identity: frozenset[bytes], via: bytes) -> bytes:
    """The lines that go on where none of them is replaced, ours included."""
    known = section.onward
    if known is not None and known[0] is identity and known[1] is via:
        return known[2]
    lines = b"\r\n".join([*_kept_lines(section, identity, _options(section)), via])
    section.onward = (identity, via, lines)
    return lines


def _kept_lines(section: Section, ours: frozenset[bytes], options: frozenset[bytes]) -> list[bytes]:
    """Those that are neither for us nor for this connection only."""
    lines: list[bytes] = []
    for name, line in section.fields:
        if name in _REQUEST_STOPS or name in ours or name in options:
            continue
        if name.find(b"_") >= 0:  # `in` takes bytes for a number first
            spelt = name.replace(b"_", b"-")
            if spelt in _REQUEST_STOPS or spelt in ours or spelt in options:
                continue
        lines.append(line)
    return lines


def relayed_head(head: ResponseHead, also_drop: frozenset[bytes], via: bytes) -> bytes:
    """An upstream's answer as the client gets it: the status line, `relayed_lines` and our Via
    line, joined."""
    known = head.onward
    if known is not None and known[0] is also_drop and known[1] is via:
        return known[2]
    start = b"HTTP/1.1 %d %b" % (head.status, head.phrase)
    via_line = via_of(head.minor, via)
    text = b"\r\n".join((start, *relayed_lines(head, also_drop=also_drop), via_line))
    head.onward = (also_drop, via, text)
    return text


def relayed_lines(head: ResponseHead, *, also_drop: frozenset[bytes] = _NOTHING) -> list[bytes]:
    """The lines of an upstream's answer that the client gets, framing aside. `also_drop`: names
    of fields that do not hold any more, or that ours take the place of."""
    section = head.section
    stops = _RESPONSE_STOPS | also_drop | _options(section)
    return [
        line
        for name, line in section.fields
        if name not in stops
        and name[:10] != b"toolbooth-"
        # only we may say `toolbooth` in it
        and not (name == b"proxy-status" and b"toolbooth" in line.lower())
    ]


def content_length(fields: list[Field]) -> bytes | None:
    """The Content-Length line as received; an answer to HEAD keeps it though no content follows.
    None where there is not exactly one, or it is no number (RFC 9110 section 8.6)."""
    lines = [line for name, line in fields if name == b"content-length"]
    if len(lines) != 1 or not is_length(lines[0].partition(b":")[2].strip(b" \t")):
        return None
    return lines[0]


def baggage_without_run(head: RequestHead) -> bytes | None:
    """The baggage line to forward instead, empty when nothing is left; None: leave it alone."""
    if b"baggage" not in head.named:
        return None
    members = [
        member.strip()
        for value in field_values(head, b"baggage")
        for member in value.split(b",")
        if member.strip()
    ]
    kept = [m for m in members if m.partition(b"=")[0].strip() != BAGGAGE_RUN]
    if len(kept) == len(members):
        return None
    return b"baggage: " + b",".join(kept) if kept else b""


def hops_left(head: RequestHead) -> int | None:
    """Max-Forwards of a TRACE or OPTIONS (RFC 9110 section 7.6.2); None: not there, or another
    method, where it means nothing."""
    if b"max-forwards" not in head.named or head.method not in ("TRACE", "OPTIONS"):
        return None
    value = head.value(b"max-forwards") or b""
    if not value.isdigit() or len(value) > 9:
        raise BadMessage("Max-Forwards is not a number.")
    return int(value)
