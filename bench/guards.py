"""Microseconds per operation of the guards: `python bench/guards.py`."""

import argparse
import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable

from proxy.guards.breaker import Breakers
from proxy.guards.budget import Ledger, Reservation
from proxy.guards.concurrency import Slots
from proxy.guards.loop import loop_key
from proxy.guards.rate import RateLimits
from proxy.guards.retry import RetryBudgets
from proxy.guards.switches import Switches
from proxy.model.call import Caller, Effect, Kind
from proxy.model.clock import SystemClock
from proxy.policy.policy import (
    BreakerRule,
    BudgetRule,
    ObservabilityRule,
    Policy,
    RateRule,
    RateScope,
    RetryRule,
    Timeouts,
    ToolIndex,
    ToolRule,
)

RETRIES = RetryRule(max_retries=2, backoff_s=(0.2, 0.8), budget_ratio=0.2)
TOOL = ToolRule(
    name="search.read",
    index=0,
    allowed=True,
    destinations=(),
    upstream=None,
    upstream_path="",
    kind=Kind.TOOL,
    effect=Effect.READ,
    cost_micros=1000,
    pricing=None,
    allow_addresses=(),
    intercept_tls=False,
    retry_writes=False,
    idempotency_header=None,
    timeouts=Timeouts(8, 2, 15),
    retries=RETRIES,
    rate=None,
    concurrency=32,
    breaker=None,
)
POLICY = Policy(
    version="bench",
    tools={},
    index=ToolIndex({}, {}, ()),
    allowlist=frozenset(),
    disabled=frozenset(),
    writes_disabled=False,
    budgets=BudgetRule(),
    observability=ObservabilityRule(),
)
RUN_LIMITS = BudgetRule(
    max_steps=10**9,
    max_tool_calls=10**9,
    max_seconds=10**9,
    max_spend_micros=10**15,
    max_runs=250_000,
)
ALL_LIMITS = BudgetRule(
    max_steps=10**9,
    max_tool_calls=10**9,
    max_seconds=10**9,
    max_spend_micros=10**15,
    max_calls_per_hour=10**9,
    max_spend_micros_per_day=10**15,
    loop_limit=10**9,
    warn_at=(0.8, 0.95),
    max_runs=250_000,
)
CALLER = Caller("run-1", "agent-1", run_given=True)


def timed(label: str, operation: Callable[[], object], count: int = 100_000) -> None:
    """Best of three: the machine is shared."""
    best_s = float("inf")
    for _ in range(3):
        started_s = time.perf_counter()
        for _ in range(count):
            operation()
        best_s = min(best_s, time.perf_counter() - started_s)
    print(f"{label:<58}{best_s / count * 1e6:8.3f} us")


def bench_switches() -> None:
    switches = Switches(SystemClock())
    rules = (TOOL,)

    def refuse() -> None:
        switches.refuse(POLICY, rules, Effect.READ, CALLER)

    timed("switches.refuse, nothing engaged", refuse)
    for index in range(1000):
        switches.engage(f"run:other-{index}", "bench", "bench")
    timed("switches.refuse, 1000 others engaged", refuse)


def bench_ledger(rule: BudgetRule, run_count: int, label: str) -> None:
    ledger = Ledger(SystemClock())
    callers = [Caller(f"run-{i}", f"agent-{i}", run_given=True) for i in range(run_count)]
    for caller in callers:
        reservation = ledger.reserve(rule, caller, Kind.TOOL, 1000, 7)
        assert isinstance(reservation, Reservation)
        reservation.settle(1000)
    position = 0

    def call() -> None:
        nonlocal position
        position = (position + 7919) % run_count  # all over the table
        held = ledger.reserve(rule, callers[position], Kind.TOOL, 1000, 7)
        assert isinstance(held, Reservation)
        held.settle(1000)

    timed(f"ledger reserve+settle, {label}, {run_count} runs", call)
    if run_count == 10:
        held = ledger.reserve(rule, callers[0], Kind.TOOL, 1000, 7)
        assert isinstance(held, Reservation)
        timed(f"reservation.left, {label}", held.left)
        timed(f"reservation.warning, {label}", held.warning)
        timed(f"reservation.add_bytes, {label}", lambda: held.add_bytes(1))


def bench_ledger_memory(rule: BudgetRule, label: str, run_count: int = 250_000) -> None:
    gc.collect()
    tracemalloc.start()
    ledger = Ledger(SystemClock())
    before, _ = tracemalloc.get_traced_memory()
    for index in range(run_count):
        # A name of a UUID's length, kept alive by the ledger alone.
        caller = Caller(f"{index:036d}", f"{index:036d}", run_given=True)
        held = ledger.reserve(rule, caller, Kind.TOOL, 1000, index << 40)
        assert isinstance(held, Reservation)
        held.settle(1000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(
        f"{f'memory per run, {label}, {run_count} runs':<58}{(after - before) / run_count:8.0f} B"
    )


async def bench_rate() -> None:
    limits = RateLimits(SystemClock())
    cases = [
        ("granted", RateRule(10**9, 1, RateScope.TOOL, 0)),
        ("granted, scope run", RateRule(10**9, 1, RateScope.RUN, 0)),
        ("refused", RateRule(1, 10**6, RateScope.AGENT, 0)),
    ]
    for label, rule in cases:
        best_s = float("inf")
        for _ in range(3):
            started_s = time.perf_counter()
            for _ in range(50_000):
                await limits.take("search.read", rule, CALLER)
            best_s = min(best_s, time.perf_counter() - started_s)
        print(f"{f'rate.take, {label}':<58}{best_s / 50_000 * 1e6:8.3f} us")


def bench_rate_memory(count: int = 20_000) -> None:
    async def fill() -> None:
        rule = RateRule(10, 60, RateScope.RUN, 0)
        for index in range(count):
            await limits.take("search.read", rule, Caller(f"{index:036d}", "", run_given=True))

    gc.collect()
    limits = RateLimits(SystemClock())
    tracemalloc.start()
    asyncio.run(fill())
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"{f'memory per rate bucket, {count} buckets':<58}{size / count:8.0f} B")


def bench_rest() -> None:
    slots, breakers, budgets = Slots(), Breakers(SystemClock()), RetryBudgets(SystemClock())
    rule = BreakerRule(0.5, 20, 10)
    key = ("search.read", "api.search.example", 443)

    def slot() -> None:
        slots.acquire("search.read", 32)
        slots.release("search.read")

    def breaker() -> None:
        breakers.refuse(key, rule)
        breakers.record(key, rule, ok=True)

    timed("slots acquire+release", slot)
    timed("breakers refuse+record", breaker)
    timed("retry budget deposit", lambda: budgets.of("search.read").deposit())
    timed(
        "loop_key, no body",
        lambda: loop_key("search.read", "GET", "/v1/search?q=a", "api.search.example", b""),
    )
    body = b"x" * 1024
    timed(
        "loop_key, 1 KiB body",
        lambda: loop_key("search.read", "POST", "/v1/search", "api.search.example", body),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true", help="measure memory too (slow)")
    options = parser.parse_args()
    bench_switches()
    for run_count in (10, 250_000):
        bench_ledger(RUN_LIMITS, run_count, "run limits")
        bench_ledger(ALL_LIMITS, run_count, "all limits")
    asyncio.run(bench_rate())
    bench_rest()
    if options.memory:
        bench_ledger_memory(RUN_LIMITS, "run limits")
        bench_ledger_memory(ALL_LIMITS, "all limits, loops, agents")
        bench_rate_memory()


if __name__ == "__main__":
    main()
