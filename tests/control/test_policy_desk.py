"""The policy desk where HTTP does not reach: what is told when the keeper cannot."""

import pytest

from proxy.app import reload
from proxy.control.access import Role, Visitor
from proxy.control.orders import LookOrder
from proxy.control.policy_desk import PolicyDesk
from proxy.control.problem import ProblemError
from proxy.telemetry.spotlight import MOST_BEAMS, Beam
from tests.control.desk import POLICY, Desk

ALICE = Visitor(Role.ADMIN, "alice")


async def test_a_busy_keeper_is_told_as_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "MOST_WAITING", 0)
    desk = Desk()
    policies = PolicyDesk(desk.operator)
    for act in (
        policies.check(POLICY.encode(), None),
        policies.put(ALICE, POLICY.encode(), lambda _: True),
    ):
        with pytest.raises(ProblemError) as caught:
            await act
        assert (caught.value.problem.status, caught.value.problem.code) == (503, "busy")
    assert desk.audited == []


async def test_a_look_too_many_is_refused() -> None:
    """And is no act."""
    desk = Desk()
    now_s = desk.clock.monotonic()
    for number in range(MOST_BEAMS):
        desk.spotlight.turn_on(Beam(f"run:{number}", 1.0, None, now_s + 9), now_s)
    with pytest.raises(ProblemError) as caught:
        await PolicyDesk(desk.operator).look(ALICE, LookOrder(1.0, None, "all", 5.0))
    assert caught.value.problem.code == "too_many_settings"
    assert desk.audited == []
