"""What every call meets: the policy in force, the guards with their state, the way out, and who
writes things down. Put together once by `app`; the walk takes from it what a stage needs."""

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.ca.authority import Authority
from proxy.guards.breaker import Breakers
from proxy.guards.budget import Ledger
from proxy.guards.concurrency import Slots
from proxy.guards.memory import MemoryMark
from proxy.guards.places import Places
from proxy.guards.rate import RateLimits
from proxy.guards.retry import RetryBudgets
from proxy.guards.switches import Switches
from proxy.model.clock import Clock
from proxy.model.record import CallRecord
from proxy.pipeline.live import LiveCalls, Spawn
from proxy.pipeline.sightings import Sightings
from proxy.policy.policy import Policy
from proxy.telemetry.captures import CaptureBudget
from proxy.telemetry.spotlight import Spotlight
from proxy.telemetry.tracing import Tracing
from proxy.upstream.credentials import Secrets
from proxy.upstream.pool import Pool


@dataclass(slots=True)
class Booth:
    """`policy` is replaced whole; everything else outlives it.

    `report` is told of each finished call, once, and how many bytes it holds of `captures`.
    `spawn` runs background work in the app's task group. `spotlight` shows more of some calls for
    a while. `early` holds the places of content that is read before its call is admitted. `memory`
    refuses calls above its mark. `via` is our Via line, with a token that names this process.
    `sightings` is what clients of the probe host have shown of themselves. `tracing` is there
    where spans are exported.
    """

    policy: Policy
    clock: Clock
    switches: Switches
    ledger: Ledger
    rates: RateLimits
    slots: Slots
    breakers: Breakers
    retry_budgets: RetryBudgets
    pool: Pool
    secrets: Secrets
    captures: CaptureBudget
    report: Callable[[CallRecord, int], None]
    report_bug: Callable[[BaseException], None]
    spawn: Spawn
    via: bytes
    sightings: Sightings
    authority: Authority
    tracing: Tracing | None = None
    early: Places = field(default_factory=Places)
    memory: MemoryMark = field(default_factory=MemoryMark)
    spotlight: Spotlight = field(default_factory=Spotlight)
    live: LiveCalls = field(default_factory=LiveCalls)
    is_draining: bool = False
