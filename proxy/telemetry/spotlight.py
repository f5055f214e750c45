"""More of some calls in the record, for a while.

What an operator turns up to look at a problem is what stays turned up afterwards: so each setting
has an end, kept on the monotonic clock, and the policy's own figures come back by themselves.
What the policy forbids (`sampled_tool_results: false`) stays forbidden whatever is asked here.
"""

from dataclasses import replace
from typing import NamedTuple

from proxy.policy.policy import Policy

LONGEST_S = 3600.0
MOST_BEAMS = 100

EVERYTHING = "all"


class Beam(NamedTuple):
    """One setting. `scope` is `all`, `tool:NAME` or `run:ID`; None keeps the policy's figure.
    `until_s` is monotonic."""

    scope: str
    result_sample_rate: float | None
    max_result_bytes: int | None
    until_s: float


class Spotlight:
    """The settings in force, one for each scope. The narrowest that fits a call decides: its run,
    its tool, all.

    `is_on` is False as long as there are none, so that a call pays one attribute for this.
    """

    __slots__ = ("_beams", "_last", "is_on")

    def __init__(self) -> None:
        self._beams: dict[str, Beam] = {}
        self._last: tuple[Policy, Beam, Policy] | None = None  # base, setting, what they make
        self.is_on = False

    def turn_on(self, beam: Beam, now_s: float) -> bool:
        """Put a setting in force, in place of the one of the same scope; False if there are too
        many."""
        self._drop_expired(now_s)
        if beam.scope not in self._beams and len(self._beams) >= MOST_BEAMS:
            return False
        self._beams[beam.scope] = beam
        self.is_on = True
        return True

    def turn_off(self) -> int:
        """Back to the policy's figures at once; how many settings there were."""
        count = len(self._beams)
        self._beams.clear()
        self.is_on, self._last = False, None
        return count

    def beams(self, now_s: float) -> list[Beam]:
        """The settings in force."""
        self._drop_expired(now_s)
        return list(self._beams.values())

    def shown(self, policy: Policy, run_id: str, tool: str, now_s: float) -> Policy:
        """The policy as it holds for this call's record: itself, or a copy of it with other
        figures. Ask only if `is_on`."""
        beams = self._beams
        beam = beams.get("run:" + run_id) or beams.get("tool:" + tool) or beams.get(EVERYTHING)
        if beam is None:
            return policy
        if now_s >= beam.until_s:
            self._drop_expired(now_s)
            return self.shown(policy, run_id, tool, now_s)
        if self._last is None or self._last[0] is not policy or self._last[1] is not beam:
            self._last = (policy, beam, _lit(policy, beam))
        return self._last[2]

    def _drop_expired(self, now_s: float) -> None:
        for scope, beam in list(self._beams.items()):
            if now_s >= beam.until_s:
                del self._beams[scope]
        self.is_on = bool(self._beams)
        if not self.is_on:
            self._last = None


def _lit(policy: Policy, beam: Beam) -> Policy:
    rule = policy.observability
    if beam.result_sample_rate is not None:
        rule = replace(rule, result_sample_rate=beam.result_sample_rate, sample_rates={})
    if beam.max_result_bytes is not None:
        rule = replace(rule, max_result_bytes=beam.max_result_bytes)
    return replace(policy, observability=rule)
