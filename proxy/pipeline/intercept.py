"""Tunnels whose TLS ends here, so that each request inside is a call of its own.

The CONNECT is judged by its host and costs nothing: no budget, no slot, no connection. It is
refused where nothing inside could pass; otherwise it is granted, and whatever is wrong with a
request inside is told where clients can read it, in an answer. The CONNECT is over once the
client's TLS stands; the requests are walked one by one from then on.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.ca.authority import NoContextError
from proxy.model.call import Effect, Kind, Mode
from proxy.model.errors import Refusal, Stopped
from proxy.model.reason import Reason
from proxy.pipeline.opening import opening_judge
from proxy.pipeline.reply import established
from proxy.pipeline.visit import Visit
from proxy.policy.authorize import authorize, is_intercepted
from proxy.policy.match import find_tunnel_tools
from proxy.policy.policy import ToolRule

_NEITHER = Refusal(
    Reason.TOOL_NOT_ALLOWED,
    "The tunnel was closed: it carries neither TLS nor HTTP, and has to be read.",
    "tunnel.client_tls",
)


def select_intercepted(visit: Visit) -> bool:
    """Is this a tunnel to open and read? Then at least one tool in it could be called, or `Stopped`
    is raised with what stands against it.

    `live.rules` stays empty: a tool that is killed while the handshake runs ends its own requests,
    not those of the tools beside it.
    """
    call = visit.call
    origin = call.target.origin
    rules = find_tunnel_tools(visit.policy, origin.host, origin.port)
    if not is_intercepted(rules):
        return False
    visit.live.effect = Effect.READ
    told: tuple[ToolRule, Refusal] | None = None
    for rule in rules:
        refusal = _refuse(visit, rule)
        if refusal is None:
            visit.select(rule)
            return True
        # What stands against an allowed tool says more than that another is not allowed.
        if told is None or told[0].allowed < rule.allowed:
            told = rule, refusal
    if told is None:
        raise RuntimeError("an intercepted tunnel has at least one tool")
    visit.select(told[0])
    raise Stopped(told[1])


def _refuse(visit: Visit, rule: ToolRule) -> Refusal | None:
    """Why no request to this tool could pass, whatever it is."""
    call = visit.call
    refusal = authorize(rule, Mode.CONNECT, "CONNECT", call.target)
    if refusal is not None:
        return refusal
    # Of an MCP server each message is judged by itself: see `effect_of`.
    effect = Effect.READ if rule.kind is Kind.MCP else rule.effect or Effect.READ
    return visit.booth.switches.refuse(visit.policy, (rule,), effect, call.caller)


async def intercept(visit: Visit) -> None:
    """Answer 200, end the client's TLS, and leave the requests inside to the listener."""
    origin, authority = visit.call.target.origin, visit.booth.authority

    def context() -> ssl.SSLContext:
        with _told(visit):
            return authority.context_for(origin.host)

    with _told(visit):
        authority.check(origin.host)
    visit.record.status = 200
    judge = opening_judge(origin.host, _NEITHER)
    await visit.exchange.intercept(established(visit), judge, context, origin, visit.call.caller)


@contextmanager
def _told(visit: Visit) -> Iterator[None]:
    """What the CA cannot do is a refusal."""
    try:
        yield
    except NoContextError as problem:
        rule = f"tools.catalog.{visit.rule.name}.intercept_tls"
        raise Stopped(Refusal(Reason.TOOL_NOT_ALLOWED, str(problem), rule)) from None
