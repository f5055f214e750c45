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

LONGEST_TTL_S = 366 * 86_400.0
MOST_CALLS = 1000
MOST_RUNS = 1000
_DEFAULT_LIMIT = 100

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


def read_switch_order(body: bytes) -> SwitchOrder:
    """`{"reason": str, "ttl_seconds"?: number}` and nothing else. 400 if it is not JSON, 422 if
    it is not that. (Whether the reason is good is the switches' own verdict.)"""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise failed(400, "invalid_json", "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise _invalid('The body must be an object: {"reason": "...", "ttl_seconds": 600}.')
    unknown = sorted(document.keys() - {"reason", "ttl_seconds"})
    if unknown:
        raise _invalid(f"Unknown key {unknown[0][:40]!a}; known are reason and ttl_seconds.")
    reason = document.get("reason")
    if not isinstance(reason, str):
        raise _invalid("`reason` is required: one sentence for the agent and the next operator.")
    return SwitchOrder(reason, _ttl_s(document))


def _ttl_s(document: Mapping[str, object]) -> float | None:
    if "ttl_seconds" not in document:
        return None
    ttl_s = document["ttl_seconds"]
    if isinstance(ttl_s, bool) or not isinstance(ttl_s, int | float) or not isfinite(ttl_s):
        raise _invalid("`ttl_seconds` must be a number; leave it out for no end.")
    if not 0 < ttl_s <= LONGEST_TTL_S:
        raise _invalid(f"`ttl_seconds` must be above 0 and at most {LONGEST_TTL_S:.0f} (366 days).")
    return float(ttl_s)


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


def read_run_query(query: Mapping[str, str]) -> int:
    """`limit`, how many runs to list."""
    _check_known(query, ("limit",))
    return _limit(query, MOST_RUNS)


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
