"""One line of the records as far as a report needs it (pure).

A log file can hold anything: lines cut off by a full disk, of another program on the same stream,
or written by somebody who wants the report to fail. What is no record is None; a field that is
missing or of another type counts as nothing.
"""

from math import isfinite
from typing import NamedTuple

import orjson

from proxy.model.clock import parse_timestamp

LONGEST_TEXT = 300
_HIGHEST = 1e15
_EARLIEST_S, _LATEST_S = 0.0, 4_102_444_800.0  # 1970 to 2100


class Entry(NamedTuple):
    """One call. Times in milliseconds; `at_s` is Unix time; texts are cut to 300 characters and
    as they were logged, so not safe to print."""

    at_s: float
    run_id: str
    tool: str
    code: str
    mode: str
    method: str
    place: str
    call_id: str
    status: int
    attempts: int
    total_ms: float
    sent_bytes: int
    received_bytes: int
    cost_usd: float
    tokens: int
    detail: str


def read_entry(line: bytes) -> Entry | None:
    """The record on this line, or None."""
    try:
        view = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(view, dict):
        return None
    at_s, code = _time_s(view.get("ts")), _text(view, "code")
    if at_s is None or not code:
        return None
    return Entry(
        at_s=at_s,
        run_id=_text(view, "run_id"),
        tool=_text(view, "tool"),
        code=code,
        mode=_text(view, "mode"),
        method=_text(view, "method"),
        place=(_text(view, "host") + _text(view, "path"))[:LONGEST_TEXT],
        call_id=_text(view, "call_id"),
        status=int(_number(view, "status")),
        attempts=int(_number(view, "attempts")),
        total_ms=_number(view, "total_ms"),
        sent_bytes=int(_number(view, "request_bytes")),
        received_bytes=int(_number(view, "response_bytes")),
        cost_usd=_number(view, "cost_usd"),
        tokens=int(_number(view, "tokens")),
        detail=_text(view, "detail"),
    )


def is_remainder(line: bytes) -> bool:
    """Is this what was left of a record that could not be formatted?"""
    return b'"format_error":true' in line


def _time_s(value: object) -> float | None:
    seconds = parse_timestamp(value) if isinstance(value, str) else None
    return seconds if seconds is not None and _EARLIEST_S <= seconds <= _LATEST_S else None


def _text(view: dict[str, object], name: str) -> str:
    value = view.get(name)
    return value[:LONGEST_TEXT] if isinstance(value, str) else ""


def _number(view: dict[str, object], name: str) -> float:
    """Zero for what no call can have used."""
    value = view.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0.0
    return value if isfinite(value) and 0 <= value <= _HIGHEST else 0.0
