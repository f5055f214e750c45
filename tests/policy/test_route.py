"""What the policy says of a request, remembered with the policy and not beyond its bound."""

from proxy.model.call import Effect, Mode, Origin, Target
from proxy.model.reason import Reason
from proxy.policy.compile import load_policy
from proxy.policy.policy import MOST_ROUTES, Policy
from proxy.policy.route import find_route

POLICY = """\
tools:
  allowlist: [search]
  catalog:
    search: {match: [{host: api.test, paths: [/v1/**]}], upstream: "http://api.test"}
    admin: {match: [{host: admin.test}]}
"""


def a_target(host: str = "api.test", path: str = "/v1/a") -> Target:
    return Target(Origin("http", host, 80), path)


def policy() -> Policy:
    return load_policy(POLICY)


def test_the_tool_what_stands_against_it_and_what_it_does() -> None:
    found = policy()
    route = find_route(found, Mode.ABSOLUTE, "GET", a_target())
    assert route == ((found.tools["search"],), None, Effect.READ)
    assert find_route(found, Mode.ABSOLUTE, "POST", a_target()).effect is Effect.WRITE
    refused = find_route(found, Mode.ABSOLUTE, "GET", a_target("admin.test")).refusal
    assert refused is not None
    assert refused.reason is Reason.TOOL_NOT_ALLOWED
    nobody = find_route(found, Mode.ABSOLUTE, "GET", a_target("other.test"))
    assert nobody.rules == ()
    assert nobody.refusal is not None
    assert (nobody.refusal.reason, nobody.effect) == (Reason.TOOL_UNKNOWN, Effect.WRITE)


def test_asked_again_it_is_the_same_answer() -> None:
    found = policy()
    route = find_route(found, Mode.ABSOLUTE, "GET", a_target())
    assert find_route(found, Mode.ABSOLUTE, "GET", a_target()) is route
    assert find_route(found, Mode.ABSOLUTE, "GET", a_target(path="/v1/b")) is not route


def test_the_gateway_is_another_way_to_ask() -> None:
    """It names its tool, so what is remembered of the same target must not answer for it."""
    found = policy()
    target = a_target(path="/v2/x")
    assert find_route(found, Mode.ABSOLUTE, "GET", target).rules == ()
    through = find_route(found, Mode.GATEWAY, "GET", target, found.tools["search"])
    assert through.rules == (found.tools["search"],)
    assert through.refusal is not None  # the tool's paths hold for the gateway too
    assert find_route(found, Mode.ABSOLUTE, "GET", target).rules == ()


def test_a_new_policy_remembers_nothing_of_the_old_one() -> None:
    find_route(policy(), Mode.ABSOLUTE, "GET", a_target())
    assert not policy().routes.known


def test_memory_is_bounded_in_number_and_length() -> None:
    found = policy()
    find_route(found, Mode.ABSOLUTE, "GET", a_target(path="/v1/" + "x" * 300))
    assert not found.routes.known
    for number in range(MOST_ROUTES + 1):
        find_route(found, Mode.ABSOLUTE, "GET", a_target(path=f"/v1/{number}"))
    assert len(found.routes.known) == MOST_ROUTES
