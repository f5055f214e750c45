"""The policy's verdict on single messages."""

import pytest

from proxy.mcp.judge import (
    called,
    effect_of_message,
    effect_of_messages,
    judge_message,
    rule_of,
)
from proxy.mcp.message import Message
from proxy.model.call import Effect
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from tests.mcp.documents import a_policy, server_of

READ = Message("resources/read", 1, "docs://a")


def call(name: str) -> Message:
    return Message("tools/call", 1, name)


def verdict(allowlist: str, message: Message) -> Reason | None:
    policy = a_policy(allowlist)
    refusal = judge_message(policy, server_of(policy), message, lambda names, effect: None)
    return refusal.reason if refusal else None


@pytest.mark.parametrize(
    ("allowlist", "message", "is_allowed"),
    [
        pytest.param("docs.search", call("search"), True, id="the tool by its name"),
        pytest.param("docs.*", call("search"), True, id="all tools of the server"),
        pytest.param('"*"', call("search"), True, id="everything"),
        pytest.param("docs", call("search"), False, id="the server's name allows no tool"),
        pytest.param("docs.search", call("Search"), False, id="another case"),
        pytest.param("docs.search", call("searcher"), False, id="a longer name"),
        pytest.param("docs.search", call("search "), False, id="a space"),
        pytest.param('"*"', call(""), False, id="no name"),
        pytest.param('"*"', call("se\u0430rch"), False, id="a Cyrillic letter"),
        pytest.param('"*"', call("*"), False, id="a wildcard for a name"),
        pytest.param('"*"', call("a" * 129), False, id="a name too long"),
        pytest.param("docs.a.*", call("a.b"), True, id="a name with a dot"),
        pytest.param("docs.search", Message("initialize", 1), True, id="the handshake"),
        pytest.param("docs.search", Message("tools/list", 1), True, id="the list"),
        pytest.param("docs.search", Message("notifications/cancelled", None), True, id="a note"),
        pytest.param("docs.search", Message("", 1), True, id="a response"),
        pytest.param("docs.search", READ, False, id="a resource, with one tool allowed"),
        pytest.param("docs", READ, True, id="a resource, with the server"),
        pytest.param("docs.*", READ, True, id="a resource, with all its tools"),
        pytest.param("docs.search", Message("Tools/Call", 1), False, id="a method nobody knows"),
        pytest.param(
            "docs.search", Message("tools/call/", 1), False, id="one that is nearly known"
        ),
    ],
)
def test_what_may_be_sent(allowlist: str, message: Message, is_allowed: bool) -> None:
    assert verdict(allowlist, message) == (None if is_allowed else Reason.TOOL_NOT_ALLOWED)


def test_switches_are_asked_about_the_tool_and_its_effect() -> None:
    asked: list[tuple[tuple[str, ...], Effect]] = []
    policy = a_policy('"*"', tools="{search: {effect: read}}")
    no = Refusal(Reason.TOOL_DISABLED, "no")

    def switched_off(names: tuple[str, ...], effect: Effect) -> Refusal:
        asked.append((names, effect))
        return no

    for message in (call("search"), call("delete"), Message("ping", 1)):
        assert judge_message(policy, server_of(policy), message, switched_off) is no
    assert asked == [
        (("docs.search",), Effect.READ), (("docs.delete",), Effect.WRITE), ((), Effect.READ),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "message", "effect"),
    [
        ("", call("search"), Effect.READ),
        ("", call("delete"), Effect.WRITE),
        ("      effect: read\n", call("delete"), Effect.READ),
        ("      effect: write\n", call("search"), Effect.READ),
        ("      effect: write\n", Message("tools/list", 1), Effect.READ),
        ("", READ, Effect.READ),
        ("", Message("tasks/cancel", 1), Effect.WRITE),
        ("      effect: read\n", Message("tasks/cancel", 1), Effect.READ),
    ],
)
def test_effects(entry: str, message: Message, effect: Effect) -> None:
    server = server_of(a_policy('"*"', tools="{search: {effect: read}}", entry=entry))
    assert effect_of_message(server, message) is effect


def test_one_that_writes_makes_a_batch_write() -> None:
    server = server_of(a_policy('"*"', tools="{search: {effect: read}}"))
    assert effect_of_messages(server, [call("search"), Message("ping", 1)]) is Effect.READ
    assert effect_of_messages(server, [call("search"), call("delete")]) is Effect.WRITE
    assert effect_of_messages(server, []) is Effect.READ


def test_called_are_the_tools_that_can_be() -> None:
    server = server_of(a_policy('"*"'))
    messages = [call("a"), Message("ping", 1), call("b c"), call("d/e")]
    assert called(server, messages) == ("docs.a", "docs.d/e")


def test_a_tool_the_policy_does_not_name_goes_by_its_server() -> None:
    server = server_of(a_policy("docs.search"))
    assert rule_of(server, "search").name == "docs.search"
    assert rule_of(server, "other") is server
