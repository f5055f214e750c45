"""Reads JSON that others wrote and others will read too, without paying for what it may hold.

An answer and a request are read here by the way, and by their real reader elsewhere. So whatever
that one may take is taken: half a surrogate pair, a byte order mark, NaN, UTF-16. What parsing
costs is not bytes but objects and arrays, which are therefore counted before one is made: a few
kilobytes of a compressed answer are a million empty lists.
"""

import json

import orjson

MAX_CONTAINERS = 50_000  # objects and arrays of one document


class DocumentError(ValueError):
    """No JSON, or more of it than is read."""


class DocumentTooLargeError(DocumentError):
    """More of it than is read."""


def count_containers(text: bytes) -> int:
    """Objects and arrays in the text, at most: those in its strings are counted too."""
    return text.count(b"{") + text.count(b"[")


def read_document(text: bytes) -> object:
    """The parsed JSON. Raises `DocumentTooLargeError`, or `DocumentError` for what is none."""
    if count_containers(text) > MAX_CONTAINERS:
        raise DocumentTooLargeError("too many objects and arrays")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise DocumentError("no JSON") from problem
