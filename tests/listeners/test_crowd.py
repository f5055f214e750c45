"""Room for one more client."""

from proxy.guards.descriptors import Descriptors
from proxy.listeners.crowd import Crowd
from proxy.listeners.front import FrontLimits

LIMITS = FrontLimits(max_connections=3, max_per_client=2, descriptors=Descriptors(100, 110, 120))


def rule_for(crowd: Crowd, address: str, descriptor: int = 9) -> str:
    refusal = crowd.refuse(address, descriptor, LIMITS)
    return refusal.rule if refusal else ""


def test_one_address_has_its_own_bound_and_all_have_theirs() -> None:
    crowd = Crowd()
    crowd.enter("a")
    crowd.enter("a")
    assert rule_for(crowd, "a") == "TOOLBOOTH_MAX_CONNECTIONS_PER_CLIENT"
    assert rule_for(crowd, "b") == ""
    crowd.enter("b")
    assert rule_for(crowd, "c") == "TOOLBOOTH_MAX_CONNECTIONS"


def test_whoever_leaves_makes_room_and_is_forgotten() -> None:
    crowd = Crowd()
    for _ in range(1000):
        crowd.enter("a")
        crowd.leave("a")
    assert rule_for(crowd, "a") == ""
    assert crowd._by_address == {}


def test_a_descriptor_beyond_the_clients_share_is_refused_however_few_there_are() -> None:
    crowd = Crowd()
    assert rule_for(crowd, "a", 99) == ""
    assert rule_for(crowd, "a", 100) == "RLIMIT_NOFILE"
    refusal = crowd.refuse("a", 100, LIMITS)
    assert refusal is not None
    assert refusal.retry_after_ms == 1000
