"""Errors of the control port."""

import json

from proxy.control.problem import Problem, problem_response


def test_a_problem_with_more_to_say() -> None:
    """`extra` stands beside the five members that each one has; headers go along."""
    problem = Problem(422, "invalid_policy", "Why.", (("ETag", '"x"'),), {"errors": [1]})
    response = problem_response(problem)
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "type": "urn:toolbooth:invalid_policy", "title": "Unprocessable Entity", "status": 422,
        "detail": "Why.", "code": "invalid_policy", "errors": [1],
    }  # fmt: skip
    assert (response.status, response.headers["ETag"]) == (422, '"x"')
    assert response.content_type == "application/problem+json"
