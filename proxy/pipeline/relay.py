"""The answer on its way back: what the upstream said, marked with what we know about the call.

Small answers leave in one write. Larger ones flow from protocol to protocol as they come, with
no task woken for a chunk, paused while the client reads slowly and metered on the way.
"""

from proxy.model.record import Capture
from proxy.pipeline.attempt import let_go
from proxy.pipeline.upload import Upload
from proxy.pipeline.visit import Visit
from proxy.upstream.connection import Answer, UpstreamConnection
from proxy.wire.body import Ends
from proxy.wire.forward import content_length, relayed_lines


async def relay(
    visit: Visit, connection: UpstreamConnection, answer: Answer, upload: Upload
) -> None:
    """Give the client the answer. Raises `UpstreamFailed` if it breaks off."""
    exchange, record = visit.exchange, visit.record
    head = answer.head
    record.status = head.status
    start = b"HTTP/1.1 %d %b" % (head.status, head.phrase)
    lines = relayed_lines(head, drop_should_retry=visit.is_retried_out)
    if b"date" not in head.named:
        lines.append(exchange.date_line())
    lines.append(visit.booth.via)
    lines += _our_lines(visit)
    capture = record.result = visit.capture(head.fields) if record.sampled else None
    content = answer.content
    if content:
        record.response_bytes = len(content)
        visit.charge_bytes(len(content))
        if capture is not None:
            capture.add(content)
    if visit.call.method == "HEAD" or head.status in (204, 304):
        length = content_length(head.fields) if head.status != 204 else None
        exchange.respond_without_content(start, [*lines, length] if length else lines)
    elif answer.is_whole:
        exchange.respond(start, lines, content)
    else:
        framing = answer.framing
        length_bytes = framing.length if framing.ends is Ends.BY_LENGTH else None
        exchange.start(start, lines, length_bytes)
        await _stream(visit, connection, upload, content, capture)
    await let_go(visit, connection, upload)


async def _stream(
    visit: Visit, connection: UpstreamConnection, upload: Upload, first: bytes,
    capture: Capture | None,
) -> None:  # fmt: skip
    exchange, record = visit.exchange, visit.record

    def pass_on(content: bytes) -> None:
        record.response_bytes += len(content)
        if capture is not None:
            capture.add(content)
        exchange.write(content)
        visit.charge_bytes(len(content))

    exchange.throttle(connection)
    try:
        if first:
            exchange.write(first)
        await connection.stream(pass_on)
        exchange.finish()
    except BaseException:
        connection.abort()
        await upload.stop()  # nobody will read what it would still send
        raise
    finally:
        exchange.throttle(None)


def _our_lines(visit: Visit) -> list[bytes]:
    """What the agent is told on every relayed answer."""
    record = visit.record
    reservation = visit.reservation
    lines = [
        b"Toolbooth-Call-Id: " + record.call_id.encode(),
        b"Toolbooth-Tool: " + record.tool.encode(),
        b"Toolbooth-Attempts: %d" % record.attempts,
    ]
    left = reservation.left()
    if left:
        lines.append(b"Toolbooth-Budget: " + left.encode())
    warning = reservation.warning()
    if warning:
        lines.append(b"Toolbooth-Warning: " + warning.encode())
    if visit.is_retried_out:
        # The client's SDK must not multiply our retries by its own.
        lines.append(b"X-Should-Retry: false")
    return lines
