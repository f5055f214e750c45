"""What loads, but may not do what its author expects: the warnings of `toolbooth check`."""

from collections.abc import Iterable, Iterator, Mapping

from proxy.model.call import PROBE_HOST, Kind, Origin, is_probe_host
from proxy.policy.address import (
    METADATA_NETWORKS,
    NumericSpelling,
    judge_literal,
    literal_address,
)
from proxy.policy.catalog import CatalogEntry
from proxy.policy.path_glob import covers
from proxy.policy.policy import Destination, Network, ToolRule, TunnelRule
from proxy.policy.schema import PolicyDocument

_MAX_COMPARISONS = 200_000  # a catalog beyond that is not searched further for dead entries


def caveats(document: PolicyDocument, rules: Mapping[str, ToolRule]) -> Iterator[str]:
    """One sentence each, beginning with the path it is about."""
    yield from _names(document, rules)
    for name, entry in document.tools.catalog.items():
        yield from _entry(f"tools.catalog.{name}", entry, rules[name])
    yield from _shadowed(rules)
    yield from _unjudged(rules)
    if document.rollout is not None:
        yield "rollout: has no effect in this version"


def _names(document: PolicyDocument, rules: Mapping[str, ToolRule]) -> Iterator[str]:
    tools = document.tools
    for name in tools.allowlist:
        if "*" not in name and name not in rules and not _is_mcp_tool(name, rules):
            yield f"tools.allowlist: '{name}' has no destination, as the catalog does not hold it"
        elif name.endswith(".*") and not any(_is_under(known, name) for known in rules):
            yield f"tools.allowlist: '{name}' has no destination, as no catalog entry fits it"
    for name, rule in rules.items():
        if any(f"{name}.{tool}" in rules for tool in rule.variants):
            yield f"tools.catalog.{name}: has a tool that is called like another catalog entry"
        if not rule.allowed:
            yield f"tools.catalog.{name}: is not on the allowlist, so every call is refused"
        elif rule.kind is Kind.MCP and not _allows_a_tool(name, tools.allowlist):
            yield (
                f"tools.allowlist: '{name}' lets the MCP server be spoken to, but none of its "
                f"tools be called; list '{name}.*' or '{name}.TOOL'"
            )
    sections: dict[str, Iterable[str]] = {
        "timeouts_ms": tools.timeouts_ms.per_tool,
        "retries": tools.retries.per_tool,
        "rate_limits": tools.rate_limits.per_tool,
        "concurrency": tools.concurrency.per_tool,
    }
    for name in tools.disabled:
        if name not in rules and not _is_mcp_tool(name, rules):
            yield f"tools.disabled: '{name}' is not in the catalog, so there is nothing to disable"
    for name in document.observability.sample_rates:
        if name not in rules:
            path = f"observability.sample_rates.{name}"
            yield f"{path}: has no effect, as the catalog does not hold it"
    for section, entries in sections.items():
        for name in entries:
            if name not in rules and not _is_mcp_tool(name, rules):
                yield f"tools.{section}.{name}: has no effect, as the catalog does not hold it"


def _is_under(known: str, wildcard: str) -> bool:
    return known == wildcard[:-2] or known.startswith(wildcard[:-1])


def _allows_a_tool(server: str, allowlist: Iterable[str]) -> bool:
    """Could a tool of this MCP server be on the allowlist?"""
    return any(
        listed == "*"
        or listed.startswith(f"{server}.")
        or (listed.endswith(".*") and server.startswith(listed[:-1]))
        for listed in allowlist
    )


def _is_mcp_tool(name: str, rules: Mapping[str, ToolRule]) -> bool:
    parts = name.split(".")
    heads = (rules.get(".".join(parts[:count])) for count in range(1, len(parts)))
    return any(head is not None and head.kind is Kind.MCP for head in heads)


def _entry(path: str, entry: CatalogEntry, rule: ToolRule) -> Iterator[str]:
    if entry.pricing is not None and entry.kind != "model":
        yield f"{path}.pricing: has no effect, as only the answers of `kind: model` have a `usage`"
    if rule.credentials is not None and rule.upstream is not None and _is_exposed(rule.upstream):
        yield (
            f"{path}.credentials: cross the network in the clear, as `upstream` is plain http to "
            "another host"
        )
    for place, destination in enumerate(rule.destinations):
        yield from _destination(f"{path}.match[{place}]", entry, rule, destination)
    if entry.intercept_tls and not rule.destinations:
        yield f"{path}.intercept_tls: has no effect without `match`, as no tunnel leads to it"
    elif entry.intercept_tls and rule.tunnel != TunnelRule():
        yield f"{path}.tunnel: has no effect, as tunnels to this tool are intercepted"
    if rule.upstream is not None and judge_literal(rule.upstream.host, rule.allow_addresses):
        yield f"{path}.upstream: is not a public address and not in allow_addresses, so refused"
    if rule.upstream is not None and is_probe_host(rule.upstream.host):
        yield f"{path}.upstream: {PROBE_HOST} is the sidecar's own name, and resolves to nothing"
    for place, network in enumerate(rule.allow_addresses):
        yield from _opened(f"{path}.allow_addresses[{place}]", network)


