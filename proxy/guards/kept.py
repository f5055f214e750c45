"""What of a run and of an agent outlives the process.

Monotonic instants mean nothing to the next process, so ages are kept, and the wall-clock second
they were read at. A revived entry is as old as it was plus the time since: time the process was
down counts. A wall clock that was set back meanwhile counts as no time, never as less than none.

What is reserved is kept as used: after a crash nobody can say whether the call was made. Loop keys
are not kept; a run that was ended stays ended.
"""

from collections.abc import Mapping
from typing import NamedTuple

from proxy.model.clock import Clock

_LARGEST = 2**63 - 1  # of a column; token counts come from upstreams and may be anything


class Instant(NamedTuple):
    """Both clocks at once. `wall_s` is seconds since 1970-01-01 UTC."""

    monotonic_s: float
    wall_s: float


class KeptRun(NamedTuple):
    """One run. `age_s` since its first call and `idle_s` since its last one, at `saved_s` (wall
    clock). `limits`: what an operator set for it, by name of the `BudgetRule` field."""

    run_id: str
    steps: int
    tool_calls: int
    spend_micros: int
    tokens: int
    byte_count: int
    refusals: int
    looped: bool
    limits: Mapping[str, int | float]
    age_s: float
    idle_s: float
    saved_s: float


class KeptAgent(NamedTuple):
    """One agent: `calls` of the hour that is `hour_age_s` old, `spend_micros` of `day` (days since
    1970-01-01 UTC)."""

    agent_id: str
    calls: int
    hour_age_s: float
    day: int
    spend_micros: int
    idle_s: float
    saved_s: float


def instant(clock: Clock) -> Instant:
    """Now."""
    return Instant(clock.monotonic(), clock.wall())


def down_s(saved_s: float, now: Instant) -> float:
    """Seconds since something was saved, by the wall clock; never negative."""
    return max(0.0, now.wall_s - saved_s)


def kept_count(count: int) -> int:
    """`count` as far as it can be stored: from 0 to 2**63 - 1."""
    return min(max(count, 0), _LARGEST)
