"""Switches through the control API are answered once they would survive a restart."""

from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from proxy.control.api import control_app
from proxy.store.store import StoreError
from tests.control.desk import Desk, open_access


@pytest.mark.parametrize("failing", [False, True])
async def test_an_order_that_is_not_kept_holds_and_is_told_so(failing: bool) -> None:
    """507 with what holds now and what a restart would do; both orders wait for the disk."""
    desk = Desk()
    seen: list[int] = []

    async def keep() -> None:
        seen.append(len(desk.switches.active()))
        if failing:
            raise StoreError("state.db cannot be written: disk full.")

    app = control_app(replace(desk.operator, keep_switches=keep), open_access())
    async with TestClient(TestServer(app)) as client:
        engaged = await client.put("/v1/switches/all", json={"reason": "incident"})
        told = await engaged.json()
        assert [switch.key for switch in desk.switches.active()] == ["all"]
        released = await client.delete("/v1/switches/all")
        told_then = await released.json()
    assert seen == [1, 0]
    assert desk.switches.active() == []
    expected = 507 if failing else 200
    assert (engaged.status, released.status) == (expected, expected)
    if failing:
        assert told["code"] == told_then["code"] == "state_unavailable"
        assert "a restart would forget it: state.db cannot be written" in told["detail"]
        assert "a restart would engage it again" in told_then["detail"]
