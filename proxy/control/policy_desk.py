"""What an operator can see of the policy and do to it: read it, try one, put one in force, ask what
it would say to a call, and have more shown for a while."""

from collections.abc import Callable

from proxy.control.access import Visitor
from proxy.control.operator import Operator
from proxy.control.orders import ExplainOrder, LookOrder
from proxy.control.policies import KeeperBusyError, PolicyState, VersionMismatchError
from proxy.control.policy_views import changes_view, effective_view, errors_view, failure_view
from proxy.control.problem import Problem, ProblemError, failed
from proxy.control.views import View, run_view
from proxy.model.clock import utc_timestamp
from proxy.model.errors import BadMessage
from proxy.model.reason import Reason
from proxy.policy.explain import explain
from proxy.policy.policy import Policy
from proxy.policy.problem import PolicyError
from proxy.telemetry.spotlight import MOST_BEAMS, Beam
from proxy.wire.target import parse_absolute, parse_connect

Expected = Callable[[str], bool]


class PolicyDesk:
    """The policy of one sidecar."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._keeper = operator.policies

    @property
    def state(self) -> PolicyState:
        """What is in force."""
        return self._keeper.state

    def policy(self) -> View:
        """The text and what it means."""
        state = self.state
        return {
            "version": state.policy.version,
            "source": state.source,
            "loaded": utc_timestamp(state.loaded_wall_s),
            "yaml": state.text,
            "warnings": list(state.policy.warnings),
            "effective": effective_view(state.policy),
            "last_error": failure_view(state.last_error),
        }

    async def check(self, text: bytes, expected: Expected | None) -> View:
        """What would change if `text` were put in force."""
        before = self.state.policy
        if expected is not None and not expected(before.version):
            raise self._mismatch()
        try:
            policy = await self._keeper.compile(text)
        except PolicyError as error:
            raise _invalid(error) from None
        except KeeperBusyError:
            raise _busy() from None
        return _change_view(before, policy, is_applied=False)

    async def put(self, visitor: Visitor, text: bytes, expected: Expected) -> View:
        """Put `text` in force; it holds until the file changes, SIGHUP, or a restart."""
        before = self.state.policy

        def is_expected(version: str) -> bool:
            nonlocal before
            before = self.state.policy  # of now: others may have been waited for
            return expected(version)

        async def audit(policy: Policy) -> None:
            await self._operator.audit_first(
                visitor, "policy.put", policy.version, previous=before.version
            )

        try:
            policy = await self._keeper.put(text, is_expected, audit)
        except VersionMismatchError:
            raise self._mismatch() from None
        except PolicyError as error:
            raise _invalid(error) from None
        except KeeperBusyError:
            raise _busy() from None
        return _change_view(before, policy, is_applied=True)

    def explain(self, order: ExplainOrder) -> View:
        """Which tool a call would be and what the policy says; nothing is called."""
        try:
            if order.method == "CONNECT":
                target = parse_connect(order.url)
            else:
                target = parse_absolute(order.url, order.method)
        except BadMessage as error:
            raise failed(422, "invalid_request", f"`url`: {error}") from None
        policy = self._operator.policy()
        explanation = explain(policy, order.method, target)
        run = None
        if order.run_id is not None:
            run = self._operator.ledger.run_view(policy.budgets, order.run_id)
        engaged = self._operator.engaged().get(f"run:{order.run_id}")
        return {
            "method": order.method,
            "url": order.url,
            **explanation._asdict(),
            "allowed": explanation.verdict is Reason.OK,
            "run": None if run is None else run_view(run, engaged),
        }

    def observability(self) -> View:
        """What the policy says about samples, and what is raised over it."""
        rule = self._operator.policy().observability
        now_s, wall_s = self._operator.clock.monotonic(), self._operator.clock.wall()
        return {
            "sampled_tool_results": rule.sampled_tool_results,
            "result_sample_rate": rule.result_sample_rate,
            "sample_rates": dict(rule.sample_rates),
            "slow_ms": rule.slow_ms,
            "max_result_bytes": rule.max_result_bytes,
            "raised": [
                {
                    "scope": beam.scope,
                    "result_sample_rate": beam.result_sample_rate,
                    "max_result_bytes": beam.max_result_bytes,
                    "expires": utc_timestamp(wall_s + beam.until_s - now_s),
                    "seconds_left": round(beam.until_s - now_s, 3),
                }
                for beam in self._operator.spotlight.beams(now_s)
            ],
        }

    async def look(self, visitor: Visitor, order: LookOrder) -> View:
        """Show more for a while. What the policy forbids to show at all stays forbidden."""
        operator = self._operator
        self._check_look(order)
        await operator.audit_first(visitor, "observability.raise", order.scope, **order._asdict())
        self._check_look(order)
        now_s = operator.clock.monotonic()
        beam = Beam(
            order.scope, order.result_sample_rate, order.max_result_bytes, now_s + order.ttl_s
        )
        if not operator.spotlight.turn_on(beam, now_s):
            raise _no_room()
        if order.max_result_bytes is not None:
            operator.widen(order.max_result_bytes)
        return self.observability()

    def _check_look(self, order: LookOrder) -> None:
        operator = self._operator
        if not operator.policy().observability.sampled_tool_results:
            detail = "The policy forbids samples (observability.sampled_tool_results is false)."
            raise failed(409, "samples_forbidden", detail)
        if order.scope.startswith("tool:"):
            operator.check_tool_known(order.scope.removeprefix("tool:"))
        scopes = {beam.scope for beam in operator.spotlight.beams(operator.clock.monotonic())}
        if order.scope not in scopes and len(scopes) >= MOST_BEAMS:
            raise _no_room()

    async def look_away(self, visitor: Visitor) -> View:
        """End every raised setting now."""
        now_s = self._operator.clock.monotonic()
        count = len(self._operator.spotlight.beams(now_s))
        await self._operator.audit_first(visitor, "observability.reset", "", ended=count)
        self._operator.spotlight.turn_off()
        return self.observability()

    def _mismatch(self) -> ProblemError:
        version = self.state.policy.version
        detail = f"Another policy is in force ({version}); read it, then try again."
        return ProblemError(Problem(412, "version_mismatch", detail, (("ETag", f'"{version}"'),)))


def _change_view(before: Policy, after: Policy, *, is_applied: bool) -> View:
    return {
        "version": after.version,
        "previous": before.version,
        "applied": is_applied,
        "warnings": list(after.warnings),
        "changes": changes_view(before, after),
    }


def _invalid(error: PolicyError) -> ProblemError:
    count = len(error.errors)
    detail = f"The policy has {count} error{'s' if count != 1 else ''}; nothing was changed."
    problem = Problem(422, "invalid_policy", detail, extra={"errors": errors_view(error.errors)})
    return ProblemError(problem)


def _no_room() -> ProblemError:
    detail = f"{MOST_BEAMS} settings are in force already; end them first."
    return failed(409, "too_many_settings", detail)


def _busy() -> ProblemError:
    detail = "Other policies are being compiled; try again in a moment."
    return ProblemError(Problem(503, "busy", detail, (("Retry-After", "1"),)))
