"""What the control API is promised of the keeper of policies holds for the real one."""

import asyncio

import pytest

from proxy.app import reload
from proxy.control.policies import KeeperBusyError, Policies, VersionMismatchError
from proxy.policy.problem import PolicyError
from tests.control.desk import POLICY, Desk

NEW = POLICY.replace("hidden", "shown").encode()


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_compiling_changes_nothing(desk: Desk) -> None:
    policies: Policies = desk.keeper
    before = policies.state
    policy = await policies.compile(NEW)
    assert "shown" in policy.tools
    with pytest.raises(PolicyError):
        await policies.compile(b"nonsense: 1")
    assert policies.state is before


async def test_of_two_who_replace_the_same_one_one_does(desk: Desk) -> None:
    """The second is asked about the version that is in force when its turn has come."""
    version = desk.policy.version
    results = await asyncio.gather(
        desk.keeper.put(NEW, version.__eq__),
        desk.keeper.put(NEW + b"# 2", version.__eq__),
        return_exceptions=True,
    )
    assert [type(result).__name__ for result in results] == ["Policy", "VersionMismatchError"]
    with pytest.raises(VersionMismatchError):
        await desk.keeper.put(NEW, lambda _: False)


async def test_who_may_wait_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each brings up to a mebibyte and a second of work."""
    monkeypatch.setattr(reload, "MOST_WAITING", 2)
    results = await asyncio.gather(
        *(desk.keeper.compile(NEW) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) is KeeperBusyError for result in results] == [False, False, True]
    assert (await desk.keeper.compile(NEW)).version, "and a place is given back"


async def test_who_subscribed_hears_of_success_and_failure(desk: Desk) -> None:
    told: list[dict[str, object]] = []
    desk.keeper.subscribe(told.append)
    await desk.keeper.put(NEW, lambda _: True)
    with pytest.raises(PolicyError):
        await desk.keeper.put(b"nonsense: 1", lambda _: True)
    await desk.keeper.reload()  # the desk's file does not exist
    assert [(event["action"], event["source"]) for event in told] == [
        ("loaded", "api"), ("failed", "api"), ("failed", "signal"),
    ]  # fmt: skip
    assert desk.keeper.state.last_error is not None
