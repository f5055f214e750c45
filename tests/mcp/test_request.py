"""One request and what is answered if it is refused."""

import json

from proxy.mcp.message import PARSE_ERROR, BadJsonRpc, Message, read_messages
from proxy.mcp.request import McpRequest
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from tests.mcp.documents import a_policy, server_of

NO = Refusal(Reason.TOOL_NOT_ALLOWED, "No.")
SECTIONS = "  timeouts_ms: {docs: 4000, docs.delete: 1000}\n"
TOOLS = "{search: {cost_usd: 0.5}, delete: {cost_usd: 0.25}}"


def a_request(*messages: Message, is_batch: bool = False) -> McpRequest:
    server = server_of(a_policy('"*"', SECTIONS, TOOLS, "      cost_usd: 2\n"))
    request = McpRequest(server, "c-1", None)
    request.messages, request.is_batch = messages, is_batch
    return request


def call(name: str, given: str | int | None = 1, digest: bytes = b"") -> Message:
    return Message("tools/call", given, name, digest)


def test_a_batch_costs_what_its_calls_cost_and_has_the_least_time() -> None:
    request = a_request(
        call("search"), Message("ping", 2), call("delete", 3), call("other", 4), is_batch=True
    )
    assert request.names == ("docs.search", "docs.delete", "docs.other")
    assert [rule.name for rule in request.rules] == ["docs.search", "docs.delete", "docs"]
    assert request.cost_micros == 2_750_000
    assert request.strictest_rule.name == "docs.delete"


def test_what_calls_no_tool_is_free_and_the_server_s() -> None:
    request = a_request(Message("tools/list", 1))
    assert (request.calls, request.names, request.cost_micros) == ((), (), 0)
    assert [rule.name for rule in request.rules] == ["docs"]
    assert request.lists_tools
    assert not request.is_open_ended
    assert a_request().is_open_ended
    assert a_request(Message("subscriptions/listen", 1)).is_open_ended


def test_a_call_beside_a_stream_for_messages_keeps_its_time() -> None:
    listen = Message("subscriptions/listen", 2)
    assert not a_request(call("search"), listen, is_batch=True).is_open_ended
    assert a_request(listen, Message("ping", 3), is_batch=True).is_open_ended


def test_a_batch_is_repeated_as_often_as_the_one_repeated_least() -> None:
    """Whichever of them has the least time."""
    sections = SECTIONS + "  retries: {max: 2, docs.search: {max: 0}}\n"
    request = McpRequest(server_of(a_policy('"*"', sections, TOOLS)), "c-1", None)
    request.messages = (call("search"), call("delete"))
    rule = request.strictest_rule
    assert (rule.name, rule.retries.max_retries) == ("docs.delete", 0)
    request.messages = (call("delete"),)
    assert request.strictest_rule.retries.max_retries == 2


def test_an_odd_name_is_not_shown() -> None:
    assert a_request(call("se\r\narch")).names == ("docs",)


def test_equal_calls_are_equal_whatever_their_ids_and_the_order_of_keys() -> None:
    def body(arguments: str, given: int) -> tuple[bytes, ...]:
        text = f'{{"jsonrpc":"2.0","id":{given},"method":"tools/call","params":{{"name":"a",'
        text += f'"arguments":{arguments},"_meta":{{"progressToken":{given}}}}}}}'
        return a_request(*read_messages(text.encode())[0]).loop_bodies

    same = body('{"x":1,"y":{"b":2,"a":1}}', 1)
    assert same == body('{ "y":{"a":1,"b":2},"x":1}', 2)
    assert same != body('{"x":1,"y":{"b":2,"a":2}}', 1)


def test_each_request_of_a_refused_batch_is_told_its_own() -> None:
    request = a_request(call("search"), call("delete", "b"), call("x", None), is_batch=True)
    request.refusals = {1: NO}
    first, second = json.loads(request.refusal_as_json(NO) or b"")
    assert first["result"]["content"][0]["text"].startswith("Not sent, since another")
    assert (second["id"], second["result"]["content"][0]["text"]) == ("b", "No.")


def test_who_waits_for_nothing_is_told_nothing() -> None:
    assert a_request(call("search", None)).refusal_as_json(NO) == b""
    assert a_request(Message("", 1)).refusal_as_json(NO) == b""


def test_what_was_not_read_has_no_form_in_the_protocol() -> None:
    assert a_request().refusal_as_json(NO) is None


def test_a_fault_is_an_error_with_the_id_if_it_could_be_read() -> None:
    request = a_request()
    request.fault = BadJsonRpc("What?", PARSE_ERROR)
    said = json.loads(request.refusal_as_json(request.fault.refusal) or b"")
    assert (said["id"], said["error"]["code"]) == (None, PARSE_ERROR)
    request.messages = (call("search", 9),)
    assert json.loads(request.refusal_as_json(NO) or b"")["id"] == 9


def test_only_those_still_waiting_are_told_at_the_end_of_a_stream() -> None:
    request = a_request(call("search", 1), call("delete", "1"), is_batch=True)
    said = request.refusal_as_events(NO, {(str, "1")})
    assert said.count(b"event: message") == 1
    assert b'"id":"1"' in said
