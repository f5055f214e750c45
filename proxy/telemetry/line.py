"""One call record as one line of JSON (pure).

The order and names of the fields are a promise to whoever reads the log. Strings from outside go
through the redactor and become visible text; the finished line holds no control, separator or
direction character, so no value can start a second line or hide part of this one.
"""

from typing import Final

import orjson

from proxy.model.call import Caller
from proxy.model.clock import utc_timestamp
from proxy.model.reason import MEANINGS, Reason
from proxy.model.record import CallRecord, Capture
from proxy.model.remember import Memory
from proxy.telemetry.redact import Part, Redactor
from proxy.telemetry.visible import visible_json, visible_line

_MICROS_PER_USD: Final = 1_000_000
_MOST_REMEMBERED: Final = 1024  # prices
_OK: Final = Reason.OK  # an attribute of an enum costs more than a name
_FRACTIONS: Final = tuple(repr(n / 1000)[1:].encode() for n in range(1000))  # .0, .001, .002
_MILLISECONDS: Final = tuple(b".%03dZ" % n for n in range(1000))

_seconds: Final[Memory[int, bytes]] = Memory(8)  # a time of day, by its second
_prices: Final[Memory[int, bytes]] = Memory(_MOST_REMEMBERED)  # dollars, by their micros
_words: Final[Memory[str, bytes]] = Memory(8)  # JSON of what hardly ever changes


def record_view(
    record: CallRecord, redactor: Redactor, with_captures: bool = True
) -> dict[str, object]:
    """The record as it may be shown, in the order of the log line. `run_id` and
    `agent_id` are empty where the request was too malformed to tell; `detail` and `rule` stand
    where the call was not let through, `request` and `result` where captures are.
    """
    code = record.code
    view: dict[str, object] = {
        "ts": utc_timestamp(record.ts),
        "call_id": record.call_id,
        **_caller(record.caller, redactor)[0],
        **_place(record, redactor)[0],
        "path": redactor.path(record.path),
        "code": code,
        "stop_reason": code if MEANINGS[code].stops_run else None,
        "status": record.status,
        "attempts": record.attempts,
        "queue_ms": _thousandths(record.queue_ms) / 1000,
        "upstream_ms": _thousandths(record.upstream_ms) / 1000,
        "total_ms": _thousandths(record.total_ms) / 1000,
        "request_bytes": record.request_bytes,
        "response_bytes": record.response_bytes,
        "cost_usd": record.cost_micros / _MICROS_PER_USD,
        "tokens": record.tokens,
        "policy_version": record.policy_version,
        "sampled": record.sampled,
        "trace_id": visible_line(record.trace_id),
    }
    if code is not _OK:
        view |= {"detail": redactor.line(record.detail), "rule": visible_line(record.rule)}
    if with_captures and record.sampled:
        _add_captures(view, record, redactor)
    return view


def _caller(caller: Caller | None, redactor: Redactor) -> Part:
    """Who asked. The same agents ask again and again, so the redactor remembers, here and below."""
    part = redactor.callers.known.get(caller)
    if part is None:
        text = redactor.line
        view: dict[str, object] = {
            "run_id": text(caller.run_id) if caller else "",
            "agent_id": text(caller.agent_id) if caller else "",
        }
        part = (view, json_line(view)[1:-2])
        redactor.callers.keep(caller, part)
    return part


def _place(record: CallRecord, redactor: Redactor) -> Part:
    """For what, but for the path."""
    key = (record.tool, record.mode, record.method, record.scheme, record.host, record.port)
    part = redactor.places.known.get(key)
    if part is None:
        view: dict[str, object] = {
            "tool": visible_line(record.tool),
            "mode": record.mode,
            "method": visible_line(record.method),
            "scheme": visible_line(record.scheme),
            "host": redactor.line(record.host),
            "port": record.port,
        }
        part = (view, json_line(view)[1:-2])
        redactor.places.keep(key, part)
    return part


