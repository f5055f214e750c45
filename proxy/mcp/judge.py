"""May this message be sent to the MCP server? The policy's verdict, message by message (pure).

Three kinds. A call of a tool is judged as the tool `NAME.TOOL`. The messages without which the
protocol cannot be spoken pass as soon as the server or one of its tools is allowed. Everything
else (resources, prompts, tasks, methods nobody knows) needs the server as a whole.
"""

from collections.abc import Callable, Iterable

from proxy.mcp.message import PROTOCOL, READING, Message
from proxy.model.call import Effect
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.policy.authorize import authorize_mcp_tool, is_mcp_tool_name, is_name_allowed
from proxy.policy.policy import Policy, ToolRule

SwitchedOff = Callable[[tuple[str, ...], Effect], Refusal | None]


def full_name(server: ToolRule, tool: str) -> str:
    """What a tool of this server is called in the policy, in records and by operators."""
    return f"{server.name}.{tool}"


def rule_of(server: ToolRule, tool: str) -> ToolRule:
    """The rule of one tool: its own if the policy names it, else its server's."""
    return server.variants.get(tool, server)


def called(server: ToolRule, messages: Iterable[Message]) -> tuple[str, ...]:
    """The full names of the tools these messages call; those with names no tool can have are left
    out, as they are refused."""
    return tuple(
        full_name(server, message.name)
        for message in messages
        if message.is_call and message.name is not None and is_mcp_tool_name(message.name)
    )


def effect_of_message(server: ToolRule, message: Message) -> Effect:
    """Does it change the world? A tool does unless the policy says that it only reads; so does a
    method that nobody knows."""
    if message.is_call:
        return rule_of(server, message.name or "").effect or Effect.WRITE
    if is_protocol(message) or message.method in READING:
        return Effect.READ
    return server.effect or Effect.WRITE


def effect_of_messages(server: ToolRule, messages: Iterable[Message]) -> Effect:
    """Of all of them: one that writes is enough."""
    effects = {effect_of_message(server, message) for message in messages}
    return Effect.WRITE if Effect.WRITE in effects else Effect.READ


def is_protocol(message: Message) -> bool:
    """Is it one of those without which there is no conversation? Responses are: the server asked
    for them."""
    method = message.method
    return not method or method in PROTOCOL or method.startswith("notifications/")


def judge_message(
    policy: Policy, server: ToolRule, message: Message, switched_off: SwitchedOff
) -> Refusal | None:
    """None if it may be sent, else why not. `switched_off` is asked last, about the tools called
    and the effect."""
    names: tuple[str, ...] = ()
    if message.is_call:
        tool = message.name or ""
        refusal = authorize_mcp_tool(policy, server, tool)
        if refusal is not None:
            return refusal
        names = (full_name(server, tool),)
    elif not is_protocol(message) and not _is_whole_allowed(policy, server):
        return _not_whole(server)
    return switched_off(names, effect_of_message(server, message))


def _is_whole_allowed(policy: Policy, server: ToolRule) -> bool:
    return is_name_allowed(policy, server.name) or f"{server.name}.*" in policy.allowlist


def _not_whole(server: ToolRule) -> Refusal:
    return Refusal(
        Reason.TOOL_NOT_ALLOWED,
        f"Only single tools of '{server.name}' are allowed, and this method goes beyond them; do "
        "not retry, call one of its tools.",
        "tools.allowlist",
    )
