"""Requests to an MCP server through the real data path."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from proxy.guards.places import Places
from proxy.mcp.message import MAX_BODY_BYTES
from proxy.model.call import Effect
from proxy.model.reason import Reason
from proxy.upstream.connection import UpstreamConnection
from tests.app.test_assemble import swap
from tests.fakes.mcp import (
    STREAM,
    Said,
    call,
    chunk,
    event,
    json_answer,
    mcp_policy,
    post,
    request,
    result,
    say,
    serving,
)
from tests.fakes.origin import Origin, OriginConnection
from tests.fakes.sidecar import Sidecar, read_answer

OK = json_answer(result())


async def one(raw_of: object, answer: bytes = OK, **policy: str) -> tuple[Said, Sidecar, Origin]:
    """One POST of a message (or of raw bytes made from the port)."""
    async with (
        Origin(serving(answer)) as origin,
        Sidecar(mcp_policy(origin.port, **policy)) as sidecar,
    ):
        raw = raw_of(origin.port) if callable(raw_of) else post(origin.port, raw_of)
        return await say(sidecar, raw), sidecar, origin


async def test_an_allowed_call_passes_as_the_tool_it_calls() -> None:
    said, sidecar, origin = await one(call("search", q="cats"))
    assert (said.status, said.json) == (200, result())
    assert said.headers["toolbooth-tool"] == "docs.search"
    assert b"Accept-Encoding: identity" in origin.heads[0]
    record = sidecar.records[0]
    assert (record.tool, record.code, record.method) == ("docs.search", Reason.OK, "POST")


async def test_a_tool_that_is_not_allowed_is_told_to_the_model() -> None:
    said, sidecar, origin = await one(call("drop", given="x-1"))
    assert (said.status, said.code, origin.heads) == (200, "tool_not_allowed", [])
    assert said.headers["content-type"] == "application/json"
    assert said.headers["proxy-status"].startswith("toolbooth; error=")
    assert said.json["id"] == "x-1"
    assert said.json["result"]["isError"] is True
    assert said.json["result"]["_meta"]["toolbooth/call_id"] == said.headers["toolbooth-call-id"]
    record = sidecar.records[0]
    assert (record.tool, record.status) == ("docs.drop", 200)
    assert record.code is Reason.TOOL_NOT_ALLOWED


async def test_the_modern_protocol_is_answered_in_kind() -> None:
    def raw(port: int) -> bytes:
        lines = ("MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: drop")
        return post(port, call("drop"), *lines)

    said, _, _ = await one(raw)
    assert said.json["result"]["resultType"] == "complete"


@pytest.mark.parametrize(
    ("message", "allowlist", "passes"),
    [
        (request("initialize"), "docs.search", True),
        (request("tools/list"), "docs.search", True),
        (request("resources/read", uri="docs://a"), "docs.search", False),
        (request("resources/read", uri="docs://a"), "docs", True),
        (request("made/up"), "docs.search", False),
        (call("search"), "docs", False),
    ],
)
async def test_other_messages(message: object, allowlist: str, passes: bool) -> None:
    """They are free and count nothing, as the header of what is left shows."""
    top = "runtime: {env: {AGENT_MAX_TOOL_CALLS: 5}}\n"
    said, _, origin = await one(message, allowlist=allowlist, top=top)
    assert bool(origin.heads) is passes
    if passes:
        assert said.headers["toolbooth-budget"] == "tool-calls=5"
    else:
        assert said.code == "tool_not_allowed"


async def test_a_refused_request_that_calls_no_tool_gets_a_json_rpc_error() -> None:
    said, _, _ = await one(request("resources/list", 4), allowlist="docs.search")
    assert (said.status, said.json["id"], said.json["error"]["code"]) == (200, 4, -33001)


@pytest.mark.parametrize("message", [request("initialize"), call("search")])
async def test_a_server_that_is_not_allowed_is_refused_in_the_protocol(message: object) -> None:
    said, _, origin = await one(message, allowlist="other")
    assert (said.status, said.code, origin.heads) == (200, "tool_not_allowed", [])
    assert said.json["id"] == 1


async def test_a_refused_notification_is_accepted_and_goes_nowhere() -> None:
    said, sidecar, origin = await one(call("drop", given=None))
    assert (said.status, said.body, said.code) == (202, b"", "tool_not_allowed")
    assert origin.heads == []
    assert sidecar.records[0].status == 202


HOSTILE = [
    ("a key twice", b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', -32600),
    (
        "the name twice",
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","name":"drop"}}',
        -32600,
    ),
    (
        "another case",
        b'{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call","params":{"name":"drop"}}',
        -32600,
    ),
    (
        "content after the JSON",
        json.dumps(request("ping")).encode() + json.dumps(call("drop")).encode(),
        -32700,
    ),
    ("nothing", b"", -32700),
    ("UTF-16", json.dumps(call("drop")).encode("utf-16"), -32700),
    ("a batch in a batch", json.dumps([[call("drop")]]).encode(), -32600),
    ("a call without a name", json.dumps(request("tools/call")).encode(), -32600),
]


@pytest.mark.parametrize(
    ("content", "code"), [pytest.param(content, code, id=name) for name, content, code in HOSTILE]
)
async def test_what_could_be_read_in_two_ways_goes_nowhere(content: bytes, code: int) -> None:
    said, sidecar, origin = await one(lambda port: post(port, content))
    assert (said.status, said.code, origin.heads) == (400, "bad_request", [])
    assert (said.json["id"], said.json["error"]["code"]) == (None, code)
    assert [record.code for record in sidecar.records] == [Reason.BAD_REQUEST]


async def test_a_call_hidden_in_another_message_is_no_call() -> None:
    hidden = request("ping", message=call("drop"), _meta={"method": "tools/call"})
    said, _, origin = await one(hidden)
    assert said.headers["toolbooth-tool"] == "docs"
    assert len(origin.heads) == 1


@pytest.mark.parametrize("media", ["text/plain", "", "application/json; charset=utf-16"])
async def test_content_of_another_type_goes_nowhere(media: str) -> None:
    said, _, origin = await one(lambda port: post(port, call("search"), media=media))
    assert (said.status, said.code, origin.heads) == (415, "bad_request", [])


async def test_encoded_content_goes_nowhere() -> None:
    said, _, origin = await one(lambda port: post(port, call("search"), "Content-Encoding: gzip"))
    assert (said.status, origin.heads) == (415, [])


async def test_headers_that_disagree_with_the_body_are_told() -> None:
    def raw(port: int) -> bytes:
        lines = ("MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call", "Mcp-Name: search")
        return post(port, call("delete", given=3), *lines)

    said, _, origin = await one(raw)
    assert (said.status, origin.heads) == (400, [])
    assert (said.json["id"], said.json["error"]["code"]) == (3, -32020)


async def test_a_chunked_body_is_judged_and_sent_whole() -> None:
    bodies: list[bytes] = []
    async with (
        Origin(serving(OK, bodies)) as origin,
        Sidecar(mcp_policy(origin.port)) as sidecar,
    ):
        for name, status in (("search", "ok"), ("drop", "tool_not_allowed")):
            content = json.dumps(call(name)).encode()
            head = post(origin.port, b"").replace(
                b"Content-Length: 0", b"Transfer-Encoding: chunked"
            )
            pieces = chunk(content[:30]) + chunk(content[30:]) + b"0\r\n\r\n"
            await say(sidecar, head + pieces)
            assert sidecar.records[-1].code == status
    assert bodies == [json.dumps(call("search")).encode()]


async def test_a_broken_chunk_is_a_400_and_goes_nowhere() -> None:
    def raw(port: int) -> bytes:
        head = post(port, b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        return head + b"zz\r\n{}\r\n0\r\n\r\n"

    said, sidecar, origin = await one(raw)
    assert (said.status, origin.heads, len(sidecar.records)) == (400, [], 1)


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)])
async def test_a_message_is_bounded_and_kept_whole_up_to_there(size: int, status: int) -> None:
    content = json.dumps(call("search", q="")).encode()
    content = content.replace(b'""', b'"' + b"x" * (size - len(content)) + b'"')
    assert len(content) == size
    said, _, origin = await one(lambda port: post(port, content))
    assert (said.status, bool(origin.heads)) == (status, status == 200)
    if status == 413:
        assert said.code == "request_too_large"


async def test_a_client_that_expects_a_100_gets_it_before_its_message_is_judged() -> None:
    content = json.dumps(call("drop")).encode()
    async with Origin(serving(OK)) as origin, Sidecar(mcp_policy(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        head = post(origin.port, content, "Expect: 100-continue").removesuffix(content)
        writer.write(head)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 100")
        writer.write(content)
        assert b"isError" in await read_answer(reader)
        writer.close()


@pytest.mark.parametrize(
    ("line", "status"),
    [("GET", 200), ("DELETE", 200), ("PUT", 400), ("PATCH", 400), ("QUERY", 400)],
)
async def test_methods_other_than_post(line: str, status: int) -> None:
    def raw(port: int) -> bytes:
        host = f"127.0.0.1:{port}"
        return f"{line} http://{host}/mcp HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()

    said, _, origin = await one(raw)
    assert (said.status, bool(origin.heads)) == (status, status == 200)


async def test_a_get_with_content_goes_nowhere() -> None:
    said, _, origin = await one(lambda port: post(port, call("drop")).replace(b"POST", b"GET", 1))
    assert (said.status, origin.heads) == (400, [])


async def test_no_other_protocol_is_spoken_behind_an_upgrade() -> None:
    def raw(port: int) -> bytes:
        return (
            f"GET http://127.0.0.1:{port}/mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        ).encode()

    _, _, origin = await one(raw)
    assert b"websocket" not in origin.received


# --- switches -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("tool:docs.search", "tool_disabled"),
        ("tool:docs", "tool_disabled"),
        ("run:run-1", "run_stopped"),
        ("all", "all_disabled"),
        ("tool:docs.delete", ""),
        ("tool:docs.Search", ""),
        ("writes", ""),
    ],
)
async def test_switches(key: str, code: str) -> None:
    async with Origin(serving(OK)) as origin, Sidecar(mcp_policy(origin.port)) as sidecar:
        sidecar.booth.switches.engage(key, "an incident", "me")
        said = await say(sidecar, post(origin.port, call("search"), "X-Agent-Run-Id: run-1"))
        assert (said.status, said.code) == (200, code)
        if code:
            assert said.json["result"]["isError"] is True


async def test_writes_switched_off_leave_the_protocol_and_reading() -> None:
    async with Origin(serving(OK)) as origin, Sidecar(mcp_policy(origin.port)) as sidecar:
        sidecar.booth.switches.engage("writes", "an incident", "me")
        codes = [
            (await say(sidecar, post(origin.port, message))).code
            for message in (request("initialize"), call("search"), call("delete"))
        ]
        assert codes == ["", "", "writes_disabled"]


async def test_a_kill_ends_a_call_under_way_and_says_so_on_its_stream() -> None:
    started = asyncio.Event()
    progress = event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}})

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(STREAM + chunk(progress + b"event: mess"))
        started.set()
        await connection.reader.read()

    async with Origin(script) as origin, Sidecar(mcp_policy(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(post(origin.port, call("search", given=5)))
        await started.wait()
        assert b"notifications/progress" in await reader.readuntil(b"\n\n\r\n")
        sidecar.booth.switches.engage("tool:docs.delete", "another", "me")
        sidecar.booth.switches.engage("tool:docs.search", "enough", "me")
        rest = await reader.readuntil(b"0\r\n\r\n")
        answer = json.loads(rest.partition(b"data: ")[2].partition(b"\n\n")[0])
        assert (answer["id"], answer["result"]["isError"]) == (5, True)
        assert "enough" in answer["result"]["content"][0]["text"]
        assert b"event: mess\n" not in rest
        writer.write(post(origin.port, call("drop")))  # the connection goes on
        assert b"isError" in await read_answer(reader)
        writer.close()
    assert [record.code for record in sidecar.records] == ["tool_disabled", "tool_not_allowed"]


# --- budgets and limits -------------------------------------------------------------------


async def test_a_budget_that_is_spent_is_told_and_the_protocol_goes_on() -> None:
    top = "runtime: {env: {AGENT_MAX_TOOL_CALLS: 1}}\n"
    async with Origin(serving(OK)) as origin, Sidecar(mcp_policy(origin.port, top=top)) as sidecar:
        codes = [
            (await say(sidecar, post(origin.port, message))).code
            for message in (call("search"), call("search"), request("tools/list"))
        ]
        assert codes == ["", "max_tool_calls", ""]


async def test_a_budget_of_bytes_holds_for_a_run_that_calls_no_tool() -> None:
    answer = json_answer(result(text="x" * 400))
    top = "budgets: {max_bytes: 300}\n"
    async with (
        Origin(serving(answer)) as origin,
        Sidecar(mcp_policy(origin.port, top=top)) as sidecar,
    ):
        await say(sidecar, post(origin.port, request("tools/list")))
        said = await say(sidecar, post(origin.port, request("tools/list", 7)))
        assert (said.code, said.json["id"], said.json["error"]["code"]) == ("max_bytes", 7, -33003)
        assert len(origin.heads) == 1


async def test_the_same_call_under_another_id_is_the_same_call() -> None:
    top = "budgets: {loop_limit: 2}\n"
    async with Origin(serving(OK)) as origin, Sidecar(mcp_policy(origin.port, top=top)) as sidecar:
        codes = [
            (await say(sidecar, post(origin.port, call("search", given=at, q=q)))).code
            for at, q in enumerate(("a", "a", "b", "a"))
        ]
        assert codes == ["", "", "", "loop_detected"]


async def test_a_tool_has_limits_of_its_own_and_the_others_share_their_server_s() -> None:
    sections = (
        "  rate_limits: {docs: {requests: 3, per_seconds: 3600},"
        " docs.search: {requests: 1, per_seconds: 3600}}\n"
    )
    async with (
        Origin(serving(OK)) as origin,
        Sidecar(
            mcp_policy(origin.port, sections=sections, allowlist='docs.delete, "*"')
        ) as sidecar,
    ):
        messages = [call("search"), call("search"), call("delete"), call("x"), call("y"), call("z")]
        answers = [await say(sidecar, post(origin.port, message)) for message in messages]
        limited = "rate_limited"
        assert [said.code for said in answers] == ["", limited, "", "", "", limited]
        meta = answers[-1].json["result"]["_meta"]
        assert meta["toolbooth/retryable"] is True
        assert meta["toolbooth/retry_after_ms"] > 1000
        figures = sidecar.telemetry.figures
        assert figures.tool_figures("docs.search")["calls"] == 2
        assert figures.tool_figures("docs.delete")["calls"] == 1
        assert figures.tool_figures("docs")["calls"] == 3
        assert figures.tool_figures("docs.x")["calls"] == 0


async def test_a_timeout_is_told_in_the_protocol() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.reader.read()

    sections = "  timeouts_ms: {docs.search: 50}\n"
    async with (
        Origin(script) as origin,
        Sidecar(mcp_policy(origin.port, sections=sections)) as sidecar,
    ):
        said = await say(sidecar, post(origin.port, call("search")))
    assert (said.status, said.code, said.json["result"]["isError"]) == (200, "timeout", True)


async def test_an_upstream_that_breaks_off_is_told_in_the_protocol() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        connection.reset()

    async with Origin(script) as origin, Sidecar(mcp_policy(origin.port)) as sidecar:
        said = await say(sidecar, post(origin.port, request("initialize")))
    assert (said.status, said.json["error"]["code"]) == (200, -33005)
    assert len(origin.connections) == 1  # nothing is sent twice


async def test_a_stream_that_breaks_off_ends_with_an_answer() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(STREAM + chunk(b": hello\n\n"))
        await connection.reader.read(1)
        connection.reset()

    async with Origin(script) as origin, Sidecar(mcp_policy(origin.port)) as sidecar:
        said = await say(sidecar, post(origin.port, call("search")))
    assert b"upstream_reset" in said.body
    assert said.body.endswith(b"0\r\n\r\n")


async def test_a_full_room_of_readers_is_told() -> None:
    async with Origin(serving(OK)) as origin, Sidecar(mcp_policy(origin.port)) as sidecar:
        sidecar.booth.early = Places(0, 0, most_waiting=0)
        assert (await say(sidecar, post(origin.port, call("search")))).code == ""
        said = await say(sidecar, post(origin.port, call("search"))[:-5])
        assert (said.status, said.code) == (503, "busy")


async def test_what_is_refused_anyhow_is_not_waited_for_in_a_crowd() -> None:
    async with (
        Origin(serving(OK)) as origin,
        Sidecar(mcp_policy(origin.port, allowlist="other")) as sidecar,
    ):
        sidecar.booth.early = Places(2, 2)
        half = post(origin.port, call("search"))[:-5]
        reader, writer = await sidecar.open()
        writer.write(half)
        async with asyncio.timeout(5):
            while not sidecar.booth.early.taken:
                await asyncio.sleep(0)
        said = await say(sidecar, half)
        assert (said.status, said.code) == (403, "tool_not_allowed")
        writer.write(post(origin.port, call("search"))[-5:])
        assert b"isError" in await read_answer(reader)
        writer.close()


# --- batches ------------------------------------------------------------------------------


async def test_a_batch_is_as_many_calls_as_it_holds() -> None:
    top = "runtime: {env: {AGENT_MAX_TOOL_CALLS: 3}}\n"
    tools = "{search: {cost_usd: 0.5}, delete: {cost_usd: 0.25}}"
    batch = [call("search"), request("ping", 2), call("delete", 3)]
    policy = {"top": top, "tools": tools}
    async with (
        Origin(serving(OK)) as origin,
        Sidecar(mcp_policy(origin.port, **policy)) as sidecar,
    ):
        said = await say(sidecar, post(origin.port, batch))
        assert said.headers["toolbooth-budget"] == "tool-calls=1"
        refused = await say(sidecar, post(origin.port, batch))
        assert refused.code == "max_tool_calls"
        assert [answer["id"] for answer in refused.json] == [1, 2, 3]
        assert len(origin.heads) == 1
        (run,) = sidecar.booth.ledger.runs(sidecar.booth.policy.budgets, 2)
        assert run.used.spend_micros == 750_000
    records = [(r.tool, r.code, r.cost_micros, r.attempts) for r in sidecar.records]
    assert sorted(records) == [
        ("docs.delete", "max_tool_calls", 0, 0),
        ("docs.delete", "ok", 250_000, 0),
        ("docs.search", "max_tool_calls", 0, 0),
        ("docs.search", "ok", 500_000, 1),
    ]
    assert len({record.call_id for record in sidecar.records}) == 4


async def test_one_that_is_refused_ends_the_batch() -> None:
    batch = [call("search"), call("drop", 2), call("drop", None), request("ping", "p")]
    said, sidecar, origin = await one(batch)
    assert (said.status, said.code, origin.heads) == (200, "tool_not_allowed", [])
    first, second, third = said.json
    assert first["result"]["content"][0]["text"].startswith("Not sent")
    assert "docs.drop" in second["result"]["content"][0]["text"]
    assert third["error"]["code"] == -33001
    assert [record.tool for record in sidecar.records].count("docs.drop") == 2


async def test_a_batch_takes_from_the_rate_for_each_of_its_calls() -> None:
    sections = "  rate_limits: {docs: {requests: 3, per_seconds: 3600}}\n"
    async with (
        Origin(serving(OK)) as origin,
        Sidecar(mcp_policy(origin.port, sections=sections)) as sidecar,
    ):
        said = await say(sidecar, post(origin.port, [call("search", at) for at in range(4)]))
        assert said.code == "rate_limited"
        assert sidecar.booth.slots.in_flight("docs") == 0


@pytest.mark.parametrize(
    ("names", "left"),
    [
        (["search"] * 4, 3),
        (["delete", "delete"], 3),
        (["search", "delete", "delete"], 3),
        (["search", "delete"], 2),
    ],
)
async def test_what_is_refused_takes_nothing_of_the_rate(names: list[str], left: int) -> None:
    """However many buckets it needs: the server's has 3, that of `delete` one."""
    sections = (
        "  rate_limits: {docs: {requests: 3, per_seconds: 3600},"
        " docs.delete: {requests: 1, per_seconds: 3600}}\n"
    )
    async with (
        Origin(serving(OK)) as origin,
        Sidecar(mcp_policy(origin.port, sections=sections)) as sidecar,
    ):
        batch = [call(name, at) for at, name in enumerate(names)]
        said = await say(sidecar, post(origin.port, batch))
        assert said.code == ("rate_limited" if left == 3 else "")
        codes = [(await say(sidecar, post(origin.port, call("search")))).code for _ in range(4)]
        assert codes.count("") == left


