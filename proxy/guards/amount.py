"""How much one call asks of the budgets, as far as that is known before it is made."""

from typing import Final, NamedTuple


class Estimate(NamedTuple):
    """What a call of a model may use beyond its price. Held while the call is under way, so that
    calls at once cannot all count on the same rest. Being a guess, it refuses no call that comes
    while something is left: a run goes over by at most what its last call used."""

    micros: int = 0
    tokens: int = 0


NO_ESTIMATE: Final = Estimate()


class Amount:
    """`calls` calls that cost `cost_micros` together, and an estimate of what comes on top.
    `held_micros`: what is reserved of the spend; `held_tokens`: of the tokens."""

    __slots__ = ("calls", "cost_micros", "held_micros", "held_tokens", "is_guess", "is_step")

    def __init__(
        self, *, is_step: bool, calls: int, cost_micros: int, estimate: Estimate = NO_ESTIMATE
    ) -> None:
        micros, tokens = estimate
        self.is_step = is_step
        self.calls = calls
        self.cost_micros = cost_micros
        self.is_guess = micros > 0
        self.held_micros = cost_micros + micros
        self.held_tokens = tokens

    def fits(self, used_micros: int, limit_micros: int) -> bool:
        """Is there room for this in a spend of which so much is used or held?"""
        if self.is_guess and used_micros >= limit_micros:
            return False
        return used_micros + self.cost_micros <= limit_micros


FREE: Final = Amount(is_step=False, calls=0, cost_micros=0)
