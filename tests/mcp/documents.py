"""A policy with one MCP server `docs`, for the tests here."""

from proxy.policy.compile import load_policy
from proxy.policy.policy import Policy, ToolRule


def a_policy(allowlist: str, sections: str = "", tools: str = "{}", entry: str = "") -> Policy:
    return load_policy(
        f"tools:\n  allowlist: [{allowlist}]\n{sections}"
        "  catalog:\n    docs:\n      upstream: http://docs.example\n      kind: mcp\n"
        f"{entry}      tools: {tools}\n"
    )


def server_of(policy: Policy) -> ToolRule:
    return policy.tools["docs"]