@pytest.mark.parametrize(
    ("batches", "code"),
    [
        (["aa"], ""),
        (["aaa"], "loop_detected"),
        (["baaa"], "loop_detected"),
        (["ab", "ac", "ad"], "loop_detected"),
        (["a", "a", "ba"], "loop_detected"),
        (["ab", "cd", "ba"], ""),
    ],
)
async def test_equal_calls_in_batches_are_equal_calls(batches: list[str], code: str) -> None:
    top = "budgets: {loop_limit: 2}\n"
    async with Origin(serving(OK)) as origin, Sidecar(mcp_policy(origin.port, top=top)) as sidecar:
        for batch in batches:
            calls: list[object] = [call("search", at, q=q) for at, q in enumerate(batch)]
            said = await say(sidecar, post(origin.port, calls if len(calls) > 1 else calls[0]))
    assert said.code == code


async def test_a_call_in_a_batch_that_opens_a_stream_keeps_its_deadline() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(STREAM + chunk(b": hello\n\n"))
        await connection.reader.read()

    sections = "  timeouts_ms: {docs.search: 60}\n"
    async with (
        Origin(script) as origin,
        Sidecar(mcp_policy(origin.port, sections=sections)) as sidecar,
    ):
        batch = [call("search"), request("subscriptions/listen", 2)]
        said = await say(sidecar, post(origin.port, batch))
    assert b'"toolbooth/code":"timeout"' in said.body
    assert sidecar.records[0].code == "timeout"


