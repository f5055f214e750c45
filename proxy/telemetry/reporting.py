"""Whom a finished call is told to."""

from collections.abc import Callable

from proxy.model.record import CallRecord
from proxy.policy.policy import Policy
from proxy.telemetry.metrics import Figures
from proxy.telemetry.recent import RecentCalls
from proxy.telemetry.recorder import Recorder
from proxy.telemetry.redact import Redactor
from proxy.telemetry.tracing import Tracing


class Telemetry:
    """What a finished call is told to: the figures, the recent calls, the log. `tracing`: what
    collects the spans of calls, where that is wanted."""

    def __init__(self, policy: Policy, recorder: Recorder, tracing: Tracing | None = None) -> None:
        self.recorder = recorder
        self.tracing = tracing
        self.figures = Figures()
        self._counts = self.figures.counts
        self.recent = RecentCalls()
        self._widest_bytes = 0
        self._known: Callable[[], tuple[str, ...]] = tuple
        self._hidden: tuple[str, ...] = ()
        self.adopt(policy, self.redactor_of(policy))
        if tracing is not None:
            tracing.redactor = self.redactor

    def redactor_of(self, policy: Policy) -> Redactor:
        """What this policy hides, for bodies as large as any that are captured. From any thread.
        Raises ValueError for a bad pattern."""
        rule = policy.observability
        return Redactor(rule.redact, max(rule.max_result_bytes, self._widest_bytes))

    def adopt(self, policy: Policy, redactor: Redactor) -> None:
        """From now on, records are shown as this policy says."""
        self.figures.counts.know_tools(policy.tools, policy.every_rule())
        self._redactor = redactor.hiding(self._hidden)

    def hide(self, known: Callable[[], tuple[str, ...]]) -> None:
        """From now on, show none of the texts that `known` gives; asked at every record, it gives
        the same tuple as long as nothing has changed."""
        self._known = known

    def widen(self, policy: Policy, limit_bytes: int) -> None:
        """Bodies of up to `limit_bytes` are captured from now on."""
        if limit_bytes > self._widest_bytes:
            self._widest_bytes = limit_bytes
            self._redactor = self.redactor_of(policy).hiding(self._hidden)

    def redactor(self) -> Redactor:
        """What hides all that is to be hidden now."""
        known = self._known()
        if known is not self._hidden:
            self._hidden = known
            self._redactor = self._redactor.hiding(known)
        return self._redactor

    def report(self, record: CallRecord, captured_bytes: int) -> None:
        """One call is over."""
        redactor = self.redactor()
        self._counts.observe(record)
        self.recent.add(record, redactor)
        self.recorder.submit(record, redactor, captured_bytes)
