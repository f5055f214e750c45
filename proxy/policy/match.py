"""From a request to the tool it is a call of: the first catalog entry that matches.

The catalog is looked up by host, so a decision costs the same with ten tools as with ten thousand
(those that share one host are tried in turn). Scheme plays no part; host, port, method and raw
path do. Nothing here asks whether the tool is allowed: that is `authorize`.
"""

from collections.abc import Iterator

from proxy.model.call import Origin
from proxy.policy.path_glob import is_ambiguous_path
from proxy.policy.policy import Destination, Policy, ToolIndex, ToolRule

__all__ = [
    "find_gateway_tool",
    "find_tool",
    "find_tunnel_tools",
    "is_ambiguous_path",
    "is_gateway_call_covered",
]

Entries = tuple[tuple[ToolRule, Destination], ...]


def find_tool(policy: Policy, origin: Origin, method: str, path: str) -> ToolRule | None:
    """The first catalog entry with a destination for this call, or None.

    `path` is raw and may carry its query, which is not looked at. An ambiguous path ends the
    search at the first destination that restricts paths on this host, port and method: what the
    upstream makes of it may be a path of that tool, so falling through to a later, wider entry
    would be a way around it.
    """
    best: ToolRule | None = None
    blocked = False
    for entries in _entries_for(policy.index, origin.host):
        for rule, destination in entries:
            if best is not None and rule.index >= best.index:
                break
            if not _accepts(destination, origin.port, method):
                continue
            globs = destination.globs
            if globs is None:
                best, blocked = rule, False
                break
            bare = path.partition("?")[0]
            if is_ambiguous_path(bare):
                best, blocked = rule, True
                break
            if globs.match(bare):
                best, blocked = rule, False
                break
    return None if blocked else best


def find_tunnel_tools(policy: Policy, host: str, port: int) -> tuple[ToolRule, ...]:
    """Every tool with a destination at this host and port, in catalog order.

    Methods and paths play no part, since a tunnel hides them. The first is the tunnel's tool.
    """
    found: dict[int, ToolRule] = {}
    for entries in _entries_for(policy.index, host):
        for rule, destination in entries:
            if destination.ports is None or port in destination.ports:
                found[rule.index] = rule
    return tuple(found[index] for index in sorted(found))


def find_gateway_tool(policy: Policy, name: str) -> ToolRule | None:
    """The tool behind `/tools/{name}/`: a catalog entry with an `upstream`."""
    rule = policy.tools.get(name)
    return rule if rule is not None and rule.upstream is not None else None


def is_gateway_call_covered(rule: ToolRule, method: str, path: str) -> bool:
    """May the gateway forward this method and path to the tool's upstream?

    The gateway names its tool, so hosts need no match; but a tool that restricts methods and paths
    does so by every way in. `path` is the one the upstream would get, `upstream`'s own prefix
    included. A tool with no `match` lines restricts nothing.
    """
    if not rule.destinations:
        return True
    bare = path.partition("?")[0]
    ambiguous: bool | None = None
    for destination in rule.destinations:
        if not _takes_method(destination, method):
            continue
        if destination.globs is None:
            return True
        if ambiguous is None:
            ambiguous = is_ambiguous_path(bare)
        if not ambiguous and destination.globs.match(bare):
            return True
    return False


def _entries_for(index: ToolIndex, host: str) -> Iterator[Entries]:
    """The lists that can hold a match, each in catalog order."""
    entries = index.exact.get(host)
    if entries is not None:
        yield entries
    suffix = index.suffix
    if suffix:
        dot = host.find(".")
        while dot != -1:
            entries = suffix.get(host[dot + 1 :])
            if entries is not None:
                yield entries
            dot = host.find(".", dot + 1)
    if index.anywhere:
        yield index.anywhere


def _accepts(destination: Destination, port: int, method: str) -> bool:
    ports = destination.ports
    return (ports is None or port in ports) and _takes_method(destination, method)


def _takes_method(destination: Destination, method: str) -> bool:
    """Case-sensitive (RFC 9110 section 9.1). HEAD asks for no more than GET does (9.3.2)."""
    methods = destination.methods
    return methods is None or method in methods or (method == "HEAD" and "GET" in methods)
