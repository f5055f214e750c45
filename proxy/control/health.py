"""The health port: is it alive, may it get calls, how is it doing. For kubelets and Prometheus.

Reads only, tells no secrets and asks for no token, so it may listen where the control port may
not. A kill switch does not make the sidecar unready: refusing is its work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_TEXT = "text/plain; charset=utf-8"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REST = 9.0  # times as long as a page took, until the next one is begun


def health_app(is_ready: Callable[[], tuple[bool, str]], figures: Collector) -> web.Application:
    """`is_ready` tells whether calls may be sent here, and one word why (not)."""
    app = web.Application(middlewares=[_plain_errors], client_max_size=1024)
    routes = _HealthRoutes(is_ready, figures)
    app.router.add_get("/livez", routes.livez)
    app.router.add_get("/healthz", routes.livez)
    app.router.add_get("/readyz", routes.readyz)
    app.router.add_get("/metrics", routes.metrics)
    app.on_response_prepare.append(_add_headers)
    return app


class _HealthRoutes:
    def __init__(self, is_ready: Callable[[], tuple[bool, str]], figures: Collector) -> None:
        self._is_ready = is_ready
        self._figures = figures
        self._making = asyncio.Lock()
        self._page = b""
        self._began_s = float("-inf")  # when the page was begun, on the loop's clock
        self._next_s = float("-inf")  # before when none may be begun

    async def livez(self, _: web.Request) -> web.Response:
        return _text(200, "ok")

    async def readyz(self, _: web.Request) -> web.Response:
        ready, word = self._is_ready()
        return _text(200 if ready else 503, word)

    async def metrics(self, _: web.Request) -> web.Response:
        """A page begun after the request came, but one for all who wait; and making pages takes at
        most a tenth of the time, however many ask: nobody needs a token for it."""
        clock = asyncio.get_running_loop().time
        asked_s = clock()
        async with self._making:
            if self._began_s < asked_s:
                await asyncio.sleep(max(0.0, self._next_s - clock()))
                self._began_s = clock()
                self._page = await self._make()
                self._next_s = clock() + _REST * (clock() - self._began_s)
        return web.Response(body=self._page, headers={"Content-Type": _PROMETHEUS})

    async def _make(self) -> bytes:
        # Read on the event loop, which owns what is read: reading from a thread could meet a
        # table in mid-change, and a look at the switches tidies them. Only the text, which is
        # most of the work, is made in a thread.
        page = _Page(list(self._figures.collect()))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, generate_latest, page)


class _Page(Collector):
    """Figures as they were at one moment."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


@web.middleware
async def _plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return _text(error.status, error.reason, allow)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers["Server"] = "toolbooth"


def _text(status: int, word: str, headers: dict[str, str] | None = None) -> web.Response:
    body = f"{word}\n".encode()
    return web.Response(
        status=status, body=body, headers={**(headers or {}), "Content-Type": _TEXT}
    )
