"""The policy over HTTP: read, tried, replaced, asked; and more shown for a while."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.control.access import Access
from proxy.control.api import control_app
from proxy.policy.document import MAX_DOCUMENT_BYTES
from tests.control.desk import POLICY, BoundAt, Desk, open_access

Client: TypeAlias = TestClient[web.Request, web.Application]
YAML = {"Content-Type": "application/yaml"}
NEW = POLICY.replace("disabled: [mail.send]", "disabled: []").replace("hidden", "shown")
BAD = "tools: {allowlist: [a], nonsense: 1}\nbudgets: {max_tokens: -1}\n"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def client(desk: Desk) -> AsyncIterator[Client]:
    async with TestClient(TestServer(control_app(desk.operator, open_access()))) as client:
        yield client


async def put(
    client: Client, text: str | bytes, *, query: str = "", **headers: str
) -> tuple[int, dict[str, Any]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    content = io.BytesIO(text.encode() if isinstance(text, str) else text)
    answer = await client.put(f"/v1/policy{query}", data=content, headers={**YAML, **named})
    return answer.status, await answer.json(content_type=None)


async def test_the_policy_is_shown_as_loaded_and_as_meant(client: Client, desk: Desk) -> None:
    answer = await client.get("/v1/policy")
    view = await answer.json()
    assert answer.headers["ETag"] == f'"{desk.policy.version}"'
    assert (view["version"], view["yaml"], view["source"]) == (desk.policy.version, POLICY, "file")
    assert view["effective"]["budgets"]["max_tool_calls"] == 12
    assert view["effective"]["budgets"]["max_spend_usd"] == 1.0
    assert view["effective"]["allowed"] == ["search.read", "mail.send"]
    plain = await client.get("/v1/policy", headers={"Accept": "application/yaml"})
    assert (plain.content_type, await plain.text()) == ("application/yaml", POLICY)


async def test_a_policy_is_put_in_force(client: Client, desk: Desk) -> None:
    """In place of the one that was read; the next call meets it; it is in the audit."""
    etag = (await client.get("/v1/policy")).headers["ETag"]
    status, change = await put(client, NEW, If_Match=etag)
    assert (status, change["applied"]) == (200, True)
    assert change["changes"] == {
        "added": ["shown"], "removed": ["hidden"], "changed": [], "reordered": False,
        "sections": ["disabled"],
    }  # fmt: skip
    assert list(desk.policy.tools) == ["search.read", "mail.send", "shown"]
    answer = await client.get("/v1/policy")
    assert answer.headers["ETag"] == f'"{desk.policy.version}"' == f'"{change["version"]}"'
    assert (await answer.json())["source"] == "api"
    entry = desk.audited[-1]
    assert (entry["action"], entry["key"], entry["actor"]) == (
        "policy.put", desk.policy.version, "local",
    )  # fmt: skip
    assert entry["previous"] == change["previous"] == etag.strip('"')


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        pytest.param("*", 200, id="any"),
        pytest.param('"other", "{}"', 200, id="one of several"),
        pytest.param("{}", 200, id="without its quotes"),
        pytest.param('"other"', 412, id="another version"),
        pytest.param('W/"{}"', 412, id="a weak tag, which never matches strongly"),
        pytest.param('""', 412, id="an empty tag"),
    ],
)
async def test_if_match(client: Client, desk: Desk, if_match: str, status: int) -> None:
    """Two operators who read the same policy cannot both replace it."""
    before = desk.policy
    answered, view = await put(client, NEW, If_Match=if_match.replace("{}", before.version))
    assert answered == status
    assert (desk.policy is before) == (status != 200)
    if status == 412:
        assert (view["code"], before.version in view["detail"]) == ("version_mismatch", True)


async def test_without_if_match_nothing_is_replaced(client: Client, desk: Desk) -> None:
    """RFC 6585: 428."""
    before = desk.policy
    status, problem = await put(client, NEW)
    assert (status, problem["code"]) == (428, "if_match_required")
    assert desk.policy is before


async def test_a_dry_run_says_what_would_change(client: Client, desk: Desk) -> None:
    """And changes nothing; with If-Match it says whether it could."""
    before = desk.policy
    status, change = await put(client, NEW, query="?dry_run=1")
    assert (status, change["applied"], change["changes"]["added"]) == (200, False, ["shown"])
    assert change["warnings"] != []
    assert (await put(client, NEW, query="?dry_run=1", If_Match='"x"'))[0] == 412
    assert (desk.policy, desk.keeper.state.source) == (before, "file")
    assert [entry["outcome"] for entry in desk.audited] == ["version_mismatch"]


@pytest.mark.parametrize("query", ["", "?dry_run=1"])
async def test_every_error_at_once(client: Client, desk: Desk, query: str) -> None:
    """With its path and line, and the policy stays."""
    before = desk.policy
    status, problem = await put(client, BAD, query=query, If_Match="*")
    assert (status, problem["code"]) == (422, "invalid_policy")
    assert [(error["path"], error["line"]) for error in problem["errors"]] == [
        ("tools.nonsense", 1), ("budgets.max_tokens", 2),
    ]  # fmt: skip
    assert desk.policy is before
    seen = (await (await client.get("/v1/policy")).json())["last_error"]
    told = (await (await client.get("/v1/status")).json())["policy"]["last_error"]
    assert seen == told
    assert (seen is None) == (query != ""), "a trial is no failure"


@pytest.mark.parametrize(
    ("text", "headers", "status"),
    [
        pytest.param("", {}, 400, id="nothing"),
        pytest.param(" \n", {}, 400, id="blanks"),
        pytest.param("x: \xff".encode("latin-1"), {}, 422, id="not UTF-8"),
        pytest.param("{}", {"Content_Type": "application/json"}, 415, id="JSON"),
        pytest.param("#" * (MAX_DOCUMENT_BYTES + 1), {}, 413, id="a byte too large"),
    ],
)
async def test_bodies_that_are_no_policy(
    client: Client, desk: Desk, text: str | bytes, headers: dict[str, str], status: int
) -> None:
    before = desk.policy
    assert (await put(client, text, If_Match="*", **headers))[0] == status
    assert desk.policy is before


async def test_a_large_policy_fits(client: Client) -> None:
    """The bound on other bodies is not this one's."""
    text = POLICY + "#" * (MAX_DOCUMENT_BYTES - len(POLICY.encode()))
    assert (await put(client, text, If_Match="*"))[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/policy", 200), ("POST", "/v1/policy/explain", 200),
        ("PUT", "/v1/policy", 403), ("PATCH", "/v1/observability", 403),
        ("DELETE", "/v1/observability", 403), ("GET", "/v1/observability", 200),
    ],
)  # fmt: skip
async def test_a_viewer_reads_and_asks_and_changes_nothing(
    desk: Desk, method: str, path: str, status: int
) -> None:
    """`explain` is a POST and still only a question."""
    access = Access("admin-token", "viewer-token", BoundAt())
    async with TestClient(TestServer(control_app(desk.operator, access))) as client:
        body = {"method": "GET", "url": "http://x.example/"} if method == "POST" else None
        headers = {"Authorization": "Bearer viewer-token"}
        answer = await client.request(method, path, json=body, headers=headers)
        assert answer.status == status
    assert len(desk.audited) == (status == 403)


