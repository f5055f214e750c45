"""How much one call asks of the budgets, as far as that is known before it is made."""

from functools import lru_cache
from typing import NamedTuple


class Estimate(NamedTuple):
    """What a call of a model may use beyond its price. Held while the call is under way, so that
    calls at once cannot all count on the same rest. Being a guess, it refuses no call that comes
    while something is left: a run goes over by at most what its last call used."""

    micros: int = 0
    tokens: int = 0


NO_ESTIMATE = Estimate()


class Amount(NamedTuple):
    """`calls` calls that cost `cost_micros` together, and an estimate of what comes on top."""

    is_step: bool
    calls: int
    cost_micros: int
    estimate: Estimate
    held_micros: int  # what is reserved of the spend

    def fits(self, used_micros: int, limit_micros: int) -> bool:
        """Is there room for this in a spend of which so much is used or held?"""
        if self.estimate.micros and used_micros >= limit_micros:
            return False
        return used_micros + self.cost_micros <= limit_micros


@lru_cache(maxsize=1024)
def amount_of(
    *, is_step: bool, calls: int, cost_micros: int, estimate: Estimate = NO_ESTIMATE
) -> Amount:
    """The amounts of a policy's tools are few, and asked for at every call."""
    return Amount(is_step, calls, cost_micros, estimate, cost_micros + estimate.micros)


FREE = amount_of(is_step=False, calls=0, cost_micros=0)
