"""Errors of the control port."""

import json

from proxy.control.api import ROUTES
from proxy.control.problem import Problem, problem_response


def test_a_problem_with_more_to_say() -> None:
    """`extra` stands beside the five members that each one has; headers go along."""
    problem = Problem(422, "invalid_policy", "Why.", (("ETag", '"x"'),), {"errors": [1]})
    response = problem_response(problem)
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "type": "urn:toolbooth:invalid_policy", "title": "Unprocessable Content", "status": 422,
        "detail": "Why.", "code": "invalid_policy", "errors": [1],
    }  # fmt: skip
    assert (response.status, response.headers["ETag"]) == (422, '"x"')
    assert response.content_type == "application/problem+json"


def test_a_problem_has_the_title_of_rfc_9110_whatever_python_calls_it() -> None:
    """On the status line and in the body; every status that a route describes has one."""
    statuses = {status for route in ROUTES for status in route.errors} | {400, 401, 403, 404, 413}
    assert {409, 412, 422, 428, 507} <= statuses
    for status in statuses:
        response = problem_response(Problem(status, "code", "Why."))
        assert isinstance(response.body, bytes)
        assert json.loads(response.body)["title"] == response.reason != "Error"
    assert problem_response(Problem(413, "code", "Why.")).reason == "Content Too Large"
