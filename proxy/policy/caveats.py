"""What loads, but may not do what its author expects: the warnings of `toolbooth check`."""

from collections.abc import Iterable, Iterator, Mapping

from proxy.policy.address import METADATA_NETWORKS, judge_literal
from proxy.policy.catalog import CatalogEntry
from proxy.policy.path_glob import covers
from proxy.policy.policy import Destination, Network, ToolRule
from proxy.policy.schema import PolicyDocument

_MAX_COMPARISONS = 200_000  # a catalog beyond that is not searched further for dead entries


def caveats(document: PolicyDocument, rules: Mapping[str, ToolRule]) -> Iterator[str]:
    """One sentence each, beginning with the path it is about."""
    yield from _names(document, rules)
    for name, entry in document.tools.catalog.items():
        yield from _entry(f"tools.catalog.{name}", entry, rules[name])
    yield from _shadowed(rules)
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
        if not rule.allowed:
            yield f"tools.catalog.{name}: is not on the allowlist, so every call is refused"
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
            if name not in rules:
                yield f"tools.{section}.{name}: has no effect, as the catalog does not hold it"


def _is_under(known: str, wildcard: str) -> bool:
    return known == wildcard[:-2] or known.startswith(wildcard[:-1])


def _is_mcp_tool(name: str, rules: Mapping[str, ToolRule]) -> bool:
    parts = name.split(".")
    heads = (rules.get(".".join(parts[:count])) for count in range(1, len(parts)))
    return any(head is not None and head.kind.value == "mcp" for head in heads)


def _entry(path: str, entry: CatalogEntry, rule: ToolRule) -> Iterator[str]:
    if entry.pricing is not None and entry.kind != "model":
        yield f"{path}.pricing: has no effect, as only the answers of `kind: model` have a `usage`"
    for place, destination in enumerate(rule.destinations):
        yield from _destination(f"{path}.match[{place}]", entry, rule, destination)
    if rule.upstream is not None and judge_literal(rule.upstream.host, rule.allow_addresses):
        yield f"{path}.upstream: is not a public address and not in allow_addresses, so refused"
    for place, network in enumerate(rule.allow_addresses):
        yield from _opened(f"{path}.allow_addresses[{place}]", network)


def _destination(
    path: str, entry: CatalogEntry, rule: ToolRule, destination: Destination
) -> Iterator[str]:
    restricted = destination.methods is not None or destination.paths is not None
    encrypted = destination.ports is None or 443 in destination.ports
    if restricted and encrypted and not entry.intercept_tls:
        yield (
            f"{path}: methods and paths are not seen inside a tunnel (HTTPS to port 443), only "
            "the host is; leave 443 out of ports to refuse tunnels"
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
