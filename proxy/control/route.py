"""One route of the control API: what it takes and answers, said where it is handled.

The application is put together from these, and so is `/openapi.json`: a route cannot exist without
its description, or be described without existing.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from aiohttp import web

from proxy.control.access import JSON_TYPE
from proxy.control.shapes import Shape

Handler = Callable[[Any, web.Request], Awaitable[web.StreamResponse]]
_H = TypeVar("_H", bound=Handler)

_MARK = "control_route"


class Route(NamedTuple):
    """`path` with at most one `{parameter}`, which ends it and may hold slashes. `answer` is the
    shape of the 200 by its media type; `errors` the statuses that have a shape other than
    `Problem`. `reads`: it changes nothing, so the viewer's token will do whatever its method."""

    method: str
    path: str
    summary: str
    answer: Mapping[str, Shape]
    query: Mapping[str, Shape]
    headers: Mapping[str, Shape]
    body: Mapping[str, Shape]
    errors: Mapping[int, str]
    reads: bool
    handler: str = ""

    @property
    def pattern(self) -> str:
        """The path as the router wants it."""
        return self.path.replace("}", ":(?s:.+)}")

    @property
    def prefix(self) -> str:
        """The path in front of its parameter."""
        return self.path.partition("{")[0]


def route(
    method: str,
    path: str,
    summary: str,
    answer: Shape | Mapping[str, Shape],
    *,
    query: Mapping[str, Shape] | None = None,
    headers: Mapping[str, Shape] | None = None,
    body: Shape | Mapping[str, Shape] | None = None,
    errors: Mapping[int, str] | None = None,
    reads: bool | None = None,
) -> Callable[[_H], _H]:
    """Makes a method of a class of handlers the one for `method` and `path`. A bare shape is one
    of JSON; a mapping of media types is taken as it is."""
    described = Route(
        method, path, summary, _by_media_type(answer), query or {}, headers or {},
        _by_media_type(body) if body is not None else {}, errors or {},
        method == "GET" if reads is None else reads,
    )  # fmt: skip

    def mark(handler: _H) -> _H:
        setattr(handler, _MARK, described._replace(handler=handler.__name__))
        return handler

    return mark


def routes_of(*classes: type) -> list[Route]:
    """Every route of these classes, in the order they are written."""
    return [
        found
        for one in classes
        for member in vars(one).values()
        if isinstance(found := getattr(member, _MARK, None), Route)
    ]


def route_of(handler: object) -> Route | None:
    """The route of a handler; None for one that is no route of the API."""
    found = getattr(handler, _MARK, None)
    return found if isinstance(found, Route) else None


def _by_media_type(shape: Shape | Mapping[str, Shape]) -> Mapping[str, Shape]:
    return shape if all("/" in key for key in shape) else {JSON_TYPE: shape}  # type: ignore[return-value]
