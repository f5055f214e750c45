"""One HTTP request to an MCP server: what it says, and what is answered if we refuse it (pure)."""

from dataclasses import replace

from proxy.mcp.answer import answer_to, as_events, as_json, error_to
from proxy.mcp.judge import full_name, rule_of
from proxy.mcp.message import LIST, LISTEN, BadJsonRpc, Message
from proxy.model.errors import Refusal
from proxy.policy.authorize import is_mcp_tool_name
from proxy.policy.policy import ToolRule

Key = tuple[type, str | int]  # of a request: the ids 1 and "1" are two


class McpRequest:
    """Mutable, one a call. `messages` is empty until they have been read, and for a GET or DELETE.

    `refusals` by place of the message: those that were judged on their own. All else that ends the
    call is told to every message.
    """

    __slots__ = (
        "_server", "call_id", "fault", "is_batch", "messages", "refusals", "server_refusal",
        "version",
    )  # fmt: skip

    def __init__(self, server: ToolRule, call_id: str, server_refusal: Refusal | None) -> None:
        self._server = server
        self.call_id = call_id
        self.server_refusal = server_refusal  # the server as such may not be spoken to
        self.version = ""
        self.messages: tuple[Message, ...] = ()
        self.is_batch = False
        self.refusals: dict[int, Refusal] = {}
        self.fault: BadJsonRpc | None = None

    @property
    def calls(self) -> tuple[Message, ...]:
        """The messages that call a tool."""
        return tuple(message for message in self.messages if message.is_call)

    @property
    def names(self) -> tuple[str, ...]:
        """Of each call, in order, in full; the server's where no tool can be called that."""
        return tuple(
            full_name(self._server, name) if is_mcp_tool_name(name) else self._server.name
            for name in (call.name or "" for call in self.calls)
        )

    @property
    def rules(self) -> tuple[ToolRule, ...]:
        """Of each call, in order; of the server where no tool is called."""
        rules = tuple(rule_of(self._server, call.name or "") for call in self.calls)
        return rules or (self._server,)

    @property
    def strictest_rule(self) -> ToolRule:
        """The rule that bounds the request as a whole: the one with the least time, with the
        retries of the one that is repeated least."""
        rules = self.rules
        least = min(rules, key=lambda rule: rule.timeouts.call_s)
        retries = min((rule.retries for rule in rules), key=lambda retry: retry.max_retries)
        return least if least.retries is retries else replace(least, retries=retries)

    @property
    def cost_micros(self) -> int:
        """What its calls cost together; all other messages are free."""
        return sum(rule.cost_micros for rule in self.rules) if self.calls else 0

    @property
    def loop_bodies(self) -> tuple[bytes, ...]:
        """What makes two calls the same for loop detection, of each call, in order: the tool and
        its arguments, whatever the ids and the order of keys."""
        return tuple((call.name or "").encode() + b"\0" + call.digest for call in self.calls)

    @property
    def lists_tools(self) -> bool:
        """Will the answer list the server's tools?"""
        return any(message.method == LIST for message in self.messages)

    @property
    def is_open_ended(self) -> bool:
        """Is its answer a stream that goes on for as long as the client wants: that of a GET, or
        of `subscriptions/listen`? Never that of a call, which has its tool's time."""
        methods = {message.method for message in self.messages}
        return not self.calls and (not methods or LISTEN in methods)

    @property
    def unanswered(self) -> set[Key]:
        """The requests whose answers are to come."""
        return {
            (type(one.id), one.id)
            for one in self.messages
            if one.wants_answer and one.id is not None
        }

    def refusal_as_json(self, refusal: Refusal) -> bytes | None:
        """The content that says `refusal`; empty where nobody waits for an answer, None where it
        has no form in the protocol."""
        if self.fault is not None:
            first = self.messages[0] if len(self.messages) == 1 and not self.is_batch else None
            given = first.id if first is not None and first.wants_answer else None
            return as_json(
                [error_to(given, self.fault.rpc_code, refusal, self.call_id)], is_batch=False
            )
        if not self.messages:
            return None
        answers = self._answers(refusal, self.unanswered)
        return as_json(answers, is_batch=self.is_batch) if answers else b""

    def refusal_as_events(self, refusal: Refusal, unanswered: set[Key]) -> bytes:
        """The last events of a stream that ends with `refusal`, for those still waiting."""
        return as_events(self._answers(refusal, unanswered))

    def _answers(self, refusal: Refusal, unanswered: set[Key]) -> list[dict[str, object]]:
        answers = []
        for place, message in enumerate(self.messages):
            if not message.wants_answer or (type(message.id), message.id) not in unanswered:
                continue
            own = self.refusals.get(place) or self._unsent(refusal)
            answers.append(answer_to(message, own, self.version, self.call_id))
        return answers

    def _unsent(self, refusal: Refusal) -> Refusal:
        """What the others of a batch are told when one of them is refused."""
        if not self.refusals:
            return refusal
        return refusal._replace(
            detail="Not sent, since another message of the same batch was refused: "
            + refusal.detail
        )
