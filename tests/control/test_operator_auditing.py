"""Acts are audited before they are done, or not done; a kill is done whatever the audit says."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from proxy.control.access import Role, Visitor
from proxy.control.api import control_app
from proxy.control.orders import LookOrder
from proxy.control.policy_desk import PolicyDesk
from proxy.control.problem import ProblemError
from proxy.control.run_desk import RunDesk
from tests.control.desk import POLICY, Desk, open_access

ALICE = Visitor(Role.ADMIN, "alice")
OTHER_POLICY = POLICY.replace("max_spend_usd: 1.0", "max_spend_usd: 2.0")


@pytest.fixture
def desk() -> Desk:
    """A switch, a run and a raised setting to act on."""
    desk = Desk()
    desk.switches.engage("all", "fire", "alice")
    desk.start_run("a").settle(0)
    return desk


def state_of(desk: Desk) -> object:
    run = desk.ledger.run_view(desk.policy.budgets, "a")
    return (
        [switch.key for switch in desk.switches.active()],
        None if run is None else dict(run.limits),
        desk.policy.version,
        desk.spotlight.beams(desk.clock.monotonic()),
    )


Act = Callable[[Desk], Awaitable[object]]
ACTS = [
    pytest.param(lambda d: d.operator.release(ALICE, "all"), id="switch.release"),
    pytest.param(lambda d: RunDesk(d.operator).limit(ALICE, "a", {"max_steps": 9}), id="run.limit"),
    pytest.param(lambda d: RunDesk(d.operator).forget(ALICE, "a"), id="run.forget"),
    pytest.param(
        lambda d: PolicyDesk(d.operator).put(ALICE, OTHER_POLICY.encode(), lambda _: True),
        id="policy.put",
    ),
    pytest.param(
        lambda d: PolicyDesk(d.operator).look(ALICE, LookOrder(1.0, None, "all", 5.0)),
        id="observability.raise",
    ),
]


@pytest.mark.parametrize("act", ACTS)
async def test_an_act_that_cannot_be_audited_is_not_done(desk: Desk, act: Act) -> None:
    desk.trail.fault = "the disk is full."
    before = state_of(desk)
    with pytest.raises(ProblemError) as caught:
        await act(desk)
    problem = caught.value.problem
    assert (problem.status, problem.code) == (507, "state_unavailable")
    assert problem.detail == "Nothing was changed, since it could not be audited: the disk is full."
    assert state_of(desk) == before
    desk.trail.fault = None
    await act(desk)
    assert state_of(desk) != before


@pytest.mark.parametrize("act", ACTS)
async def test_an_act_is_audited_before_it_is_done(
    desk: Desk, act: Act, request: pytest.FixtureRequest
) -> None:
    before, seen = state_of(desk), []
    desk.trail.before = lambda: seen.append(state_of(desk))
    await act(desk)
    assert seen == [before]
    assert [entry["action"] for entry in desk.audited] == [
        request.node.callspec.id,
    ]


async def test_a_reset_is_refused_too() -> None:
    desk = Desk()
    policies = PolicyDesk(desk.operator)
    await policies.look(ALICE, LookOrder(1.0, None, "all", 5.0))
    desk.trail.fault = "the disk is full."
    with pytest.raises(ProblemError):
        await policies.look_away(ALICE)
    assert len(desk.spotlight.beams(desk.clock.monotonic())) == 1
    desk.trail.fault = None
    await policies.look_away(ALICE)
    assert desk.audited[-1]["ended"] == 1


@pytest.mark.parametrize("key", ["all", "writes", "tool:search.read", "run:a", "agent:b"])
async def test_a_kill_is_done_and_answered_whatever_the_audit_says(key: str) -> None:
    """Its entry is noted: kept until it can be written. Taking it back is refused."""
    desk = Desk()
    desk.trail.fault = "the disk is full."
    app = control_app(desk.operator, open_access())
    async with TestClient(TestServer(app)) as client:
        answer = await client.put(f"/v1/switches/{key}", json={"reason": "fire"})
        assert answer.status == 200
        assert [switch.key for switch in desk.switches.active()] == [key]
        assert [entry["action"] for entry in desk.audited] == ["switch.engage"]
        answer = await client.delete(f"/v1/switches/{key}")
        assert (answer.status, (await answer.json())["code"]) == (507, "state_unavailable")
        assert [switch.key for switch in desk.switches.active()] == [key]
    assert [(e["action"], e["outcome"]) for e in desk.audited[1:]] == [
        ("switch.release", "state_unavailable")
    ]


async def test_a_kill_that_comes_while_a_release_is_audited_stays(desk: Desk) -> None:
    """The release was about the one before it."""
    desk.trail.before = lambda: desk.switches.engage("all", "second fire", "bob")
    with pytest.raises(ProblemError) as caught:
        await desk.operator.release(ALICE, "all")
    assert (caught.value.problem.status, caught.value.problem.code) == (409, "switch_changed")
    assert [switch.reason for switch in desk.switches.active()] == ["second fire"]


async def test_a_release_that_another_one_overtook_is_told_so(desk: Desk) -> None:
    desk.trail.before = lambda: desk.switches.release("all")
    with pytest.raises(ProblemError) as caught:
        await desk.operator.release(ALICE, "all")
    assert caught.value.problem.code == "not_engaged"


async def test_a_run_that_calls_while_it_is_being_forgotten_stays(desk: Desk) -> None:
    desk.trail.before = lambda: desk.start_run("a")
    with pytest.raises(ProblemError) as caught:
        await RunDesk(desk.operator).forget(ALICE, "a")
    assert caught.value.problem.code == "run_in_flight"
    assert desk.ledger.run_view(desk.policy.budgets, "a") is not None


async def test_samples_that_are_forbidden_meanwhile_stay_so(desk: Desk) -> None:
    """The policy may change while the entry is being written."""

    def forbid() -> None:
        without = replace(desk.policy.observability, sampled_tool_results=False)
        desk.policy = replace(desk.policy, observability=without)

    desk.trail.before = forbid
    with pytest.raises(ProblemError) as caught:
        await PolicyDesk(desk.operator).look(ALICE, LookOrder(1.0, None, "all", 5.0))
    assert caught.value.problem.code == "samples_forbidden"
    assert not desk.spotlight.is_on
