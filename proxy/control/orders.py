"""What an operator asks for, decoded strictly.

A misspelt key in an emergency (`ttl_second`) must be an error and not a switch that never ends.
Pure: bytes and strings in, values or `ProblemError` out.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from typing import NamedTuple
from urllib.parse import unquote

import orjson

from proxy.control.problem import ProblemError, failed
from proxy.model.reason import Reason
from proxy.telemetry.spotlight import LONGEST_S

LONGEST_TTL_S = 366 * 86_400.0
LONGEST_CAPTURE_BYTES = 1024 * 1024
MOST_CALLS = 1000
MOST_RUNS = 1000
RUN_ORDERS = ("last", "spend", "refusals")
_DEFAULT_LIMIT = 100

_LONGEST_TEXT = 8192
_LONGEST_NAME = 300  # of a tool or a run
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")  # RFC 9110 section 5.6.2
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class SwitchOrder(NamedTuple):
    """Why, and for how long; `ttl_s` None: until released."""

    reason: str
    ttl_s: float | None


class CallQuery(NamedTuple):
    """Which of the recent calls; None: any."""

    tool: str | None
    code: Reason | None
    run: str | None
    limit: int


class RunQuery(NamedTuple):
    """How many runs, and which first."""

    limit: int
    sort: str


class ExplainOrder(NamedTuple):
    """Which call is asked about."""

    method: str
    url: str
    run_id: str | None


class LookOrder(NamedTuple):
    """How much more to show, of what (`all`, `tool:NAME` or `run:ID`), and for how long."""

    result_sample_rate: float | None
    max_result_bytes: int | None
    scope: str
    ttl_s: float


class Span(NamedTuple):
    """The numbers that may be given; `is_above`: `least` itself may not."""

    is_whole: bool
    least: float
    most: float
    is_above: bool = False


# The limits of a run by their name in a request; the ranges are those of the policy file.
LIMIT_RANGES: Mapping[str, Span] = {
    "max_steps": Span(True, 0, 10**15),
    "max_tool_calls": Span(True, 0, 10**15),
    "max_seconds": Span(False, 0, LONGEST_TTL_S, is_above=True),
    "max_spend_usd": Span(False, 0, 10**9),
    "max_tokens": Span(True, 0, 10**15),
    "max_bytes": Span(True, 0, 10**15),
}
_RATE = Span(False, 0, 1)
_CAPTURE_BYTES = Span(True, 0, LONGEST_CAPTURE_BYTES)
_TTL_S = Span(False, 0, LONGEST_TTL_S, is_above=True)
_LOOK_S = Span(False, 0, LONGEST_S, is_above=True)


def read_switch_order(body: bytes) -> SwitchOrder:
    """`{"reason": str, "ttl_seconds"?: number}` and nothing else. 400 if it is not JSON, 422 if
    it is not that. (Whether the reason is good is the switches' own verdict.)"""
    document = _object(body, ("reason", "ttl_seconds"))
    reason = document.get("reason")
    if not isinstance(reason, str):
        raise _invalid("`reason` is required: one sentence for the agent and the next operator.")
    return SwitchOrder(reason, _number(document, "ttl_seconds", _TTL_S))


def read_limit_order(body: bytes) -> dict[str, int | float | None]:
    """New limits of a run by the name of their `BudgetRule` field, money in micros; None: the
    policy's again."""
    document = _object(body, tuple(LIMIT_RANGES))
    if not document:
        raise _invalid(f"Give at least one limit: {', '.join(LIMIT_RANGES)}.")
    changes: dict[str, int | float | None] = {}
    for name in document:
        value = None if document[name] is None else _number(document, name, LIMIT_RANGES[name])
        if name == "max_spend_usd":
            name, value = "max_spend_micros", None if value is None else round(value * 1_000_000)
        changes[name] = value
    return changes


def read_look_order(body: bytes) -> LookOrder:
    """`{"result_sample_rate"?, "max_result_bytes"?, "tool"? or "run"?, "ttl_seconds"}`."""
    known = ("result_sample_rate", "max_result_bytes", "tool", "run", "ttl_seconds")
    document = _object(body, known)
    ttl_s = _number(document, "ttl_seconds", _LOOK_S)
    if ttl_s is None:
        raise _invalid(f"`ttl_seconds` is required, at most {LONGEST_S:.0f}.")
    rate = _number(document, "result_sample_rate", _RATE)
    size = _number(document, "max_result_bytes", _CAPTURE_BYTES)
    if rate is None and size is None:
        raise _invalid("Give `result_sample_rate`, `max_result_bytes` or both.")
    tool, run = (_text(document, name, _LONGEST_NAME) for name in ("tool", "run"))
    if tool is not None and run is not None:
        raise _invalid("Give `tool` or `run`, not both.")
    scope = f"tool:{tool}" if tool is not None else "all" if run is None else f"run:{run}"
    return LookOrder(rate, None if size is None else int(size), scope, ttl_s)


def read_explain_order(body: bytes) -> ExplainOrder:
    """`{"method": str, "url": str, "run_id"?: str}`."""
    document = _object(body, ("method", "url", "run_id"))
    method, url = _text(document, "method"), _text(document, "url")
    if method is None or url is None:
        raise _invalid("`method` and `url` are required.")
    if not _METHOD.fullmatch(method):
        raise _invalid("`method` must be the name of an HTTP method.")
    return ExplainOrder(method.upper(), url, _text(document, "run_id"))


def read_flag(query: Mapping[str, str], name: str) -> bool:
    """`name=1`, and no other parameter."""
    _check_known(query, (name,))
    text = query.get(name, "0")
    if text not in ("0", "1"):
        raise _invalid(f"`{name}` must be 1 or 0.")
    return text == "1"


def _object(body: bytes, known: tuple[str, ...]) -> dict[str, object]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise failed(400, "invalid_json", "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise _invalid(f"The body must be an object with {', '.join(known)}.")
    unknown = sorted(document.keys() - set(known))
    if unknown:
        raise _invalid(f"Unknown key {unknown[0][:40]!a}; known are {', '.join(known)}.")
    return document


def _number(document: Mapping[str, object], name: str, span: Span) -> int | float | None:
    """The number, or None where the key is left out. Null is no number: it could be meant as any
    of no limit, none at all, and the default."""
    if name not in document:
        return None
    value = document[name]
    if isinstance(value, float) and span.is_whole and value.is_integer():
        value = int(value)  # JSON has one kind of number: 5.0 is 5
    if isinstance(value, bool) or not isinstance(value, int if span.is_whole else int | float):
        raise _invalid(f"`{name}` must be a {'whole ' if span.is_whole else ''}number.")
    if (
        not isfinite(value)
        or not span.least <= value <= span.most
        or (span.is_above and value == span.least)
    ):
        least = f"above {span.least:g}" if span.is_above else f"at least {span.least:g}"
        raise _invalid(f"`{name}` must be {least} and at most {span.most:.0f}.")
    return value if span.is_whole else float(value)


def _text(document: Mapping[str, object], name: str, longest: int = _LONGEST_TEXT) -> str | None:
    if name not in document:
        return None
    value = document[name]
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise _invalid(f"`{name}` must be text of 1 to {longest} characters.")
    return value


def read_name(raw_path: str, prefix: str) -> str:
    """The last part of a raw path, percent-decoded once. It may hold anything an id may hold,
    slashes included, so it is everything after `prefix`."""
    path = raw_path.partition("?")[0]
    name = path.removeprefix(prefix)
    if name == path or not name:
        raise failed(404, "not_found", "There is nothing at this path.")
    decoded = unquote(name, errors="replace")
    if _BROKEN_ESCAPE.search(name) or "\ufffd" in decoded:
        raise _invalid("The name in the path is not percent-encoded UTF-8.")
    return decoded


def read_call_query(query: Mapping[str, str]) -> CallQuery:
    """`tool`, `code`, `run` and `limit`; anything else is an error, since a misspelt filter would
    filter nothing."""
    _check_known(query, ("tool", "code", "run", "limit"))
    code = query.get("code")
    if code is not None and code not in list(Reason):
        raise _invalid(
            f"`code` is not an outcome code{suggestion(code, [str(r) for r in Reason])}."
        )
    return CallQuery(
        query.get("tool"),
        None if code is None else Reason(code),
        query.get("run"),
        _limit(query, MOST_CALLS),
    )


def read_run_query(query: Mapping[str, str]) -> RunQuery:
    """`limit`, how many runs to list, and `sort`, which first."""
    _check_known(query, ("limit", "sort"))
    sort = query.get("sort", RUN_ORDERS[0])
    if sort not in RUN_ORDERS:
        raise _invalid(f"`sort` must be one of {', '.join(RUN_ORDERS)}.")
    return RunQuery(_limit(query, MOST_RUNS), sort)


def _check_known(query: Mapping[str, str], known: tuple[str, ...]) -> None:
    for name in query:
        if name not in known:
            raise _invalid(f"Unknown parameter {name[:40]!a}; known are {', '.join(known)}.")


def _limit(query: Mapping[str, str], most: int) -> int:
    text = query.get("limit")
    if text is None:
        return _DEFAULT_LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise _invalid(f"`limit` must be a number from 1 to {most}.")
    return min(int(text), most)


def suggestion(name: str, known: list[str]) -> str:
    """` (did you mean a, b?)` or nothing."""
    # Cut: comparing costs the product of the lengths, and the name comes from outside.
    close = get_close_matches(name[:100], known, n=3, cutoff=0.6)
    return f" (did you mean {', '.join(close)}?)" if close else ""


def _invalid(detail: str) -> ProblemError:
    return failed(422, "invalid_request", detail)
