"""What is read for the metrics page, from a booth with real guards."""

import asyncio
import re

import pytest

from proxy.app.gauges import (
    LOOKED_AT_RUNS,
    Lag,
    overflows,
    recent_runs,
    switches_by_scope,
    watch_guards,
    watch_process,
    watch_records,
    watch_ways,
)
from proxy.guards.budget import Ledger, Reservation
from proxy.model.call import Caller, Kind
from proxy.policy.policy import BudgetRule
from tests.fakes.clock import FakeClock
from tests.fakes.origin import Origin, OriginConnection
from tests.fakes.sidecar import Sidecar, policy_text
from tests.repo.tree import ROOT

_BOUNDS = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Bounds")[2]


def ledger_with(clock: FakeClock, calls_by_run: dict[str, int]) -> Ledger:
    ledger = Ledger(clock)
    for name, calls in calls_by_run.items():
        for _ in range(calls):
            place = ledger.reserve(BudgetRule(), Caller(name, "a", True), Kind.TOOL, 0, None)
            assert isinstance(place, Reservation)
            place.settle(0)
    return ledger


def watched(sidecar: Sidecar) -> None:
    watch_guards(sidecar.telemetry, sidecar.booth)
    watch_ways(sidecar.telemetry, sidecar.booth, sidecar.front)
    watch_records(sidecar.telemetry)
    watch_process(sidecar.telemetry, Lag())


def page_of(sidecar: Sidecar) -> dict[str, float]:
    lines = sidecar.telemetry.figures.render().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_runs_are_counted_by_what_they_have_used() -> None:
    ledger = ledger_with(FakeClock(), {"a": 1, "b": 5, "c": 8, "d": 9, "e": 10, "f": 12})
    counts = recent_runs(ledger, BudgetRule(max_tool_calls=10))
    assert counts == {"0": 1, "0.5": 1, "0.8": 2, "0.95": 0, "1": 2}


def test_runs_that_ended_a_while_ago_are_not_counted() -> None:
    clock = FakeClock()
    ledger = ledger_with(clock, {"a": 1})
    clock.advance(299)
    assert sum(recent_runs(ledger, BudgetRule()).values()) == 1
    clock.advance(2)
    assert sum(recent_runs(ledger, BudgetRule()).values()) == 0


def test_only_the_last_called_of_many_runs_are_looked_at() -> None:
    ledger = ledger_with(FakeClock(), {str(number): 1 for number in range(LOOKED_AT_RUNS + 100)})
    assert sum(recent_runs(ledger, BudgetRule()).values()) == LOOKED_AT_RUNS


def test_lag_is_the_last_and_the_worst_of_a_minute() -> None:
    lag = Lag()
    assert (lag.last_s, lag.worst_s()) == (0.0, 0.0)
    lag.note(0.5)
    for _ in range(119):
        lag.note(0.001)
    assert (lag.last_s, lag.worst_s()) == (0.001, 0.5)
    lag.note(0.002)
    assert (lag.last_s, lag.worst_s()) == (0.002, 0.002)


async def test_switches_of_every_scope_and_of_the_file() -> None:
    off = policy_text(1).replace("tools:", "tools:\n  disabled: [echo]\n  writes_disabled: true", 1)
    async with Sidecar(off) as sidecar:
        for key in ("tool:echo", "tool:other", "run:r", "all"):
            sidecar.booth.switches.engage(key, "test", "me")
        assert switches_by_scope(sidecar.booth) == {
            "all": 1, "writes": 0, "agent": 0, "run": 1, "tool": 2, "policy": 2,
        }  # fmt: skip


