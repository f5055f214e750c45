"""May this call be made at all? The policy's own verdict, before switches, budgets and limits."""

from proxy.model.call import Mode, Target
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.policy.address import judge_literal
from proxy.policy.fields import MCP_TOOL_NAME
from proxy.policy.match import is_gateway_call_covered
from proxy.policy.path_glob import is_ambiguous_path
from proxy.policy.policy import Policy, ToolRule

_MAX_SHOWN_CHARS = 100


def authorize(rule: ToolRule | None, mode: Mode, method: str, target: Target) -> Refusal | None:
    """None if the policy permits the call, else why not. The first that applies decides:

    1. No tool has this destination: `tool_unknown`. Nothing is allowed that was not described.
    2. The tool is not on the allowlist: `tool_not_allowed`.
    3. The gateway would reach a method or path that the tool leaves out: `tool_unknown`.
    4. The host is an address that may not be dialled, or a number in disguise: `address_denied`.
       Names are judged by their addresses when these are known, at the moment of connecting.
    """
    if rule is None:
        return _unknown(mode, method, target)
    if not rule.allowed:
        return Refusal(
            Reason.TOOL_NOT_ALLOWED,
            f"Tool '{rule.name}' is not on the allowlist; do not retry, ask the operator to allow "
            "it or use another tool.",
            "tools.allowlist",
        )
    if mode is Mode.GATEWAY and not is_gateway_call_covered(rule, method, target.path):
        return _not_covered(rule, method, target)
    return _judge_host(rule, target.origin.host)


def authorize_tunnel(rules: tuple[ToolRule, ...], target: Target) -> Refusal | None:
    """`authorize` for the tools that `find_tunnel_tools` found. The first decides, as nobody sees
    which of them an opaque tunnel serves; where TLS is intercepted each request inside is judged
    by its own tool, so that one the tunnel could serve is enough."""
    rule = tunnel_rule(rules, target)
    return authorize(rule, Mode.CONNECT, "CONNECT", target)


def is_intercepted(rules: tuple[ToolRule, ...]) -> bool:
    """Is a tunnel to this host and port opened and read? One tool that wants it is enough, since
    its calls could be in there."""
    return any(rule.intercept_tls for rule in rules)


def tunnel_rule(rules: tuple[ToolRule, ...], target: Target) -> ToolRule | None:
    """The tool that a tunnel is counted under: see `authorize_tunnel`."""
    if is_intercepted(rules):
        for rule in rules:
            if authorize(rule, Mode.CONNECT, "CONNECT", target) is None:
                return rule
    return rules[0] if rules else None


def is_name_allowed(policy: Policy, name: str) -> bool:
    """Is this tool name on the allowlist: itself, `*`, or a `PREFIX.*` over it? For names that the
    catalog does not hold, such as the tools of an MCP server."""
    return is_on_allowlist(policy.allowlist, name)


def is_mcp_tool_name(name: str) -> bool:
    """Can a tool of an MCP server be called that? What else there is in Unicode has no place in a
    policy, in a header or in a label."""
    return MCP_TOOL_NAME.fullmatch(name) is not None


def authorize_mcp_tool(policy: Policy, server: ToolRule, tool: str) -> Refusal | None:
    """May this tool of an MCP server be called? By its full name alone: that the server may be
    spoken to allows none of its tools."""
    if not is_mcp_tool_name(tool):
        return Refusal(
            Reason.TOOL_NOT_ALLOWED,
            f"No tool of '{server.name}' can have this name; do not retry, use a name from its "
            "list of tools.",
            "tools.allowlist",
        )
    name = f"{server.name}.{tool}"
    if is_name_allowed(policy, name):
        return None
    return Refusal(
        Reason.TOOL_NOT_ALLOWED,
        f"Tool '{name}' is not on the allowlist; do not retry, ask the operator to allow it or use "
        "another tool.",
        "tools.allowlist",
    )


def is_on_allowlist(allowlist: frozenset[str], name: str) -> bool:
    """`is_name_allowed` for a bare list."""
    if name in allowlist or "*" in allowlist:
        return True
    dot = name.find(".")
    while dot != -1:
        if f"{name[:dot]}.*" in allowlist:
            return True
        dot = name.find(".", dot + 1)
    return False


def _unknown(mode: Mode, method: str, target: Target) -> Refusal:
    place = f"{method} {_shown(target)}" if mode is not Mode.CONNECT else _shown(target)
    if is_ambiguous_path(target.path):
        detail = (
            f"No tool covers {place}; if its host is right, send the path in its plain form, "
            "without '.', '..', ';', empty segments or encoded plain characters."
        )
    else:
        detail = (
            f"No tool covers {place}; do not retry, use a tool you were given or ask the operator "
            "to add this destination to the catalog."
        )
    return Refusal(Reason.TOOL_UNKNOWN, detail, "tools.catalog")


def _not_covered(rule: ToolRule, method: str, target: Target) -> Refusal:
    return Refusal(
        Reason.TOOL_UNKNOWN,
        f"Tool '{rule.name}' does not cover {method} {_shown(target)}; do not retry, use a method "
        "and path the tool offers or ask the operator to add this one.",
        f"tools.catalog.{rule.name}.match",
    )


def _judge_host(rule: ToolRule, host: str) -> Refusal | None:
    kind = judge_literal(host, rule.allow_addresses)
    if kind is None:
        return None
    return Refusal(
        Reason.ADDRESS_DENIED,
        f"Address {host} is not allowed for tool '{rule.name}' ({kind}); do not retry, use a "
        "public host name or ask the operator to open this address.",
        f"tools.catalog.{rule.name}.allow_addresses",
    )


def _shown(target: Target) -> str:
    """`host:port` and path, never the query, where secrets live; cut, and nothing unprintable."""
    host, port = target.origin.host, target.origin.port
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    path = target.path.partition("?")[0]
    if not (path.isascii() and path.isprintable()):
        path = "/(unprintable)"
    if len(path) > _MAX_SHOWN_CHARS:
        path = path[:_MAX_SHOWN_CHARS] + "..."
    return f"{authority}{path}"