def _add_captures(view: dict[str, object], record: CallRecord, redactor: Redactor) -> None:
    if record.request is not None:
        view["request"] = _capture_view(record.request, redactor)
    if record.result is not None:
        view["result"] = _capture_view(record.result, redactor)


def _capture_view(capture: Capture, redactor: Redactor) -> dict[str, object]:
    content_type, content_encoding = "", []
    for name, value in capture.fields:
        lowered = name.lower()
        if lowered == b"content-type":
            content_type = value.decode("latin-1")
        elif lowered == b"content-encoding":
            content_encoding.append(value.decode("latin-1"))
    body = bytes(capture.body)
    coding = ", ".join(content_encoding)
    return {
        "headers": redactor.fields(capture.fields),
        "body": redactor.body(body, content_type, coding, capture.truncated),
        "truncated": capture.truncated,
    }


def json_line(view: object) -> bytes:
    """`view` as one line of JSON, newline at the end, the same value for a parser as before."""
    line = orjson.dumps(view, option=orjson.OPT_APPEND_NEWLINE)
    if line.isascii() and line.find(b"\x7f") < 0:  # `in` takes bytes for a number first
        return line
    return visible_json(line.decode("utf-8")).encode("utf-8")


def record_line(record: CallRecord, redactor: Redactor) -> bytes:
    """The log line of one call."""
    if record.code is _OK and not record.sampled:
        return _plain_line(record, redactor)
    return json_line(record_view(record, redactor))


def _plain_line(record: CallRecord, redactor: Redactor) -> bytes:
    """The line of nearly every call: let through, and without captures. `record_view` has the same
    in general, and tests hold the two together; formatting it is a third of what building and
    dumping that is."""
    second = int(record.ts)
    return (
        b'{"ts":"%b%b","call_id":%b,%b,%b,"path":%b,"code":"ok","stop_reason":null,'
        b'"status":%d,"attempts":%d,'
        b'"queue_ms":%b,"upstream_ms":%b,"total_ms":%b,"request_bytes":%d,"response_bytes":%d,'
        b'"cost_usd":%b,"tokens":%d,"policy_version":%b,"sampled":false,"trace_id":%b}\n'
    ) % (
        _second(second),
        _MILLISECONDS[int((record.ts - second) * 1000)],
        _quoted(record.call_id),
        _caller(record.caller, redactor)[1],
        _place(record, redactor)[1],
        _quoted(redactor.path(record.path)),
        record.status,
        record.attempts,
        _milliseconds(record.queue_ms),
        _milliseconds(record.upstream_ms),
        _milliseconds(record.total_ms),
        record.request_bytes,
        record.response_bytes,
        _price(record.cost_micros),
        record.tokens,
        _word(record.policy_version),
        _quoted(visible_line(record.trace_id)),
    )


def _quoted(text: str) -> bytes:
    """As JSON. Most are plain letters and digits, which mean themselves."""
    if not text:
        return b'""'
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return b'"%b"' % text.encode()
    return json_line(text)[:-1]


def _thousandths(ms: float) -> int:
    return int(ms * 1000.0 + 0.5) if ms > 0.0 else 0


def _milliseconds(ms: float) -> bytes:
    count = _thousandths(ms)
    whole = count // 1000
    return b"%d%b" % (whole, _FRACTIONS[count - whole * 1000])


def _second(second: int) -> bytes:
    text = _seconds.known.get(second)
    if text is None:
        text = utc_timestamp(second)[:-5].encode()
        _seconds.keep(second, text)
    return text


def _price(micros: int) -> bytes:
    text = _prices.known.get(micros)
    if text is None:
        text = json_line(micros / _MICROS_PER_USD)[:-1]
        _prices.keep(micros, text)
    return text


def _word(word: str) -> bytes:
    text = _words.known.get(word)
    if text is None:
        text = json_line(word)[:-1]
        _words.keep(word, text)
    return text


def minimal_line(record: CallRecord) -> bytes:
    """What is left to say when a record could not be formatted: only values that are ours, and
    nothing that could fail again."""
    return json_line(
        {"call_id": str(record.call_id), "code": str(record.code), "format_error": True}
    )
