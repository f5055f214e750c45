"""Does a call of this tool change the world?"""

from proxy.model.call import Effect, Kind
from proxy.policy.policy import ToolRule

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def effect_of(rule: ToolRule, method: str) -> Effect:
    """What the policy declares, else what the method promises (RFC 9110 section 9.2.1): GET, HEAD
    and OPTIONS read. All others may write, CONNECT included, since nobody sees what it carries.

    A request to an MCP server reads until its messages have been read (`proxy.mcp.judge`): every
    message is a POST, and what counts is the tool."""
    if rule.kind is Kind.MCP:
        return Effect.READ
    if rule.effect is not None:
        return rule.effect
    return Effect.READ if method in _READING else Effect.WRITE
