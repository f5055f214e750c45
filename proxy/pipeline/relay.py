"""The answer on its way back: what the upstream said, marked with what we know about the call.

Small answers leave in one write. Larger ones flow from protocol to protocol as they come, with
no task woken for a chunk, paused while the client reads slowly and metered on the way.
"""

from typing import Final

from proxy.model.call import Mode
from proxy.model.record import Capture
from proxy.pipeline.attempt import let_go
from proxy.pipeline.content import CONTENT_BOUND, ContentFilter
from proxy.pipeline.upload import Upload
from proxy.pipeline.visit import Visit
from proxy.upstream.answer import Answer
from proxy.upstream.connection import UpstreamConnection
from proxy.wire.body import Ends
from proxy.wire.forward import content_length, relayed_head
from proxy.wire.head import ResponseHead
from proxy.wire.location import gateway_lines, names_place

_NOTHING: Final[frozenset[bytes]] = frozenset()
# Ours takes the place of the upstream's advice.
_DROPPED_BY_US: Final = frozenset((b"x-should-retry",))


async def relay(
    visit: Visit, connection: UpstreamConnection, answer: Answer, upload: Upload
) -> None:
    """Give the client the answer. Raises `UpstreamFailed` if it breaks off."""
    exchange, record = visit.exchange, visit.record
    head = answer.head
    record.status = head.status
    is_empty = visit.call.method == "HEAD" or head.status in (204, 304)
    lens = visit.filter_for(head) if visit.filter_for is not None else None
    if is_empty:
        lens = None
    text = _head(visit, head, lens)
    capture = record.result = visit.capture(head.fields) if record.sampled else None
    content = answer.content
    if content:
        record.response_bytes = len(content)
        visit.charge_bytes(len(content))
        if capture is not None:
            capture.add(content)
    if is_empty:
        length = content_length(head.fields) if head.status != 204 else None
        exchange.respond_without_content(b"%b\r\n%b" % (text, length) if length else text)
    elif not answer.is_whole:
        exchange.start(text, _length_of(answer, lens))
        await _stream(visit, connection, upload, bytes(content), capture, lens)
    elif lens is not None:
        exchange.respond(text, lens.feed(bytes(content)) + lens.finish())
    else:
        exchange.respond(text, content)
    if upload.is_under_way:
        await let_go(visit, connection, upload)
    else:
        visit.booth.pool.give_back(connection)


def _head(visit: Visit, head: ResponseHead, lens: ContentFilter | None) -> bytes:
    """The answer's head, framing aside: the upstream's, as far as it goes on, and our lines."""
    stops = _DROPPED_BY_US if visit.is_retried_out else _NOTHING
    if lens is not None and not lens.keeps_content:
        stops = stops | CONTENT_BOUND
    text = relayed_head(head, stops, visit.booth.via)
    if visit.call.mode is Mode.GATEWAY and names_place(head):
        # By the name the path was called with: the tools of an MCP server have rules of their own.
        prefix = f"/tools/{visit.live.rules[0].name}"
        origin, base = visit.call.target.origin, visit.rule.upstream_path
        text = b"\r\n".join(gateway_lines(text.split(b"\r\n"), origin, base, prefix))
    if b"date" not in head.named:
        text = b"%b\r\n%b" % (text, visit.exchange.date_line())
    return text + _our_lines(visit)


def _length_of(answer: Answer, lens: ContentFilter | None) -> int | None:
    """How long the content will be, where that can be known."""
    is_known = answer.framing.ends is Ends.BY_LENGTH and (lens is None or lens.keeps_content)
    return answer.framing.length if is_known else None


async def _stream(
    visit: Visit, connection: UpstreamConnection, upload: Upload, first: bytes,
    capture: Capture | None, lens: ContentFilter | None,
) -> None:  # fmt: skip
    exchange, record = visit.exchange, visit.record

    def write(content: bytes) -> None:
        if lens is not None:
            content = lens.feed(content)
        if content:
            exchange.write(content)

    def pass_on(content: bytes) -> None:
        if visit.live.stopped is not None:
            return  # a loop may read much before the stop is heard
        record.response_bytes += len(content)
        if capture is not None:
            capture.add(content)
        write(content)
        visit.charge_bytes(len(content))

    exchange.throttle(connection)
    try:
        if first:
            write(first)
        await connection.stream(pass_on)
        if lens is not None and (rest := lens.finish()):
            exchange.write(rest)
        exchange.finish()
    except BaseException as problem:
        connection.abort()
        await upload.stop()  # nobody will read what it would still send
        raise problem  # noqa: TRY201 - compiled, it is forgotten while this awaits
    finally:
        exchange.throttle(None)


def _our_lines(visit: Visit) -> bytes:
    """What the agent is told on every relayed answer; a CRLF before each line."""
    record, reservation = visit.record, visit.reservation
    text = b"\r\nToolbooth-Call-Id: %b\r\nToolbooth-Tool: %b\r\nToolbooth-Attempts: %d" % (
        record.call_id.encode(), record.tool.encode(), record.attempts,
    )  # fmt: skip
    now_s = visit.booth.clock.monotonic()
    left = reservation.left(now_s)
    if left:
        text = b"%b\r\nToolbooth-Budget: %b" % (text, left)
    warning = reservation.warning(now_s)
    if warning:
        text = b"%b\r\nToolbooth-Warning: %b" % (text, warning.encode())
    if visit.is_retried_out:
        # The client's SDK must not multiply our retries by its own.
        text += b"\r\nX-Should-Retry: false"
    return text
