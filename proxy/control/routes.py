"""The routes over tools, switches, runs, calls and events. None of them decides anything."""

import asyncio

from aiohttp import web

from proxy.control.access import VISITOR
from proxy.control.body import json_answer, read_body
from proxy.control.events import ChangeFeed, EventStream
from proxy.control.operator import Operator
from proxy.control.orders import (
    read_call_query,
    read_flag,
    read_limit_order,
    read_name,
    read_run_query,
    read_switch_order,
)
from proxy.control.problem import Problem, ProblemError
from proxy.control.route import route
from proxy.control.run_desk import RunDesk
from proxy.control.shapes import (
    CODE,
    FLAG,
    FLAG_PARAMETER,
    LIMIT,
    RUN_ORDER,
    TEXT,
    WHOLE,
    answer,
    list_of,
    named,
)

_SWITCHED = answer(
    switches=list_of(named("Switch")),
    policy=answer(disabled=list_of(TEXT), writes_disabled=FLAG),
)


class ControlRoutes:
    """One method per route."""

    def __init__(self, operator: Operator, feed: ChangeFeed, heartbeat_s: float) -> None:
        self._operator = operator
        self._runs = RunDesk(operator)
        self._feed = feed
        self._heartbeat_s = heartbeat_s
        self._stopping = asyncio.Event()

    async def stop(self, _: web.Application) -> None:
        """End the event streams, which would go on for ever."""
        self._stopping.set()

    @route("GET", "/v1/status", "The sidecar as a whole.", named("Status"))
    async def status(self, _: web.Request) -> web.Response:
        """GET /v1/status"""
        return json_answer(self._operator.status())

    @route("GET", "/v1/tools", "Every tool of the catalog.", answer(tools=list_of(named("Tool"))))
    async def tools(self, _: web.Request) -> web.Response:
        """GET /v1/tools"""
        engaged = self._operator.engaged()
        views = []
        for rule in self._operator.rules():
            views.append(self._operator.tool(rule, engaged))
            await asyncio.sleep(0)  # a long catalog must not hold up calls
        return json_answer({"tools": views})

    @route("GET", "/v1/tools/{name}", "One tool.", named("Tool"))
    async def tool(self, request: web.Request) -> web.Response:
        """GET /v1/tools/{name}"""
        return json_answer(self._operator.tool_named(read_name(request.raw_path, "/v1/tools/")))

    @route("GET", "/v1/switches", "What is switched off.", _SWITCHED)
    async def switches(self, _: web.Request) -> web.Response:
        """GET /v1/switches"""
        return json_answer(self._operator.list_switches())

    @route(
        "PUT", "/v1/switches/{key}", "Switch a tool, run, agent, writes or all off.",
        named("Switch"), query={"force": FLAG_PARAMETER}, body=named("SwitchOrder"),
        errors={507: "Problem"},
    )  # fmt: skip
    async def engage(self, request: web.Request) -> web.Response:
        """PUT /v1/switches/{key}"""
        key = read_name(request.raw_path, "/v1/switches/")
        order = read_switch_order(await read_body(request))
        force = read_flag(request.query, "force")
        view = self._operator.engage(request[VISITOR], key, order, force=force)
        await self._operator.make_durable("The switch is engaged", "would forget it")
        return json_answer(view)

    @route(
        "DELETE", "/v1/switches/{key}", "Switch it on again.", named("Switch"),
        errors={409: "Problem", 507: "Problem"},
    )  # fmt: skip
    async def release(self, request: web.Request) -> web.Response:
        """DELETE /v1/switches/{key}"""
        key = read_name(request.raw_path, "/v1/switches/")
        view = await self._operator.release(request[VISITOR], key)
        await self._operator.make_durable("The switch is released", "would engage it again")
        return json_answer(view)

    @route(
        "GET", "/v1/runs", "The first runs by last call, spend or refusals.",
        answer(runs=list_of(named("Run")), remembered=WHOLE),
        query={"limit": LIMIT, "sort": RUN_ORDER},
    )  # fmt: skip
    async def runs(self, request: web.Request) -> web.Response:
        """GET /v1/runs"""
        return json_answer(await self._runs.runs(read_run_query(request.query)))

    @route("GET", "/v1/runs/{run}", "One run.", named("Run"))
    async def run(self, request: web.Request) -> web.Response:
        """GET /v1/runs/{run}"""
        return json_answer(self._runs.run(read_name(request.raw_path, "/v1/runs/")))

    @route(
        "PATCH", "/v1/runs/{run}", "Set limits of this run alone; null: the policy's again.",
        named("Run"), body=named("LimitOrder"), errors={507: "Problem"},
    )  # fmt: skip
    async def limit_run(self, request: web.Request) -> web.Response:
        """PATCH /v1/runs/{run}"""
        run_id = read_name(request.raw_path, "/v1/runs/")
        changes = read_limit_order(await read_body(request))
        return json_answer(await self._runs.limit(request[VISITOR], run_id, changes))

    @route(
        "DELETE", "/v1/runs/{run}", "Let the run begin anew at its next call.", named("Run"),
        errors={409: "Problem", 507: "Problem"},
    )  # fmt: skip
    async def forget_run(self, request: web.Request) -> web.Response:
        """DELETE /v1/runs/{run}"""
        run_id = read_name(request.raw_path, "/v1/runs/")
        return json_answer(await self._runs.forget(request[VISITOR], run_id))

    @route(
        "GET", "/v1/calls", "The last calls that match, newest first.",
        answer(calls=list_of(named("Call"))),
        query={"tool": TEXT, "code": CODE, "run": TEXT, "limit": LIMIT},
    )  # fmt: skip
    async def calls(self, request: web.Request) -> web.Response:
        """GET /v1/calls"""
        return json_answer(self._operator.calls(read_call_query(request.query)))

    @route(
        "GET", "/v1/events", "Calls, switches and policies as they happen (Server-Sent Events).",
        {"text/event-stream": TEXT}, errors={503: "Problem"},
    )  # fmt: skip
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
