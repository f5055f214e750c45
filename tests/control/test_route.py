"""Routes are described where they are handled."""

from aiohttp import web

from proxy.control.route import route, route_of, routes_of
from proxy.control.shapes import TEXT, answer


class _Handlers:
    @route("GET", "/v1/b", "Second in the alphabet.", answer(x=TEXT))
    async def b(self, _: web.Request) -> web.Response:
        return web.Response()

    def not_a_route(self) -> None:
        pass

    @route("POST", "/v1/a/{name}", "A question.", {"text/plain": TEXT}, body=TEXT, reads=True)
    async def a(self, _: web.Request) -> web.Response:
        return web.Response()


def test_routes_come_in_the_order_they_are_written() -> None:
    first, second = routes_of(_Handlers)
    assert (first.method, first.path, first.handler, first.reads) == ("GET", "/v1/b", "b", True)
    assert (second.prefix, second.pattern) == ("/v1/a/", "/v1/a/{name:(?s:.+)}")
    assert list(first.answer) == ["application/json"]
    assert list(second.answer) == ["text/plain"]
    assert list(second.body) == ["application/json"]
    assert second.reads, "said so, though a POST"


def test_a_handler_knows_its_route() -> None:
    """Bound or not; what is no route has none."""
    assert route_of(_Handlers().a) is route_of(_Handlers.a)
    assert route_of(_Handlers().not_a_route) is None
