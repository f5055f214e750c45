"""From a request's head to the question it puts: which way in, which target, who asks.

Everything is read off the raw target; the Host field routes nothing (RFC 9112 section 3.2.2). What
can be read in two ways is refused here, before any policy sees it.
"""

from typing import Final, NamedTuple

from proxy.listeners.identity import identify
from proxy.model.call import Caller, Mode, Origin, Target
from proxy.model.errors import BadMessage, Refusal, Stopped
from proxy.model.reason import Reason
from proxy.model.remember import Memory
from proxy.policy.match import find_gateway_tool
from proxy.policy.policy import Policy, ToolRule
from proxy.wire.forward import check_single_fields
from proxy.wire.head import RequestHead, field_values, times_forgotten
from proxy.wire.target import (
    check_host_field,
    has_dot_segment,
    parse_absolute,
    parse_connect,
    parse_origin_form,
)

_GATEWAY: Final = "/tools/"
_MAX_KNOWN: Final = 1024


class Inside(NamedTuple):
    """The tunnel a request came through: where it leads, and who opened it. The scheme says what
    the tunnel carries: plain HTTP, or TLS that ends here."""

    origin: Origin
    caller: Caller

    @property
    def mode(self) -> Mode:
        """The way in of the requests inside."""
        return Mode.INTERCEPTED if self.origin.scheme == "https" else Mode.TUNNEL_HTTP


class Question:
    """What a request asks: which way in, where to, who, and the tool where a gateway path names
    it."""

    __slots__ = ("caller", "gateway_rule", "mode", "target")

    def __init__(
        self, mode: Mode, target: Target, caller: Caller, gateway_rule: ToolRule | None
    ) -> None:
        self.mode = mode
        self.target = target
        self.caller = caller
        self.gateway_rule = gateway_rule


class Questions:
    """Reads them off the heads of one listener. A head that has been read before asks the same
    again, as long as its client and the policy are the same; at most 1,024 are remembered, and only
    of heads that are so themselves: another would never be found again."""

    __slots__ = ("_generation", "_memory", "_policy", "_via_token")

    def __init__(self, via_token: bytes) -> None:
        self._via_token = via_token
        self._policy: Policy | None = None  # under which they were read
        self._generation = 0  # of the heads they were read off
        self._memory: Memory[tuple[RequestHead, str], Question] = Memory(_MAX_KNOWN)

    def of(
        self, head: RequestHead, policy: Policy, client_address: str, inside: Inside | None
    ) -> Question:
        """Raises `BadMessage` for what is malformed, `Stopped` for a gateway path without a
        tool."""
        if inside is not None:
            return read_question(head, policy, client_address, self._via_token, inside)
        generation = times_forgotten()
        if policy is not self._policy or generation != self._generation:
            self._policy, self._generation = policy, generation
            self._memory.forget()
        key = (head, client_address)
        question = self._memory.known.get(key)
        if question is None:
            question = read_question(head, policy, client_address, self._via_token)
            if head.is_remembered:
                self._memory.keep(key, question)
        return question


def read_question(
    head: RequestHead, policy: Policy, client_address: str, via_token: bytes,
    inside: Inside | None = None,
) -> Question:  # fmt: skip
    """See `Questions.of`; `via_token` is how our own Via line names us."""
    _check_fields(head, policy.budgets.identity_headers, via_token)
    outer = inside.caller if inside is not None else None
    caller = identify(head, policy.budgets, client_address, outer)
    rule: ToolRule | None = None
    if inside is not None:
        mode, target = inside.mode, _inside_target(head, inside.origin)
    elif head.method == "CONNECT":
        mode, target = Mode.CONNECT, parse_connect(head.target)
    elif head.target.startswith("/"):
        mode = Mode.GATEWAY
        rule, target = _gateway_target(head, policy)
    else:
        mode, target = Mode.ABSOLUTE, parse_absolute(head.target, head.method)
    return Question(mode, target, caller, rule)


def _check_fields(head: RequestHead, identity: frozenset[bytes], via_token: bytes) -> None:
    """Raise `BadMessage` for fields that can be read in two ways, or not at all. Those of a section
    that was found good are not looked at again."""
    section, minor = head.section, head.minor
    if section.checked == (identity, via_token, minor):
        return
    check_single_fields(section, identity)
    hosts = field_values(section, b"host")
    if hosts:
        check_host_field(hosts[0])
    elif minor == 1:
        raise BadMessage("An HTTP/1.1 request needs a Host header.")
    if any(value.lower() != b"100-continue" for value in field_values(section, b"expect")):
        raise BadMessage("Only `Expect: 100-continue` is understood.", status=417)
    if any(value.find(via_token) >= 0 for value in field_values(section, b"via")):
        raise BadMessage("This request has been here before: two proxies point at each other.")
    section.checked = (identity, via_token, minor)


def _inside_target(head: RequestHead, origin: Origin) -> Target:
    """Inside a tunnel everything must agree with the authority the tunnel was judged by."""
    if head.method == "CONNECT":
        raise BadMessage("A tunnel inside a tunnel is not served.")
    if not head.target.startswith("/"):
        target = parse_absolute(head.target, head.method)
    else:
        target = parse_origin_form(head.target, origin.scheme, origin.host, origin.port)
    host, port = check_host_field(head.value(b"host") or b"")
    if target.origin != origin or host != origin.host or port not in (None, origin.port):
        raise BadMessage("The request names another host than its tunnel.")
    return target


def _gateway_target(head: RequestHead, policy: Policy) -> tuple[ToolRule, Target]:
    """`/tools/{name}/rest?query` to the tool's upstream, the rest byte for byte."""
    raw = head.target
    if not raw.startswith(_GATEWAY) or "#" in raw:
        raise BadMessage(
            "This is a proxy: send absolute URLs to it (set HTTP_PROXY), or /tools/NAME/ paths."
        )
    if b"origin" in head.named:
        raise BadMessage("The gateway serves programs, not web pages: the request has an Origin.")
    path, question, query = raw[len(_GATEWAY) :].partition("?")
    name, slash, rest = path.partition("/")
    if has_dot_segment("/" + rest):
        raise BadMessage("The gateway path has dot segments.")
    rule = find_gateway_tool(policy, name)
    if rule is None or rule.upstream is None:
        raise Stopped(
            Refusal(
                Reason.TOOL_UNKNOWN,
                "The gateway path names no tool with an upstream; use a name from the catalog.",
                "tools.catalog",
            )
        )
    forwarded = rule.upstream_path + slash + rest
    return rule, Target(rule.upstream, (forwarded or "/") + question + query)