async def test_explain_answers_as_the_command_does(client: Client, desk: Desk) -> None:
    desk.start_run("r1").settle(0)
    question = {"method": "get", "url": "http://api.search.example/v1/search?q=x", "run_id": "r1"}
    answer = await (await client.post("/v1/policy/explain", json=question)).json()
    expected = {"tool": "search.read", "verdict": "ok", "allowed": True, "effect": "read"}
    assert {name: answer[name] for name in expected} == expected
    assert answer["run"]["left"]["tool_calls"] == 11
    question = {"method": "CONNECT", "url": "hidden.example:443", "run_id": "nobody"}
    answer = await (await client.post("/v1/policy/explain", json=question)).json()
    assert (answer["verdict"], answer["run"]) == ("tool_not_allowed", None)
    question = {"method": "GET", "url": "ftp://x.example/"}
    refused = await client.post("/v1/policy/explain", json=question)
    assert refused.status == 422


async def look(client: Client, **order: object) -> tuple[int, dict[str, Any]]:
    answer = await client.patch("/v1/observability", json=order)
    return answer.status, await answer.json(content_type=None)


async def test_samples_are_raised_for_a_while(client: Client, desk: Desk) -> None:
    """Shown with the time left, in the audit, and gone by themselves."""
    status, view = await look(client, result_sample_rate=1, ttl_seconds=300)
    assert (status, view["result_sample_rate"]) == (200, 0.01)
    await look(client, max_result_bytes=65536, tool="search.read", ttl_seconds=60)
    desk.clock.advance(30)
    view = await (await client.get("/v1/observability")).json()
    assert [(one["scope"], one["seconds_left"]) for one in view["raised"]] == [
        ("all", 270), ("tool:search.read", 30),
    ]  # fmt: skip
    assert view["raised"][1]["expires"] == "2027-01-15T08:01:00.000Z"
    assert desk.widened == [65536]
    assert [(entry["action"], entry["key"]) for entry in desk.audited] == [
        ("observability.raise", "all"), ("observability.raise", "tool:search.read"),
    ]  # fmt: skip
    desk.clock.jump_wall(-9999)
    desk.clock.advance(30)
    view = await (await client.get("/v1/observability")).json()
    assert [one["scope"] for one in view["raised"]] == ["all"], "on the clock that only goes on"
    answer = await client.delete("/v1/observability")
    assert (await answer.json())["raised"] == []
    assert desk.audited[-1]["action"] == "observability.reset"


