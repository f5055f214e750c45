"""The control API: routes, and the edge around them. What it promises: docs/control-api.md.

A request passes `Access`, is read strictly, becomes a value, and the `Operator` answers with
values. Whatever goes wrong is answered as problem details, and refused attempts are audited.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

from proxy.control.access import READING, Access, Visitor, judge_role
from proxy.control.audit import RefusedAttempts
from proxy.control.events import HEARTBEAT_S, EventStream, SwitchFeed
from proxy.control.operator import Operator
from proxy.control.orders import read_call_query, read_name, read_run_query, read_switch_order
from proxy.control.problem import Problem, ProblemError, failed, problem_of, problem_response

BODY_LIMIT_BYTES = 64 * 1024
BODY_LIMIT_S = 10.0

_LOG = logging.getLogger("toolbooth.control")
_VISITOR = web.RequestKey("visitor", Visitor)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def control_app(
    operator: Operator, access: Access, heartbeat_s: float = HEARTBEAT_S
) -> web.Application:
    """The application behind the control listener. Run it without an access log: the audit says
    what was done, and paths hold run ids."""
    app = web.Application(middlewares=[_edge(operator, access)], client_max_size=BODY_LIMIT_BYTES)
    routes = ControlRoutes(operator, SwitchFeed(operator.switches), heartbeat_s)
    app.router.add_get("/v1/status", routes.status)
    app.router.add_get("/v1/tools", routes.tools)
    app.router.add_get("/v1/tools/{name:(?s:.+)}", routes.tool)
    app.router.add_get("/v1/switches", routes.switches)
    app.router.add_put("/v1/switches/{key:(?s:.+)}", routes.engage)
    app.router.add_delete("/v1/switches/{key:(?s:.+)}", routes.release)
    app.router.add_get("/v1/runs", routes.runs)
    app.router.add_get("/v1/runs/{run:(?s:.+)}", routes.run)
    app.router.add_get("/v1/calls", routes.calls)
    app.router.add_get("/v1/events", routes.events, allow_head=False)
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(routes.stop)
    return app


class ControlRoutes:
    """One method per route, none of which decides anything."""

    def __init__(self, operator: Operator, feed: SwitchFeed, heartbeat_s: float) -> None:
        self._operator = operator
        self._feed = feed
        self._heartbeat_s = heartbeat_s
        self._stopping = asyncio.Event()

    async def stop(self, _: web.Application) -> None:
        """End the event streams, which would go on for ever."""
        self._stopping.set()

    async def status(self, _: web.Request) -> web.Response:
        """GET /v1/status"""
        return _json(self._operator.status())

    async def tools(self, _: web.Request) -> web.Response:
        """GET /v1/tools"""
        engaged = self._operator.engaged()
        views = []
        for rule in self._operator.rules():
            views.append(self._operator.tool(rule, engaged))
            await asyncio.sleep(0)  # a long catalog must not hold up calls
        return _json({"tools": views})

    async def tool(self, request: web.Request) -> web.Response:
        """GET /v1/tools/{name}"""
        return _json(self._operator.tool_named(read_name(request.raw_path, "/v1/tools/")))

    async def switches(self, _: web.Request) -> web.Response:
        """GET /v1/switches"""
        return _json(self._operator.list_switches())

    async def engage(self, request: web.Request) -> web.Response:
        """PUT /v1/switches/{key}"""
        key = read_name(request.raw_path, "/v1/switches/")
        order = read_switch_order(await _body(request))
        force = request.query.get("force") == "1"
        return _json(self._operator.engage(request[_VISITOR], key, order, force=force))

    async def release(self, request: web.Request) -> web.Response:
        """DELETE /v1/switches/{key}"""
        key = read_name(request.raw_path, "/v1/switches/")
        return _json(self._operator.release(request[_VISITOR], key))

    async def runs(self, request: web.Request) -> web.Response:
        """GET /v1/runs"""
        return _json(self._operator.runs(read_run_query(request.query)))

    async def run(self, request: web.Request) -> web.Response:
        """GET /v1/runs/{id}"""
        return _json(self._operator.run(read_name(request.raw_path, "/v1/runs/")))

    async def calls(self, request: web.Request) -> web.Response:
        """GET /v1/calls"""
        return _json(self._operator.calls(read_call_query(request.query)))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/events"""
        calls = self._operator.recent.subscribe()
        if calls is None:
            detail = "As many event streams are open as there may be; close one."
            raise ProblemError(Problem(503, "busy", detail, (("Retry-After", "5"),)))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            stream = EventStream(response, calls, self._feed, self._heartbeat_s)
            await stream.run(self._stopping)
        finally:
            calls.close()
        return response


def _edge(operator: Operator, access: Access) -> Callable[..., Awaitable[web.StreamResponse]]:
    """The middleware that every request passes: access first, whatever the path."""
    refused = RefusedAttempts(operator.audit, operator.clock)

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        verdict = access.judge(request.raw_path, request.headers)
        if isinstance(verdict, Problem):
            refused.tell(None, request.method, request.raw_path, verdict)
            return problem_response(verdict)
        request[_VISITOR] = verdict
        answer = judge_role(verdict, request.method) or await _answer(request, handler)
        if not isinstance(answer, Problem):
            return answer
        if request.method not in READING:
            refused.tell(verdict, request.method, request.raw_path, answer)
        return problem_response(answer)

    return edge


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse | Problem:
    try:
        return await handler(request)
    except ProblemError as error:
        return error.problem
    except web.HTTPException as error:
        return problem_of(error, request.path)
    except ConnectionError:
        raise  # the client has gone; there is nobody to tell
    except Exception:  # noqa: BLE001 - the edge: no traceback may leave, it goes to the log
        _LOG.exception("control API: a handler failed")
        return Problem(500, "internal_error", "This is a bug; the log of the sidecar says more.")


async def _body(request: web.Request) -> bytes:
    """The whole body, bounded in size (by the application) and in time (against a trickle)."""
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            return await request.read()
    except TimeoutError:
        raise failed(408, "too_slow", "The body did not arrive in time.") from None


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = "toolbooth"


def _json(view: Mapping[str, object]) -> web.Response:
    return web.Response(body=orjson.dumps(view), content_type="application/json")
