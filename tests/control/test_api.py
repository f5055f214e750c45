"""The control API over real HTTP: what it answers, and what hostile requests get."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from proxy import __version__
from proxy.control import body
from proxy.control.access import Access
from proxy.control.api import control_app
from proxy.model.reason import Reason
from tests.control.desk import BoundAt, Desk, open_access

Client: TypeAlias = TestClient[web.Request, web.Application]
ADMIN = {"Authorization": "Bearer admin-token"}
VIEWER = {"Authorization": "Bearer viewer-token"}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
async def client(desk: Desk) -> AsyncIterator[Client]:
    async with TestClient(TestServer(control_app(desk.operator, open_access()))) as client:
        yield client


@pytest.fixture
async def guarded(desk: Desk) -> AsyncIterator[Client]:
    access = Access("admin-token", "viewer-token", BoundAt())
    async with TestClient(TestServer(control_app(desk.operator, access))) as client:
        yield client


async def read(client: Client, path: str) -> dict[str, Any]:
    answer = await client.get(URL(path, encoded=True))
    assert answer.status == 200, await answer.text()
    document = await answer.json()
    assert isinstance(document, dict)
    return document


async def switch(client: Client, key: str, **order: object) -> tuple[int, dict[str, Any]]:
    answer = await client.put(URL(f"/v1/switches/{key}", encoded=True), json=order)
    return answer.status, await answer.json(content_type=None)


async def test_tools_show_rule_figures_and_state(client: Client, desk: Desk) -> None:
    """Everything an operator wants to know of a tool, in one object."""
    desk.see_call()
    desk.see_call(2, code=Reason.TIMEOUT, status=504)
    desk.see_call(3, code=Reason.RATE_LIMITED, status=429)
    desk.switches.engage("tool:search.read", "leak", "alice")
    tools = (await read(client, "/v1/tools"))["tools"]
    assert [tool["name"] for tool in tools] == ["search.read", "mail.send", "hidden"]
    search = await read(client, "/v1/tools/search.read")
    assert search == tools[0]
    assert search["destinations"] == ["GET api.search.example:80 /v1/search"]
    assert search["upstream"] == "https://api.search.example/base"
    expected = {
        "allowed": True, "kind": "tool", "effect": "read", "calls": 3, "errors": 1, "refusals": 1,
        "in_flight": 3, "breaker": "closed", "disabled_by_policy": False,
    }  # fmt: skip
    assert {name: search[name] for name in expected} == expected
    assert search["switch"]["reason"] == "leak"
    assert 10 <= search["p50_ms"] <= 25
    assert tools[1]["disabled_by_policy"]
    assert not tools[2]["allowed"]
    assert tools[2]["p99_ms"] is None


async def test_an_unknown_tool_suggests_a_known_one(client: Client) -> None:
    """404 with a name to try."""
    answer = await client.get("/v1/tools/search.raed")
    problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (404, "tool_unknown")
    assert "did you mean search.read?" in problem["detail"]


async def test_a_switch_is_engaged_listed_and_released(client: Client, desk: Desk) -> None:
    """The whole life of a kill, and its trail."""
    status, view = await switch(client, "tool:search.read", reason="leak", ttl_seconds=600)
    assert (status, view["key"], view["actor"]) == (200, "tool:search.read", "local")
    assert (view["since"], view["expires"]) == (
        "2027-01-15T08:00:00.000Z",
        "2027-01-15T08:10:00.000Z",
    )
    assert [s.key for s in desk.switches.active()] == ["tool:search.read"]
    listed = await read(client, "/v1/switches")
    assert listed["switches"] == [view]
    assert listed["policy"] == {"disabled": ["mail.send"], "writes_disabled": False}
    released = await client.delete("/v1/switches/tool:search.read")
    assert (released.status, await released.json()) == (200, view)
    assert desk.switches.active() == []
    assert [(e["action"], e["key"], e["reason"], e["outcome"]) for e in desk.audited] == [
        ("switch.engage", "tool:search.read", "leak", "done"),
        ("switch.release", "tool:search.read", "leak", "done"),
    ]


@pytest.mark.parametrize(
    ("path_key", "key"),
    [
        pytest.param("all", "all", id="everything"),
        pytest.param("writes", "writes", id="writes"),
        pytest.param("run:a%2Fb%3Ac%40d", "run:a/b:c@d", id="an encoded run id"),
        pytest.param("run%3A..%2F..%2Fx", "run:../../x", id="a run id like a path"),
        pytest.param("run:a/b:c@d", "run:a/b:c@d", id="a bare run id"),
        pytest.param("agent:shared%3A127.0.0.1", "agent:shared:127.0.0.1", id="a shared agent"),
        pytest.param("run:50%25", "run:50%", id="a percent sign"),
        pytest.param("tool:search.read.sub", "tool:search.read.sub", id="a tool of a server"),
    ],
)
async def test_keys_are_read_from_the_raw_path(
    client: Client, desk: Desk, path_key: str, key: str
) -> None:
    """Engage and release name the same switch, whatever its id holds."""
    status, view = await switch(client, path_key, reason="x")
    assert (status, view["key"]) == (200, key)
    assert [s.key for s in desk.switches.active()] == [key]
    answer = await client.delete(URL(f"/v1/switches/{path_key}", encoded=True))
    assert answer.status == 200
    assert desk.switches.active() == []


@pytest.mark.parametrize(
    ("key", "order", "status", "word"),
    [
        pytest.param("tool:search.raed", {"reason": "x"}, 404, "search.read", id="a typing error"),
        pytest.param("tool:search", {"reason": "x"}, 404, "no tool", id="the head of a name"),
        pytest.param("tool:search.readx", {"reason": "x"}, 404, "no tool", id="a longer name"),
        pytest.param("tool:", {"reason": "x"}, 422, "key", id="no name"),
        pytest.param("everything", {"reason": "x"}, 422, "key", id="no such kind"),
        pytest.param("run:%0d%0aX", {"reason": "x"}, 422, "printable", id="a line break in a key"),
        pytest.param("run:" + "x" * 297, {"reason": "x"}, 422, "300", id="a key too long"),
        pytest.param("all", {"reason": " "}, 422, "reason", id="a blank reason"),
        pytest.param("all", {"reason": "x" * 501}, 422, "500", id="a reason too long"),
        pytest.param("all", {"reason": "x\x00"}, 422, "printable", id="a control in a reason"),
        pytest.param("all", {}, 422, "reason", id="no reason"),
        pytest.param("all", {"reason": "x", "ttl": 5}, 422, "ttl", id="an unknown key"),
    ],
)
async def test_what_cannot_be_switched(
    client: Client, desk: Desk, key: str, order: dict[str, object], status: int, word: str
) -> None:
    """A refused order changes nothing, says why, and is in the trail."""
    answered, problem = await switch(client, key, **order)
    assert answered == status
    assert word in problem["detail"]
    assert desk.switches.active() == []
    assert [(e["action"], e["outcome"]) for e in desk.audited] == [
        ("switch.engage", problem["code"])
    ]


async def test_an_unknown_tool_can_be_forced(client: Client, desk: Desk) -> None:
    """A kill may come before the policy that needs it."""
    status, _ = await switch(client, "tool:later?force=1", reason="x")
    assert status == 200
    assert [s.key for s in desk.switches.active()] == ["tool:later"]


@pytest.mark.parametrize(
    ("key", "word"),
    [("run:r1", "No switch"), ("tool:mail.send", "policy file"), ("mail.send", "No switch")],
)
async def test_releasing_what_is_not_engaged(client: Client, key: str, word: str) -> None:
    """404, and where to look if the file is what holds it."""
    answer = await client.delete(f"/v1/switches/{key}")
    problem = await answer.json(content_type=None)
    assert (answer.status, problem["code"]) == (404, "not_engaged")
    assert word in problem["detail"]


async def test_calls_are_filtered_and_redacted(client: Client, desk: Desk) -> None:
    """Newest first, without query values."""
    desk.see_call(1)
    desk.see_call(2, code=Reason.TIMEOUT, status=504)
    desk.see_call(3, tool="hidden")
    calls = (await read(client, "/v1/calls"))["calls"]
    assert [call["call_id"] for call in calls] == ["call-3", "call-2", "call-1"]
    assert "cats" not in json.dumps(calls)
    for query, ids in {
        "code=timeout": ["call-2"],
        "tool=hidden": ["call-3"],
        "run=run-1&limit=1": ["call-3"],
        "run=nobody": [],
    }.items():
        found = (await read(client, f"/v1/calls?{query}"))["calls"]
        assert [call["call_id"] for call in found] == ids, query
    assert (await client.get("/v1/calls?code=nope")).status == 422


async def test_runs_show_used_and_left(client: Client, desk: Desk) -> None:
    """In dollars and seconds; the switch that stopped one stands beside it."""
    desk.start_run("r1").settle(cost_micros=250_000, tokens=7)
    desk.start_run("a/b")
    desk.switches.engage("run:a/b", "loops", "bob")
    listed = await read(client, "/v1/runs")
    assert [run["run_id"] for run in listed["runs"]] == ["a/b", "r1"]
    assert listed["remembered"] == 2
    assert len((await read(client, "/v1/runs?limit=1"))["runs"]) == 1
    run = await read(client, "/v1/runs/r1")
    assert run["used"] == {
        "steps": 0, "tool_calls": 1, "seconds": 0, "spend_usd": 0.25, "tokens": 7, "bytes": 0,
    }  # fmt: skip
    assert (run["left"]["tool_calls"], run["left"]["spend_usd"]) == (11, 0.75)
    assert run["left"]["tokens"] is None
    assert run["switch"] is None
    stopped = await read(client, "/v1/runs/a%2Fb")
    assert (stopped["in_flight"], stopped["switch"]["reason"]) == (1, "loops")
    assert (await client.get("/v1/runs/r2")).status == 404


async def test_status(client: Client, desk: Desk) -> None:
    """The sidecar in one object."""
    desk.see_call()
    desk.see_call(2, tool="", code=Reason.TOOL_UNKNOWN, status=403)
    desk.clock.advance(90)
    desk.is_draining = True
    desk.switches.engage("all", "fire", "alice")
    status = await read(client, "/v1/status")
    warnings = status["policy"].pop("warnings")
    assert len(warnings) == len(desk.policy.warnings)
    assert status["policy"].pop("loaded") == "2027-01-15T08:00:00.000Z"
    assert status == {
        "version": __version__,
        "started": "2027-01-15T08:00:00.000Z",
        "uptime_seconds": 90,
        "draining": True,
        "listeners": {"proxy": "127.0.0.1:8080"},
        "policy": {
            "version": desk.policy.version,
            "tools": 3,
            "allowed": 2,
            "source": "file",
            "last_error": None,
        },
        "switches": {"engaged": 1, "by_policy": 1},
        "runs": 0,
        "totals": {"calls": 2, "errors": 0, "refusals": 1},
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v1", 404, None),
        ("GET", "/v1/nothing", 404, None),
        ("GET", "/v1/tools/", 404, None),
        ("GET", "/v1/%73witches/all", 405, "DELETE, PUT"),
        ("DELETE", "/v1/%73witches/all", 404, None),
        ("POST", "/v1/tools", 405, "GET, HEAD"),
        ("OPTIONS", "/v1/tools", 405, "GET, HEAD"),
        ("PUT", "/v1/runs/r1", 405, "DELETE, GET, HEAD, PATCH"),
        ("DELETE", "/v1/runs", 405, "GET, HEAD"),
        ("POST", "/v1/policy", 405, "GET, HEAD, PUT"),
        ("GET", "/v1/policy/explain", 405, "POST"),
        ("GET", "/v1/switches/all", 405, "DELETE, PUT"),
        ("PUT", "/v1/switches", 405, "GET, HEAD"),
        ("HEAD", "/v1/events", 405, "GET"),
    ],
)
async def test_other_paths_and_methods(
    client: Client, method: str, path: str, status: int, allow: str | None
) -> None:
    """404 and 405 are problems too, and 405 says what is allowed."""
    answer = await client.request(method, URL(path, encoded=True))
    assert (answer.status, answer.headers.get("Allow")) == (status, allow)
    assert answer.content_type == "application/problem+json"
    if method != "HEAD":
        problem = await answer.json(content_type=None)
        assert problem.keys() == {"type", "title", "status", "detail", "code"}
        assert problem["status"] == status


@pytest.mark.parametrize("path", ["/v1/tools", "/v1/nothing", "/v1/calls?x=1"])
async def test_every_answer_is_private_to_its_reader(client: Client, path: str) -> None:
    """Not stored, not sniffed, and the server does not say what it is made of."""
    answer = await client.get(path)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Server"] == "toolbooth"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("size_bytes", "status"),
    [pytest.param(65_536, 422, id="64 KiB are read"), pytest.param(65_537, 413, id="more is not")],
)
async def test_bodies_are_bounded(client: Client, size_bytes: int, status: int) -> None:
    """Nobody fills the memory through the control port."""
    body = b'{"reason": "%b"}' % (b"x" * (size_bytes - 14))
    headers = {"Content-Type": "application/json"}
    answer = await client.put("/v1/switches/all", data=body, headers=headers)
    assert answer.status == status
    assert answer.content_type == "application/problem+json"


JSON = {"Content-Type": "application/json"}
KILL = b'{"reason": "x"}'


@pytest.mark.parametrize(
    ("method", "headers", "body", "status"),
    [
        pytest.param("PUT", {**JSON}, KILL, 401, id="no token"),
        pytest.param("PUT", {**JSON, "Authorization": "Bearer no"}, KILL, 401, id="a wrong token"),
        pytest.param("PUT", {**JSON, **VIEWER}, KILL, 403, id="the viewer's token"),
        pytest.param("DELETE", {**VIEWER}, None, 403, id="the viewer's token, to release"),
        pytest.param(
            "PUT", {**JSON, **ADMIN, "Host": "evil.example"}, KILL, 403, id="a rebound name"
        ),
        pytest.param(
            "PUT", {**JSON, **ADMIN, "Origin": "http://evil.example"}, KILL, 403, id="another page"
        ),
        pytest.param(
            "POST",
            {**ADMIN, "Content-Type": "application/x-www-form-urlencoded"},
            b"reason=x",
            415,
            id="a form",
        ),
        pytest.param(
            "PUT", {**ADMIN, "Content-Type": "text/plain"}, KILL, 415, id="JSON said to be text"
        ),
        pytest.param(
            "PUT", {**ADMIN, "Content-Type": "text/yaml"}, KILL, 415, id="JSON said to be YAML"
        ),
        pytest.param("PUT", {**ADMIN}, None, 400, id="no body"),
        pytest.param("PUT", {**JSON, **ADMIN}, b"{", 400, id="broken JSON"),
        pytest.param("PATCH", {**ADMIN}, None, 405, id="another method"),
    ],
)
async def test_hostile_changes(
    guarded: Client,
    desk: Desk,
    method: str,
    headers: dict[str, str],
    body: bytes | None,
    status: int,
) -> None:
    """None of these switches anything, and each is in the trail without a secret."""
    desk.switches.engage("run:r1", "stays", "alice")
    answer = await guarded.request(
        method,
        "/v1/switches/run:r1",
        headers=headers,
        data=body,
        skip_auto_headers=["Content-Type"],
    )
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    assert [(s.key, s.reason) for s in desk.switches.active()] == [("run:r1", "stays")]
    assert len(desk.audited) == 1
    assert "-token" not in json.dumps(desk.audited) + await answer.text()


async def test_tokens_open_what_they_are_for(guarded: Client, desk: Desk) -> None:
    """The viewer reads, the admin switches; the trail has the claimed name and the proven role."""
    assert (await guarded.get("/v1/tools", headers=VIEWER)).status == 200
    assert (await guarded.get("/v1/tools")).status == 401
    assert (await guarded.get("/v1/nothing")).status == 401, "no path is told to a stranger"
    headers = {**ADMIN, "Toolbooth-Actor": "alice"}
    answer = await guarded.put("/v1/switches/all", json={"reason": "x"}, headers=headers)
    assert answer.status == 200
    assert desk.switches.active()[0].actor == "alice"
    done = desk.audited[-1]
    assert (done["actor"], done["role"], done["outcome"]) == ("alice", "admin", "done")


async def test_a_bug_is_told_without_a_traceback(
    client: Client, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """500, a problem, and the stack only in the log."""
    desk.policy = None  # type: ignore[assignment]
    answer = await client.get("/v1/status")
    text = await answer.text()
    assert (answer.status, json.loads(text)["code"]) == (500, "internal_error")
    assert "Traceback" not in text
    assert "NoneType" not in text
    assert "Traceback" in caplog.text


async def test_an_absolute_target_is_sent_to_the_proxy_port(client: Client) -> None:
    """HTTP_PROXY set to the control port gets a sentence, not an open proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"GET http://127.0.0.1/v1/tools HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 400 ")


async def test_a_body_that_trickles_is_not_waited_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """408 after a while, so that nobody holds connections for nothing."""
    monkeypatch.setattr(body, "LIMIT_S", 0.02)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(
        b"PUT /v1/switches/all HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Content-Type: application/json\r\nContent-Length: 15\r\n\r\n{"
    )
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 408 ")
