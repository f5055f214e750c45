"""The routes over the policy and over how much of calls is shown. None of them decides anything."""

from aiohttp import web

from proxy.control.access import JSON_TYPE, VISITOR, YAML_TYPES
from proxy.control.body import json_answer, read_body
from proxy.control.operator import Operator
from proxy.control.orders import read_explain_order, read_flag, read_look_order
from proxy.control.policy_desk import Expected, PolicyDesk
from proxy.control.problem import failed
from proxy.control.route import route
from proxy.control.shapes import FLAG_PARAMETER, TEXT, named
from proxy.policy.document import MAX_DOCUMENT_BYTES

_YAML = "application/yaml"


class PolicyRoutes:
    """One method per route."""

    def __init__(self, operator: Operator) -> None:
        self._desk = PolicyDesk(operator)

    @route(
        "GET", "/v1/policy", "The policy in force: its text and what it means.",
        {JSON_TYPE: named("Policy"), _YAML: TEXT}, headers={"Accept": TEXT},
    )  # fmt: skip
    async def policy(self, request: web.Request) -> web.Response:
        """GET /v1/policy; only the text where `Accept` names YAML."""
        headers = {"ETag": self._etag(), "Vary": "Accept"}
        if any(kind in request.headers.get("Accept", "").lower() for kind in YAML_TYPES):
            text = self._desk.state.text
            return web.Response(text=text, content_type=_YAML, charset="utf-8", headers=headers)
        return json_answer(self._desk.policy(), headers)

    @route(
        "PUT", "/v1/policy", "Put a policy in force, or with dry_run=1 say what it would change.",
        named("PolicyChange"), query={"dry_run": FLAG_PARAMETER}, headers={"If-Match": TEXT},
        body={_YAML: TEXT, "text/yaml": TEXT},
        errors={412: "Problem", 422: "PolicyProblem", 428: "Problem", 507: "Problem"},
    )  # fmt: skip
    async def put_policy(self, request: web.Request) -> web.Response:
        """PUT /v1/policy"""
        is_dry = read_flag(request.query, "dry_run")
        expected = _expected(request)
        if expected is None and not is_dry:
            # RFC 6585 section 3: else the last of two operators wins without knowing it.
            detail = "Send `If-Match` with the ETag of the policy you mean to replace."
            raise failed(428, "if_match_required", detail)
        text = await read_body(request, YAML_TYPES, MAX_DOCUMENT_BYTES)
        if not text.strip():
            raise failed(400, "no_policy", "The body is empty; send the whole policy as YAML.")
        if is_dry or expected is None:
            return json_answer(await self._desk.check(text, expected))
        view = await self._desk.put(request[VISITOR], text, expected)
        return json_answer(view, {"ETag": self._etag()})

    @route(
        "POST", "/v1/policy/explain", "Which tool a call would be, and its verdict.",
        named("Explanation"), body=named("ExplainOrder"), reads=True,
    )  # fmt: skip
    async def explain(self, request: web.Request) -> web.Response:
        """POST /v1/policy/explain"""
        return json_answer(self._desk.explain(read_explain_order(await read_body(request))))

    @route("GET", "/v1/observability", "How much of calls is shown now.", named("Observability"))
    async def observability(self, _: web.Request) -> web.Response:
        """GET /v1/observability"""
        return json_answer(self._desk.observability())

    @route(
        "PATCH", "/v1/observability", "Show more for a while: of all, of one tool or of one run.",
        named("Observability"), body=named("ObservabilityOrder"),
        errors={409: "Problem", 507: "Problem"},
    )  # fmt: skip
    async def raise_observability(self, request: web.Request) -> web.Response:
        """PATCH /v1/observability"""
        order = read_look_order(await read_body(request))
        return json_answer(await self._desk.look(request[VISITOR], order))

    @route(
        "DELETE",
        "/v1/observability",
        "Back to the policy's figures now.",
        named("Observability"),
        errors={507: "Problem"},
    )
    async def reset_observability(self, request: web.Request) -> web.Response:
        """DELETE /v1/observability"""
        return json_answer(await self._desk.look_away(request[VISITOR]))

    def _etag(self) -> str:
        return f'"{self._desk.state.policy.version}"'


def _expected(request: web.Request) -> Expected | None:
    """What `If-Match` says of a version (RFC 9110 section 13.1.1); None without one. A weak tag
    never matches, as the comparison is the strong one."""
    values = request.headers.getall("If-Match", [])
    if not values:
        return None
    tags = {tag.strip() for value in values for tag in value.split(",")}

    def matches(version: str) -> bool:
        return "*" in tags or f'"{version}"' in tags or version in tags

    return matches
