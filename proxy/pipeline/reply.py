"""A refusal or failure, said in the form the client's way in can show."""

from proxy.model.call import Caller, Mode
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.pipeline.exchange import Exchange
from proxy.pipeline.visit import Visit
from proxy.wire.problem import problem_body, problem_lines, status_line, status_of


def established(visit: Visit, left: bytes = b"") -> bytes:
    """The 200 to a CONNECT, which has no framing fields (RFC 9110 section 9.3.6). `left`: what the
    run's budget has left."""
    head = (
        "HTTP/1.1 200 Connection established\r\n"
        f"Toolbooth-Call-Id: {visit.record.call_id}\r\n"
        f"Toolbooth-Tool: {visit.record.tool}\r\n"
    ).encode()
    return head + (b"Toolbooth-Budget: %b\r\n\r\n" % left if left else b"\r\n")


def reply(
    exchange: Exchange, refusal: Refusal, *, mode: Mode, call_id: str, tool: str,
    caller: Caller | None,
) -> int:  # fmt: skip
    """Answer with `refusal`; returns the status the client gets, 0 if it gets none.

    On CONNECT the code and tool stand in the reason phrase, since clients show nothing else of a
    refused tunnel. An answer already under way is cut, visibly.
    """
    if exchange.has_started:
        exchange.cut()
        return 0
    if refusal.reason is Reason.CLIENT_GONE or exchange.is_gone:
        exchange.cut()
        return 0
    status = status_of(refusal)
    phrase = f"{refusal.reason} {tool}".strip() if mode is Mode.CONNECT else ""
    lines = problem_lines(refusal, call_id=call_id, tool=tool)
    lines.append(exchange.date_line())
    content = problem_body(refusal, call_id=call_id, tool=tool, caller=caller)
    exchange.respond(b"\r\n".join((status_line(status, phrase), *lines)), content)
    return status
