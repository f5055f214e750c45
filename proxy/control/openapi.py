"""The description of the control API (OpenAPI 3.1), written from its routes."""

from collections.abc import Iterable, Mapping

from proxy import __version__
from proxy.control.route import Route
from proxy.control.shapes import SHAPES, TEXT, Shape, named

_PROBLEM = "application/problem+json"


def openapi_document(routes: Iterable[Route]) -> dict[str, object]:
    """The document for `/openapi.json`. HEAD goes with GET and is not described."""
    paths: dict[str, dict[str, object]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Toolbooth control API",
            "version": __version__,
            "description": "How an operator looks at a running sidecar and switches things off.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": SHAPES,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, object]:
    operation: dict[str, object] = {
        "operationId": route.handler,
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_parameters("query", route.query),
                       *_parameters("header", route.headers)],
        "responses": {
            "200": {"description": "Done.", "content": _content(route.answer)},
            **{
                str(status): {
                    "description": "See `code`.",
                    "content": _content({_PROBLEM: named(shape)}),
                }
                for status, shape in route.errors.items()
            },
            "default": {
                "description": "Refused; `code` says why.",
                "content": _content({_PROBLEM: named("Problem")}),
            },
        },
    }  # fmt: skip
    if route.body:
        operation["requestBody"] = {"required": True, "content": _content(route.body)}
    return operation


def _path_parameters(route: Route) -> list[dict[str, object]]:
    name = route.path.partition("{")[2].rstrip("}")
    return [{"name": name, "in": "path", "required": True, "schema": TEXT}] if name else []


def _parameters(place: str, given: Mapping[str, Shape]) -> list[dict[str, object]]:
    return [
        {"name": name, "in": place, "required": False, "schema": shape}
        for name, shape in given.items()
    ]


def _content(shapes: Mapping[str, Shape]) -> dict[str, object]:
    return {media_type: {"schema": shape} for media_type, shape in shapes.items()}
