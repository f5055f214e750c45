"""Which tool a request is for, and what the policy says of it.

An agent asks for the same few things again and again, and a policy gives the same answer for as
long as it is in force. So answers are remembered with the policy they were given under.
"""

from typing import Final

from proxy.model.call import Effect, Mode, Target
from proxy.policy.authorize import authorize
from proxy.policy.effect import effect_of
from proxy.policy.match import find_tool
from proxy.policy.policy import Policy, Route, ToolRule

_LONGEST_PATH: Final = 256


def find_route(
    policy: Policy, mode: Mode, method: str, target: Target, gateway_rule: ToolRule | None = None
) -> Route:
    """Of a request that can be read; `gateway_rule` is the tool a gateway path named."""
    key = (method, target, gateway_rule)
    route = policy.routes.known.get(key)
    if route is None:
        route = _find(policy, mode, method, target, gateway_rule)
        if len(target.path) <= _LONGEST_PATH:
            policy.routes.keep(key, route)
    return route


def _find(
    policy: Policy, mode: Mode, method: str, target: Target, gateway_rule: ToolRule | None
) -> Route:
    rule = gateway_rule or find_tool(policy, target.origin, method, target.path)
    refusal = authorize(rule, mode, method, target)
    if rule is None:
        return Route((), refusal, Effect.WRITE)
    return Route((rule,), refusal, effect_of(rule, method))
