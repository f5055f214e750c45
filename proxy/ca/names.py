"""Which hosts our CA may vouch for: the intercepted ones and no other (pure).

A CA that a client trusts is a key to all of its TLS. Name constraints (RFC 5280 section 4.2.1.10)
take that back: outside of the names it was made for, a stolen key is worth nothing. They are cut
when the CA is made, so a host that is intercepted later may fall outside; `covers` tells.
"""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from proxy.model.call import PROBE_HOST
from proxy.policy.address import literal_address
from proxy.policy.policy import Policy

Network = IPv4Network | IPv6Network


class Constraints(NamedTuple):
    """`domains` each stand for themselves and for every name below. None: any name (or address)
    may be vouched for; empty: none."""

    domains: tuple[str, ...] | None
    networks: tuple[Network, ...] | None
    excluded_domains: tuple[str, ...] = ()
    excluded_networks: tuple[Network, ...] = ()

    @property
    def is_open(self) -> bool:
        """Nothing is constrained."""
        return self.domains is None and self.networks is None


UNCONSTRAINED = Constraints(None, None)


def intercepted_hosts(policy: Policy) -> frozenset[str]:
    """The host patterns of every tool with `intercept_tls`, allowed or not: an allowlist that
    grows must not need a new CA."""
    return frozenset(
        destination.host
        for rule in policy.tools.values()
        if rule.intercept_tls
        for destination in rule.destinations
    )


def constraints_for(patterns: Iterable[str]) -> Constraints:
    """What a CA for these host patterns is cut to; `*` cannot be cut. A constraint holds for a
    name and all below it, so an exact host brings its subdomains along."""
    domains, networks = {PROBE_HOST}, []
    for pattern in sorted(patterns):
        if pattern == "*":
            return UNCONSTRAINED
        if literal_address(pattern) is not None:
            networks.append(ip_network(pattern))
        else:
            domains.add(pattern.removeprefix("*."))
    tops = [name for name in sorted(domains) if not _is_under(name, domains - {name})]
    return Constraints(tuple(tops), tuple(networks))


def covers(constraints: Constraints, host: str) -> bool:
    """May a CA with these constraints vouch for `host`, a name, an address, or a host pattern of
    the catalog?"""
    if host == "*":
        return constraints.is_open
    name = host.removeprefix("*.")
    if literal_address(name) is not None:
        return _has_address(constraints, name)
    permitted, excluded = constraints.domains, constraints.excluded_domains
    return (permitted is None or _is_under(name, permitted)) and not _is_under(name, excluded)


def _has_address(constraints: Constraints, text: str) -> bool:
    address = ip_address(text)
    permitted, excluded = constraints.networks, constraints.excluded_networks
    is_permitted = permitted is None or any(address in network for network in permitted)
    return is_permitted and not any(address in network for network in excluded)


def _is_under(name: str, domains: Iterable[str]) -> bool:
    return any(_is_at_or_below(name, domain) for domain in domains)


def _is_at_or_below(name: str, domain: str) -> bool:
    """A constraint that begins with a dot, which other CAs have, leaves the name itself out."""
    if domain.startswith("."):
        return name.endswith(domain)
    return name == domain or name.endswith(f".{domain}") or not domain