@pytest.mark.parametrize(
    ("order", "status", "word"),
    [
        pytest.param({"result_sample_rate": 1}, 422, "ttl_seconds", id="without an end"),
        pytest.param({"ttl_seconds": 5}, 422, "result_sample_rate", id="nothing to raise"),
        pytest.param(
            {"result_sample_rate": 1, "ttl_seconds": 3601}, 422, "3600", id="longer than an hour"
        ),
        pytest.param(
            {"result_sample_rate": 1.01, "ttl_seconds": 5}, 422, "at most 1", id="more than all"
        ),
        pytest.param(
            {"result_sample_rate": 1, "ttl_seconds": 5, "tool": "search.raed"},
            404, "search.read", id="a typing error in a tool",
        ),
        pytest.param(
            {"result_sample_rate": 1, "ttl_seconds": 5, "tool": "hidden", "run": "r"},
            422, "not both", id="a tool and a run",
        ),
    ],
)  # fmt: skip
async def test_looks_that_are_refused(
    client: Client, desk: Desk, order: dict[str, object], status: int, word: str
) -> None:
    answered, problem = await look(client, **order)
    assert (answered, word in problem["detail"]) == (status, True), problem
    assert not desk.spotlight.is_on


async def test_the_longest_look_and_the_policys_word(client: Client, desk: Desk) -> None:
    """An hour is possible; what the policy forbids to show is not."""
    assert (await look(client, result_sample_rate=0, ttl_seconds=3600))[0] == 200
    text = POLICY + "observability: {sampled_tool_results: false}\n"
    assert (await put(client, text, If_Match="*"))[0] == 200
    status, problem = await look(client, result_sample_rate=1, ttl_seconds=5)
    assert (status, problem["code"]) == (409, "samples_forbidden")
    assert json.dumps(desk.audited).count("samples_forbidden") >= 1
