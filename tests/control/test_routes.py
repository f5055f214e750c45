"""Runs over HTTP, and what reading the paths and queries leaves to it."""

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from proxy.control.api import control_app
from tests.control.desk import Desk, open_access

Client: TypeAlias = TestClient[web.Request, web.Application]


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.start_run("a/b c").settle(0)
    return desk


@pytest.fixture
async def client(desk: Desk) -> AsyncIterator[Client]:
    async with TestClient(TestServer(control_app(desk.operator, open_access()))) as client:
        yield client


async def ask(
    client: Client, method: str, path: str, order: object = None
) -> tuple[int, dict[str, Any]]:
    answer = await client.request(method, URL(path, encoded=True), json=order)
    return answer.status, await answer.json(content_type=None)


async def test_a_run_is_raised_and_forgotten_by_its_encoded_id(client: Client, desk: Desk) -> None:
    path = "/v1/runs/a%2Fb%20c"
    status, run = await ask(client, "PATCH", path, {"max_tool_calls": 20, "max_seconds": 90.5})
    assert (status, run["limits"]) == (200, {"max_tool_calls": 20, "max_seconds": 90.5})
    assert (await ask(client, "GET", path))[1]["left"]["tool_calls"] == 19
    status, run = await ask(client, "DELETE", path)
    assert (status, run["run_id"]) == (200, "a/b c")
    assert (await ask(client, "DELETE", path))[0] == 404
    assert [(e["action"], e["key"], e["outcome"]) for e in desk.audited] == [
        ("run.limit", "run:a/b c", "done"),
        ("run.forget", "run:a/b c", "done"),
        ("run.forget", "run:a/b c", "run_unknown"),
    ]


@pytest.mark.parametrize(
    ("order", "word"),
    [
        pytest.param({}, "at least one", id="nothing"),
        pytest.param({"max_calls": 5}, "max_calls", id="an unknown limit"),
        pytest.param({"max_steps": -1}, "at least 0", id="less than nothing"),
        pytest.param({"max_steps": 1.5}, "whole", id="half a step"),
        pytest.param({"max_steps": True}, "whole", id="a flag"),
        pytest.param({"max_seconds": 0}, "above 0", id="no time"),
        pytest.param({"max_spend_usd": "5"}, "number", id="text"),
    ],
)
async def test_limits_that_are_none(
    client: Client, desk: Desk, order: dict[str, object], word: str
) -> None:
    """422 with the reason, and nothing is set, not even what was right beside it."""
    status, problem = await ask(client, "PATCH", "/v1/runs/a%2Fb%20c", {"max_bytes": 1, **order}
                                if order else {})  # fmt: skip
    assert (status, word in problem["detail"]) == (422, True), problem
    view = desk.ledger.run_view(desk.policy.budgets, "a/b c")
    assert view is not None
    assert view.limits == {}


async def test_runs_take_an_order(client: Client) -> None:
    assert (await ask(client, "GET", "/v1/runs?sort=spend&limit=5"))[0] == 200
    status, problem = await ask(client, "GET", "/v1/runs?sort=cost")
    assert (status, "spend" in problem["detail"]) == (422, True)


async def test_a_filter_by_a_tool_nobody_knows_suggests_one(client: Client, desk: Desk) -> None:
    """A misspelt name must not look like a tool nobody calls; one that is gone is not misspelt."""
    status, problem = await ask(client, "GET", "/v1/calls?tool=search.raed")
    assert (status, "search.read" in problem["detail"]) == (404, True)
    assert (await ask(client, "GET", "/v1/calls?tool=search.read"))[1] == {"calls": []}
    desk.see_call(tool="gone")
    assert len((await ask(client, "GET", "/v1/calls?tool=gone"))[1]["calls"]) == 1


async def test_force_is_one_or_nothing(client: Client) -> None:
    path = "/v1/switches/tool:nobody?force={}"
    order = {"reason": "x"}
    assert (await ask(client, "PUT", path.format("yes"), order))[0] == 422
    assert (await ask(client, "PUT", path.format("0"), order))[0] == 404
    assert (await ask(client, "PUT", path.format("1"), order))[0] == 200
