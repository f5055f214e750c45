"""The route over the CA for interception: its certificate, never its key."""

from aiohttp import web

from proxy.ca.authority import NoContextError
from proxy.control.body import json_answer
from proxy.control.operator import Operator
from proxy.control.problem import failed
from proxy.control.route import route
from proxy.control.shapes import named


class CaRoutes:
    """One method per route."""

    def __init__(self, operator: Operator) -> None:
        self._ca = operator.ca

    @route("GET", "/v1/ca", "The certificate that clients of intercepted tools trust.", named("Ca"))
    async def ca(self, _: web.Request) -> web.Response:
        """GET /v1/ca"""
        try:
            view = self._ca()
        except NoContextError as problem:
            raise failed(500, "ca_unusable", str(problem)) from None
        if view is None:
            raise failed(404, "no_ca", "No tool of the policy has `intercept_tls`: there is no CA.")
        permitted = None if view.permitted is None else list(view.permitted)
        return json_answer(
            {
                "certificate": view.pem,
                "fingerprint_sha256": view.fingerprint,
                "expires": view.not_after,
                "permitted": permitted,
                "kept": view.is_kept,
            }
        )
