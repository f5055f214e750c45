"""Errors of the control port: RFC 9457 problem details.

Everything that goes wrong is told in this one shape, and nothing in it is a traceback: a stack
shows paths and values that whoever probes the port has no right to.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import orjson
from aiohttp import web

from proxy.wire.problem import PHRASES


class Problem(NamedTuple):
    """`code` is a word to compare, `detail` a sentence for a person. `headers` are added to the
    answer (`Allow`, `Retry-After`, `WWW-Authenticate`), `extra` to its body."""

    status: int
    code: str
    detail: str
    headers: tuple[tuple[str, str], ...] = ()
    extra: Mapping[str, object] = MappingProxyType({})


class ProblemError(Exception):
    """A handler cannot do what was asked; the edge of the application answers with `problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def failed(status: int, code: str, detail: str) -> ProblemError:
    """The exception for a problem without headers, ready to be raised."""
    return ProblemError(Problem(status, code, detail))


def problem_response(problem: Problem) -> web.Response:
    """`{type, title, status, detail, code}` as application/problem+json."""
    title = PHRASES.get(problem.status, "Error")
    body = {
        "type": f"urn:toolbooth:{problem.code}",
        "title": title,
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        **problem.extra,
    }
    return web.Response(
        status=problem.status,
        reason=title,
        body=orjson.dumps(body),
        headers=problem.headers,
        content_type="application/problem+json",
    )


def problem_of(error: web.HTTPException, path: str) -> Problem:
    """What aiohttp's own refusals (no such route, wrong method, body too large) are told as."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{path} does not take this method; it takes {allowed}."
        return Problem(405, "method_not_allowed", detail, (("Allow", allowed),))
    if isinstance(error, web.HTTPNotFound):
        return Problem(404, "not_found", f"There is nothing at {path}; the API lives under /v1.")
    return Problem(error.status, "request_refused", f"{path}: {error.reason}.")
