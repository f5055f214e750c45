"""From what a client did, and what the sidecar saw of it, to a verdict (pure)."""

import re
from typing import NamedTuple

from proxy.cli.doctor.booth import Booth, Seen
from proxy.cli.doctor.children import Outcome
from proxy.cli.doctor.clients import MAKE_BUNDLE, Client
from proxy.cli.doctor.programs import MISSING
from proxy.cli.doctor.verdicts import Check, Group, Verdict, listing

# How clients say that a name does not resolve. The probe host never does, so whoever says this of
# it has tried to go there directly; a proxy that does not resolve is another matter.
_UNRESOLVED = re.compile(
    r"(?i)resolv|name or service|nodename nor|name resolution|getaddrinfo|enotfound|eai_again"
    r"|unknownhost|no such host|no address associated"
)
_NODE_WITH_PROXY = 22
_NODE_VERSION = re.compile(r"v(\d+)\.")
_BOTH = ("HTTP", "HTTPS")


class Tried(NamedTuple):
    """One client's two requests, and what the sidecar saw of them."""

    http: Outcome
    https: Outcome
    seen: Seen


class Facts(NamedTuple):
    """What is known from the other checks. `is_closed`: direct ways out were tried, and none is
    open. `intercepts`: some sidecar opens TLS. `booth`: whom to point at in advice."""

    booth: Booth
    intercepts: bool
    is_closed: bool


def judge(client: Client, tried: Tried, facts: Facts) -> Check:
    """The sidecar's word decides whether the client went through; the client's own only explains
    why it did not."""
    if MISSING in (tried.http.code, tried.https.code):
        return _check(client, Verdict.NOT_FOUND, "Not here.")
    seen = tried.seen
    came = {"HTTP": seen.http, "HTTPS": seen.tunnel or seen.https}
    outcomes = {"HTTP": tried.http, "HTTPS": tried.https}
    lost = [scheme for scheme in _BOTH if not came[scheme]]
    around = [scheme for scheme in lost if _went_around(outcomes[scheme])]
    if around:
        return _bypass(client, around, tried, facts)
    if lost:
        reason = outcomes[lost[0]].error or f"exit code {outcomes[lost[0]].code}"
        text = f"{listing(lost)} do not reach the sidecar: {reason}"
        return _check(client, Verdict.BROKEN, text)
    if facts.intercepts and not seen.https:
        text = f"Does not trust the sidecar's CA: {tried.https.error or 'no reason given'}"
        return Check(Group.CLIENTS, client.name, Verdict.BROKEN, text, (*MAKE_BUNDLE, client.trust))
    return _through(client, tried, facts)


def _went_around(outcome: Outcome) -> bool:
    """It was not seen: because it tried to go there itself? An answer came from elsewhere, and
    silence is a look-up or a connection that the network swallows: the sidecar answers at once."""
    if outcome.code in (None, 0):
        return True
    return bool(_UNRESOLVED.search(outcome.error)) and "proxy" not in outcome.error.lower()


def _bypass(client: Client, around: list[str], tried: Tried, facts: Facts) -> Check:
    advice = _node_advice(tried.http.said) if client.name.startswith("node") else client.around
    endpoint = facts.booth.endpoint
    line = advice.replace("{host}", endpoint.host).replace("{port}", str(endpoint.port))
    what = f"Ignores the proxy for {listing(around)}"
    if facts.is_closed:
        text = f"{what}; no direct way out is open, so it reaches nothing."
        return _check(client, Verdict.BROKEN, text, line)
    return _check(client, Verdict.BYPASS, f"{what} and goes around the booth.", line)


def _node_advice(version: str) -> str:
    match = _NODE_VERSION.match(version)
    if match and int(match[1]) < _NODE_WITH_PROXY:
        return (
            f"# Node {version} knows no proxy variables: use Node 22 or newer with "
            "NODE_USE_ENV_PROXY=1, or undici's EnvHttpProxyAgent"
        )
    return "export NODE_USE_ENV_PROXY=1"


def _through(client: Client, tried: Tried, facts: Facts) -> Check:
    given = tried.seen.run_given
    text = "HTTP and HTTPS go through"
    text += ", trusting the CA" if tried.seen.https else ""
    if facts.booth.run_given and not all(given.values()):
        what = "no run id arrives" if not any(given.values()) else "one of them without its run id"
        text += f", but {what}: it spends the budget of this address."
        return _check(client, Verdict.WARNING, text, client.unnamed)
    text += f", as run {tried.seen.run_id}" if any(given.values()) else ""
    if client.caveat:
        return _check(client, Verdict.WARNING, f"{text}; {client.caveat}.")
    return _check(client, Verdict.OK, f"{text}.")


def _check(client: Client, verdict: Verdict, text: str, line: str = "") -> Check:
    return Check(Group.CLIENTS, client.name, verdict, text, (line,) if line else ())