def _is_exposed(upstream: Origin) -> bool:
    """Does what is sent there leave this host unencrypted?"""
    if upstream.scheme == "https":
        return False
    name = upstream.host
    address = literal_address(name)
    if address is None or isinstance(address, NumericSpelling):
        return name != "localhost" and not name.endswith(".localhost")
    return not address.is_loopback


def _destination(
    path: str, entry: CatalogEntry, rule: ToolRule, destination: Destination
) -> Iterator[str]:
    if is_probe_host(destination.host):
        yield f"{path}.host: {PROBE_HOST} is the sidecar's own name, which it answers itself"
    restricted = destination.methods is not None or destination.paths is not None
    encrypted = destination.ports is None or 443 in destination.ports
    if rule.kind is Kind.MCP and encrypted and not entry.intercept_tls:
        yield (
            f"{path}: the tools of an MCP server are not seen inside a TLS tunnel, so tunnels are "
            "closed; set intercept_tls, or let agents use the gateway path"
        )
    elif restricted and encrypted and not entry.intercept_tls:
        yield (
            f"{path}: methods and paths are not seen inside a tunnel (HTTPS to port 443), only "
            "the host is; leave 443 out of ports to refuse tunnels"
        )
    if destination.host == "*" and entry.intercept_tls:
        yield (
            f"{path}: every host may be intercepted, so the sidecar's CA has no name constraints; "
            "whoever gets its key can pose as any host"
        )
    if judge_literal(destination.host, rule.allow_addresses) is not None:
        yield f"{path}.host: is not a public address and not in allow_addresses, so refused"


def _opened(path: str, network: Network) -> Iterator[str]:
    for metadata in METADATA_NETWORKS:
        if network.version != metadata.version or not network.overlaps(metadata):
            continue
        if network.prefixlen == network.max_prefixlen:
            yield f"{path}: opens a metadata service, which hands out credentials"
        else:
            yield (
                f"{path}: holds the metadata service {metadata}, which stays closed unless its "
                "exact address is listed"
            )


def _shadowed(rules: Mapping[str, ToolRule]) -> Iterator[str]:
    """Entries that only the gateway can reach, since an earlier one takes every call."""
    earlier: dict[str, list[tuple[str, Destination]]] = {}
    left = _MAX_COMPARISONS
    for rule in rules.values():
        shadows = []
        for destination in rule.destinations:
            candidates = [
                candidate
                for host in _covering_hosts(destination.host)
                for candidate in earlier.get(host, ())
            ]
            left -= len(candidates)
            if left < 0:
                return
            shadows.append(
                next((name for name, wide in candidates if _is_wider(wide, destination)), None)
            )
        if shadows and None not in shadows and rule.upstream is None:
            yield f"tools.catalog.{rule.name}: can never match, as '{shadows[0]}' takes its calls"
        for destination in rule.destinations:
            earlier.setdefault(destination.host, []).append((rule.name, destination))


def _unjudged(rules: Mapping[str, ToolRule]) -> Iterator[str]:
    """MCP servers known by their `upstream`, which an entry of another kind lets agents reach by
    its host: what is said there is read by nobody."""
    servers = [rule for rule in rules.values() if rule.kind is Kind.MCP and rule.upstream]
    ways: dict[str, list[tuple[ToolRule, Destination]]] = {}
    for rule in rules.values() if servers else ():
        for destination in rule.destinations:
            ways.setdefault(destination.host, []).append((rule, destination))
    left = _MAX_COMPARISONS
    for server in servers:
        host = server.upstream.host if server.upstream is not None else ""
        found = [way for pattern in _covering_hosts(host) for way in ways.get(pattern, ())]
        left -= len(found)
        if left < 0:
            return
        name = _way_around(server, found)
        if name is not None:
            yield (
                f"tools.catalog.{server.name}.upstream: '{name}' lets agents reach it by its host "
                "too, where no tool is judged; give the MCP server a `match`, above it"
            )


def _way_around(server: ToolRule, ways: Iterable[tuple[ToolRule, Destination]]) -> str | None:
    """The entry that takes calls to the MCP server's upstream before an MCP entry does. A tunnel
    hides paths, but none is opened where an MCP server is known to be."""
    upstream = server.upstream
    if upstream is None:
        return None
    ports = [(rule, way) for rule, way in ways if way.ports is None or upstream.port in way.ports]
    first = min((rule.index for rule, _ in ports if rule.kind is Kind.MCP), default=None)
    for rule, way in ports:
        if rule.kind is Kind.MCP or not rule.allowed or (first is not None and first < rule.index):
            continue
        has_tunnels = first is None and upstream.scheme == "https" and not rule.intercept_tls
        if has_tunnels or way.globs is None or way.globs.match(server.upstream_path or "/"):
            return rule.name
    return None


def _covering_hosts(host: str) -> Iterator[str]:
    """The patterns under which a destination that covers `host` would stand."""
    yield host
    body = host.removeprefix("*.")
    while "." in body:
        body = body.partition(".")[2]
        yield f"*.{body}"
    if host != "*":
        yield "*"


def _is_wider(wide: Destination, narrow: Destination) -> bool:
    """Does `wide` take all that `narrow` takes, hosts aside?"""
    return (
        (wide.ports is None or (narrow.ports is not None and narrow.ports <= wide.ports))
        and (
            wide.methods is None or (narrow.methods is not None and narrow.methods <= wide.methods)
        )
        and covers(wide.paths, narrow.paths)
    )
