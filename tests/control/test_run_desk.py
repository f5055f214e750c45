"""What an operator does to runs."""

from collections.abc import Awaitable, Callable

import pytest

from proxy.control import run_desk
from proxy.control.access import Role, Visitor
from proxy.control.orders import RunQuery
from proxy.control.problem import ProblemError
from proxy.control.run_desk import RunDesk
from proxy.model.call import Caller, Kind
from proxy.model.errors import Refusal
from tests.control.desk import Desk

ALICE = Visitor(Role.ADMIN, "alice")


def ids(view: dict[str, object]) -> list[str]:
    runs = view["runs"]
    assert isinstance(runs, list)
    return [run["run_id"] for run in runs]


@pytest.fixture
def desk() -> Desk:
    """Runs a, b, c, d: called in that order; c spent most, then a; b was refused most."""
    desk = Desk()
    for run_id, spend in (("a", 300), ("b", 0), ("c", 900), ("d", 0)):
        desk.start_run(run_id).settle(spend)
    for _ in range(3):
        caller = Caller("b", "agent-1", True)
        place = desk.ledger.reserve(desk.policy.budgets, caller, Kind.TOOL, 10**9, None)
        assert isinstance(place, Refusal)
    return desk


@pytest.mark.parametrize("at_a_time", [1, 3, 5000])
@pytest.mark.parametrize(
    ("sort", "order"), [("last", "bdca"), ("spend", "cabd"), ("refusals", "bdca")]
)
async def test_runs_are_sorted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, sort: str, order: str, at_a_time: int
) -> None:
    """Largest first, among equals the last called; however many are looked at at a time."""
    monkeypatch.setattr(run_desk, "_AT_A_TIME", at_a_time)
    view = await RunDesk(desk.operator).runs(RunQuery(100, sort))
    assert "".join(ids(view)) == order
    view = await RunDesk(desk.operator).runs(RunQuery(2, sort))
    assert ("".join(ids(view)), view["remembered"]) == (order[:2], 4)


async def test_limits_are_set_for_one_run_and_audited(desk: Desk) -> None:
    desks = RunDesk(desk.operator)
    view = await desks.limit(ALICE, "a", {"max_tool_calls": 20, "max_spend_micros": 2_500_000})
    assert view["limits"] == {"max_tool_calls": 20, "max_spend_usd": 2.5}
    left = view["left"]
    assert isinstance(left, dict)
    assert (left["tool_calls"], left["spend_usd"]) == (19, 2.4997)
    assert desks.run("b")["limits"] == {}
    assert [(e["action"], e["key"], e["actor"]) for e in desk.audited] == [
        ("run.limit", "run:a", "alice")
    ]
    view = await desks.limit(ALICE, "a", {"max_tool_calls": None})
    assert view["limits"] == {"max_spend_usd": 2.5}


async def test_a_run_is_forgotten(desk: Desk) -> None:
    """It begins anew at its next call; its switch stays where it is."""
    desk.switches.engage("run:a", "x", "alice")
    view = await RunDesk(desk.operator).forget(ALICE, "a")
    assert view["run_id"] == "a"
    assert desk.ledger.run_view(desk.policy.budgets, "a") is None
    assert [switch.key for switch in desk.switches.active()] == ["run:a"]
    assert desk.audited[-1]["action"] == "run.forget"


async def test_a_run_with_a_call_under_way_is_not_forgotten(desk: Desk) -> None:
    """Its call would be charged to nobody."""
    place = desk.start_run("a")
    with pytest.raises(ProblemError) as caught:
        await RunDesk(desk.operator).forget(ALICE, "a")
    assert (caught.value.problem.status, caught.value.problem.code) == (409, "run_in_flight")
    place.settle(0)
    await RunDesk(desk.operator).forget(ALICE, "a")


async def test_runs_nobody_knows(desk: Desk) -> None:
    desks = RunDesk(desk.operator)
    with pytest.raises(ProblemError) as caught:
        desks.run("x")
    assert caught.value.problem.code == "run_unknown"
    acts: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: desks.limit(ALICE, "x", {"max_steps": 1}),
        lambda: desks.forget(ALICE, "x"),
    )
    for act in acts:
        with pytest.raises(ProblemError) as caught:
            await act()
        assert caught.value.problem.code == "run_unknown"
    assert desk.audited == []
