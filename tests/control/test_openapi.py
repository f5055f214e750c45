"""The description is of the API that is there, which answers requests made from it as it says."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from proxy.control.api import ROUTES, control_app
from proxy.control.openapi import openapi_document
from proxy.control.route import Route
from proxy.control.shapes import SHAPES
from tests.control.desk import POLICY, Desk, open_access
from tests.control.json_schema import ANYTHING, fitting, misfits

_DOCUMENT: Any = openapi_document(ROUTES)
_OUTSIDE = ("/openapi.json", "/", "/console/")


def test_every_route_is_described_and_every_description_has_its_route() -> None:
    app = control_app(Desk().operator, open_access())
    mounted = {
        (route.method, (route.resource.canonical if route.resource else ""))
        for route in app.router.routes()
        if route.method != "HEAD"
    }
    described = {
        (method.upper(), path)
        for path, operations in _DOCUMENT["paths"].items()
        for method in operations
    }
    served = {(method, path) for method, path in mounted if not _is_outside(path)}
    assert served == described
    assert len(described) == len(ROUTES) >= 18


def _is_outside(path: str) -> bool:
    return path in _OUTSIDE or path.startswith("/console/")


def test_the_description_holds_together() -> None:
    """Every reference leads somewhere, every shape is used, ids are unique."""
    text = json.dumps(_DOCUMENT)
    names = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert names == set(SHAPES)
    assert _DOCUMENT["openapi"] == "3.1.0"
    ids = [op["operationId"] for path in _DOCUMENT["paths"].values() for op in path.values()]
    assert len(set(ids)) == len(ids)


async def test_it_is_served() -> None:
    async with TestClient(TestServer(control_app(Desk().operator, open_access()))) as client:
        answer = await client.get("/openapi.json")
        assert (answer.status, await answer.json()) == (200, json.loads(json.dumps(_DOCUMENT)))


_ROUTES = [
    pytest.param(route, id=f"{route.method} {route.path}")
    for route in ROUTES
    if route.handler != "events"  # does not end
]
_NAMES = st.sampled_from(["search.read", "run:r1", "all", "r1", "nobody"]) | st.text(
    st.characters(codec="utf-8"), min_size=1, max_size=20
)
_POLICIES = st.sampled_from([POLICY, "tools: {allowlist: []}", "tools: [", "nonsense: 1"])


@st.composite
def _requests(draw: st.DrawFn, route: Route) -> tuple[str, dict[str, str], bytes | None]:
    """A target, headers and a body that are mostly as described."""
    path = route.prefix + (quote(draw(_NAMES), safe="") if "{" in route.path else "")
    query = {
        name: draw(st.one_of(fitting(shape), st.text(st.characters(codec="utf-8"), max_size=8)))
        for name, shape in route.query.items()
        if draw(st.booleans())
    }
    target = path + "?" + "&".join(f"{k}={quote(str(v), safe='')}" for k, v in query.items())
    headers = {}
    if "If-Match" in route.headers and draw(st.booleans()):
        headers["If-Match"] = draw(st.sampled_from(["*", '"0123456789ab"', "x"]))
    if not route.body:
        return target, headers, None
    media_type, shape = draw(st.sampled_from(list(route.body.items())))
    headers["Content-Type"] = media_type
    if media_type != "application/json":
        return target, headers, draw(_POLICIES | st.text(max_size=50)).encode("utf-8", "replace")
    return target, headers, json.dumps(draw(fitting(shape) | ANYTHING)).encode()


@pytest.mark.parametrize("route", _ROUTES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_answers_are_as_described(route: Route, data: st.DataObject) -> None:
    """Whatever is asked: a described status, of the described type and shape, and never a bug."""
    target, headers, body = data.draw(_requests(route))
    with asyncio.Runner() as runner:
        status, media_type, content = runner.run(_ask(route.method, target, headers, body))
    assert status < 500, content
    responses = _DOCUMENT["paths"][route.path][route.method.lower()]["responses"]
    described = responses.get(str(status), responses["default"])["content"]
    assert media_type in described, (status, content)
    if media_type.endswith("json"):
        assert misfits(json.loads(content), described[media_type]["schema"]) == []


async def _ask(
    method: str, target: str, headers: dict[str, str], body: bytes | None
) -> tuple[int, str, bytes]:
    desk = Desk()
    desk.start_run("r1").settle(1000)
    desk.see_call()
    app: web.Application = control_app(desk.operator, open_access())
    async with TestClient(TestServer(app)) as client:
        url = URL(target, encoded=True)
        answer = await client.request(method, url, headers=headers, data=body)
        return answer.status, answer.content_type, await answer.read()


@pytest.mark.parametrize("route", [route for route in ROUTES if "application/json" in route.body])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_body_that_is_not_as_described_is_refused(route: Route, data: st.DataObject) -> None:
    """Closed: no unknown key, no number out of its range, nothing of another type."""
    shape = route.body["application/json"]
    value = data.draw(ANYTHING.filter(lambda one: misfits(one, shape) != []))
    path = route.prefix + ("r1" if "runs" in route.path else "all" if "{" in route.path else "")
    body = json.dumps(value).encode()
    headers = {"Content-Type": "application/json"}
    with asyncio.Runner() as runner:
        status, _, content = runner.run(_ask(route.method, path, headers, body))
    assert status in (400, 422), (value, content)