async def _fail_always(connection: OriginConnection) -> None:
    while await connection.read_head():
        await connection.send(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")


async def test_calls_show_on_the_page() -> None:
    async with Origin(_fail_always) as origin, Sidecar(policy_text(origin.port)) as sidecar:
        watched(sidecar)
        for _ in range(3):
            await sidecar.get(f"{origin.url}/")
        page = page_of(sidecar)
        assert page['toolbooth_retries_total{tool="echo"}'] == 3
        assert page['toolbooth_retries_denied_total{tool="echo"}'] == 2
        assert page['toolbooth_retry_budget_left{tool="echo"}'] == 0
        assert page['toolbooth_upstream_connects_total{result="opened"}'] == 1
        assert page['toolbooth_upstream_connects_total{result="reused"}'] == 5
        assert page['toolbooth_recent_runs{budget_used="0"}'] == 1
        assert page["toolbooth_runs"] == 1
        assert page["toolbooth_resident_memory_bytes"] > 1e6
        assert page["toolbooth_cpu_seconds_total"] > 0


async def test_an_upstream_that_is_not_there_is_a_failed_connection() -> None:
    async with Origin() as origin:
        text = policy_text(origin.port)
    async with Sidecar(text) as sidecar:
        watched(sidecar)
        await sidecar.get(f"{origin.url}/")
        assert page_of(sidecar)['toolbooth_upstream_connects_total{result="failed"}'] == 3


async def test_a_breaker_and_a_connection_turned_away_show_on_the_page() -> None:
    breaker = "circuit_breaker: {error_rate: 0.5, min_requests: 1, open_seconds: 10}"
    text = policy_text(1).replace("tools:", f"tools:\n  {breaker}", 1)
    async with Origin(_fail_always) as origin:
        text = text.replace("ports: [1]", f"ports: [{origin.port}]")
        async with Sidecar(text) as sidecar:
            watched(sidecar)
            await sidecar.get(f"{origin.url}/")
            sidecar.front.limits = sidecar.front.limits._replace(max_connections=0)
            await sidecar.get(f"{origin.url}/")
            page = page_of(sidecar)
    assert page['toolbooth_breaker_state{tool="echo"}'] == 2
    assert page["toolbooth_client_connections_refused_total"] == 1


async def test_every_count_of_a_full_table_has_its_figure() -> None:
    async with Sidecar(policy_text(1)) as sidecar:
        booth = sidecar.booth
        booth.ledger.refused_full = 1
        booth.ledger.agents_table.refused_full = 2
        booth.ledger.runs_table.loops_unlearned = 3
        booth.rates.refused_full = 4
        booth.retry_budgets.overflowed = 5
        booth.breakers.untracked = 6
        booth.breakers.dropped = 7
        assert sorted(overflows(booth).values()) == [1, 2, 3, 4, 5, 6, 7]


# The rows of the table of bounds that say "counted", and where the count is seen.
_COUNTED = {
    "LOOP_KEYS_PER_RUN": "toolbooth_table_overflows_total",
    "RateLimits": "toolbooth_table_overflows_total",
    "Breakers": "toolbooth_table_overflows_total",
    "Recorder limit_records": "toolbooth_records_dropped_total",
    "Recorder limit_bytes": "toolbooth_records_dropped_total",
    "DEFAULT_LIMIT_BYTES": "toolbooth_captures_dropped_total",
    "MOST_TOOLS": "toolbooth_calls_total",
}


def _counted_rows() -> set[str]:
    rows = re.findall(r"^\| [^|]+ \| `[\w.]+:(\w+)(?:\((\w+)\))?` \| .*counted", _BOUNDS, re.M)
    return {" ".join(filter(None, (name, p if p != "limit" else ""))) for name, p in rows}


def test_what_the_table_of_bounds_calls_counted_is_known_here() -> None:
    assert _counted_rows() == set(_COUNTED)


@pytest.mark.parametrize("metric", sorted(set(_COUNTED.values())))
async def test_what_is_counted_has_its_metric_on_the_page(metric: str) -> None:
    async with Sidecar(policy_text(1)) as sidecar:
        watched(sidecar)
        await asyncio.sleep(0)
        assert f"# TYPE {metric} counter" in sidecar.telemetry.figures.render().decode()