async def test_each_record_of_a_batch_has_its_cost_though_the_first_is_free() -> None:
    tools = "{search: {cost_usd: 0}, delete: {cost_usd: 0.25}}"
    batch = [call("search"), call("delete", 2), call("delete", 3)]
    _, sidecar, _ = await one(batch, tools=tools)
    costs = {record.call_id[-2:]: record.cost_micros for record in sidecar.records}
    assert sorted(costs.values()) == [0, 250_000, 250_000]


async def test_a_request_is_judged_by_the_server_as_it_is_once_the_request_is_read() -> None:
    """The policy was replaced while the content came: what writes there decides from then on."""
    stopped = asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.reader.read()
        stopped.set()

    async with Origin(script) as origin, Sidecar(mcp_policy(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        raw = post(origin.port, call("search"))
        writer.write(raw[:-5])
        async with asyncio.timeout(5):
            while not sidecar.booth.early.taken:
                await asyncio.sleep(0)
            swap(sidecar, mcp_policy(origin.port, tools="{search: {effect: write}}"))
            writer.write(raw[-5:])
            while not origin.heads:
                await asyncio.sleep(0)
            (live,) = sidecar.booth.live
            assert live.effect is Effect.WRITE
            sidecar.booth.switches.engage("writes", "an incident", "me")
            assert b"writes_disabled" in await read_answer(reader)
            await stopped.wait()
        writer.close()


# --- lists and streams --------------------------------------------------------------------


def a_get(port: int) -> bytes:
    host = f"127.0.0.1:{port}"
    return f"GET http://{host}/mcp HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def a_call(port: int) -> bytes:
    return post(port, call("search"))


def a_list(*names: str) -> dict[str, object]:
    return result(tools=[{"name": name} for name in names], ttlMs=90_000, cacheScope="public")


async def test_a_list_shows_what_may_be_called_now() -> None:
    listing = json_answer(a_list("search", "delete", "drop"), 'ETag: "1"')
    async with Origin(serving(listing)) as origin, Sidecar(mcp_policy(origin.port)) as sidecar:
        said = await say(sidecar, post(origin.port, request("tools/list")))
        assert [tool["name"] for tool in said.json["result"]["tools"]] == ["search", "delete"]
        assert said.json["result"]["ttlMs"] == 30_000
        assert "etag" not in said.headers
        sidecar.booth.switches.engage("writes", "an incident", "me")
        said = await say(sidecar, post(origin.port, request("tools/list")))
        assert [tool["name"] for tool in said.json["result"]["tools"]] == ["search"]


async def test_a_list_that_cannot_be_read_is_held_back_and_recorded() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n"
    said, sidecar, _ = await one(request("tools/list"), raw + b"Content-Length: 2\r\n\r\n\x1f\x8b")
    assert said.json["error"]["code"] == -33005
    assert "content-encoding" not in said.headers
    assert sidecar.records[0].code is Reason.UPSTREAM_INVALID


async def test_a_resumed_stream_is_filtered_and_outlives_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(STREAM + chunk(b": open\n\n"))
        asked.set()
        await go_on.wait()
        await connection.send(chunk(event(a_list("search", "drop"))) + b"0\r\n\r\n")

    sections = "  timeouts_ms: {docs: 60}\n"
    async with (
        Origin(script) as origin,
        Sidecar(mcp_policy(origin.port, sections=sections)) as sidecar,
    ):
        reader, writer = await sidecar.open()
        writer.write(
            f"GET http://127.0.0.1:{origin.port}/mcp HTTP/1.1\r\nHost: 127.0.0.1:{origin.port}\r\n"
            "Accept: text/event-stream\r\nLast-Event-ID: 7\r\n\r\n".encode()
        )
        await asked.wait()
        await reader.readuntil(b": open\n\n")
        (live,) = sidecar.booth.live
        assert live.deadline_s == float("inf")
        go_on.set()
        rest = await reader.readuntil(b"0\r\n\r\n")
        writer.close()
    assert b'"search"' in rest
    assert b"drop" not in rest
    assert b"Last-Event-ID: 7" in origin.heads[0]


@pytest.mark.parametrize(("raw_of", "limit_s"), [(a_get, 300.0), (a_call, 2.0)])
async def test_a_stream_for_messages_of_the_server_may_be_silent_for_longer(
    raw_of: Callable[[int], bytes], limit_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, limits = UpstreamConnection.begin, []

    def spy(self: UpstreamConnection, method: str, **more: Any) -> Any:
        limits.append(more["idle_limit_s"])
        return begin(self, method, **more)

    monkeypatch.setattr(UpstreamConnection, "begin", spy)
    await one(raw_of, sections="  timeouts_ms: {docs: {call: 9000, idle: 2000}}\n")
    assert limits == [limit_s]


def _of_run(raw: bytes, run: str) -> bytes:
    return raw.replace(b"\r\n\r\n", f"\r\nX-Agent-Run-Id: {run}\r\n\r\n".encode(), 1)


async def _endless(connection: OriginConnection) -> None:
    """Streams to whoever asks for one, and answers calls."""
    while head := await connection.read_head():
        if head.startswith(b"GET"):
            await connection.send(STREAM + chunk(b": hello\n\n"))
            await connection.reader.read()
            return
        if head.startswith(b"POST"):
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = await connection.read(length)
            if b"listen" in body:
                await connection.send(STREAM + chunk(b": hello\n\n"))
                await connection.reader.read()
                return
        await connection.send(OK)


def a_listener(port: int) -> bytes:
    return post(port, request("subscriptions/listen"))


@pytest.mark.parametrize("raw_of", [a_get, a_listener])
async def test_streams_leave_the_places_of_calls_alone(raw_of: Callable[[int], bytes]) -> None:
    """As many in all as the server has calls at once, four of a run; a DELETE is no stream."""
    sections = "  concurrency: {docs: 5}\n"
    opened = []
    async with (
        Origin(_endless) as origin,
        Sidecar(mcp_policy(origin.port, sections=sections)) as sidecar,
    ):
        raw = raw_of(origin.port)
        for run in ("a", "a", "a", "a", "b"):
            reader, writer = await sidecar.open()
            writer.write(_of_run(raw, run))
            async with asyncio.timeout(5):
                await reader.readuntil(b": hello\n\n")
            opened.append(writer)
        for run in ("a", "c"):
            assert (await say(sidecar, _of_run(raw, run))).code == "busy"
        assert (await say(sidecar, _of_run(post(origin.port, call("search")), "a"))).code == ""
        delete = a_get(origin.port).replace(b"GET", b"DELETE", 1)
        assert (await say(sidecar, _of_run(delete, "a"))).code == ""
        opened[0].close()
        async with asyncio.timeout(5):
            while len(sidecar.booth.live) == len(opened):
                await asyncio.sleep(0)
        reader, writer = await sidecar.open()
        writer.write(_of_run(raw, "b"))
        async with asyncio.timeout(5):
            await reader.readuntil(b": hello\n\n")
        for each in (*opened, writer):
            each.close()


async def test_the_answer_to_a_delete_has_its_time_though_it_be_a_stream() -> None:
    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(STREAM + chunk(b": hello\n\n"))
        await connection.reader.read()

    sections = "  timeouts_ms: {docs: 60}\n"
    async with (
        Origin(script) as origin,
        Sidecar(mcp_policy(origin.port, sections=sections)) as sidecar,
    ):
        await sidecar.exchange(a_get(origin.port).replace(b"GET", b"DELETE", 1))
    assert sidecar.records[0].code == "timeout"


async def test_a_client_that_leaves_closes_the_upstream() -> None:
    """It is how a call is cancelled since 2026-07-28."""
    started, closed = asyncio.Event(), asyncio.Event()

    async def script(connection: OriginConnection) -> None:
        await connection.read_head()
        await connection.send(STREAM + chunk(b": hello\n\n"))
        started.set()
        await connection.reader.read()
        closed.set()

    async with Origin(script) as origin, Sidecar(mcp_policy(origin.port)) as sidecar:
        reader, writer = await sidecar.open()
        writer.write(post(origin.port, call("search")))
        await started.wait()
        await reader.readuntil(b": hello\n\n")
        writer.transport.abort()
        async with asyncio.timeout(5):
            await closed.wait()
    assert [record.code for record in sidecar.records] == [Reason.CLIENT_GONE]
