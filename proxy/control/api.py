"""The control API: routes, and the edge around them. What it promises: docs/control-api.md.

A request passes `Access`, is read strictly, becomes a value, and the `Operator` answers with
values. Whatever goes wrong is answered as problem details, and refused attempts are audited.
"""

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from proxy.control.access import READING, VISITOR, Access, judge_role
from proxy.control.audit import RefusedAttempts
from proxy.control.body import json_answer
from proxy.control.ca_routes import CaRoutes
from proxy.control.console import mount_console
from proxy.control.events import HEARTBEAT_S, ChangeFeed
from proxy.control.openapi import openapi_document
from proxy.control.operator import Operator
from proxy.control.policy_routes import PolicyRoutes
from proxy.control.problem import Problem, ProblemError, problem_of, problem_response
from proxy.control.route import route_of, routes_of
from proxy.control.routes import ControlRoutes

ROUTES = routes_of(ControlRoutes, PolicyRoutes, CaRoutes)

_LOG = logging.getLogger("toolbooth.control")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def control_app(
    operator: Operator, access: Access, heartbeat_s: float = HEARTBEAT_S
) -> web.Application:
    """The application behind the control listener. Run it without an access log: the audit says
    what was done, and paths hold run ids."""
    app = web.Application(middlewares=[_edge(operator, access)])
    routes = ControlRoutes(operator, ChangeFeed(operator.switches, operator.policies), heartbeat_s)
    description = openapi_document(ROUTES)

    async def openapi(_: web.Request) -> web.Response:
        return json_answer(description)

    _mount(app, routes, PolicyRoutes(operator), CaRoutes(operator))
    app.router.add_get("/openapi.json", openapi)
    mount_console(app, access)
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(routes.stop)
    return app


def _mount(app: web.Application, *handlers: object) -> None:
    for owner in handlers:
        for route in routes_of(type(owner)):
            handler = getattr(owner, route.handler)
            if route.method == "GET" and route.handler != "events":
                app.router.add_get(
                    route.pattern, handler
                )  # and HEAD, which a stream has no use for
            else:
                app.router.add_route(route.method, route.pattern, handler)


def _edge(operator: Operator, access: Access) -> Callable[..., Awaitable[web.StreamResponse]]:
    """The middleware that every request passes: access first, whatever the path."""
    refused = RefusedAttempts(operator.audit.offer, operator.clock)
    operator.figures.watch("toolbooth_audit_suppressed_total", lambda: refused.suppressed_total)

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        verdict = access.judge(request.raw_path, request.headers)
        if isinstance(verdict, Problem):
            refused.tell(None, request.method, request.raw_path, verdict)
            return problem_response(verdict)
        request[VISITOR] = verdict
        route = route_of(request.match_info.handler)
        method = "GET" if route is not None and route.reads else request.method
        answer = judge_role(verdict, method) or await _answer(request, handler)
        if not isinstance(answer, Problem):
            return answer
        if method not in READING:
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


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Server"] = "toolbooth"
