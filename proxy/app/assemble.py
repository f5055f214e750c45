"""Puts the parts together: guards, the way out, telemetry, and the booth that holds them."""

import sys
from collections.abc import Callable

from proxy.app.tasks import Tasks
from proxy.guards.breaker import Breakers
from proxy.guards.budget import Ledger
from proxy.guards.concurrency import Slots
from proxy.guards.rate import RateLimits
from proxy.guards.retry import RetryBudgets
from proxy.guards.switches import Switches
from proxy.model.clock import Clock, SystemClock
from proxy.model.errors import Refusal
from proxy.model.record import CallRecord
from proxy.pipeline.booth import Booth
from proxy.pipeline.live import LiveCall
from proxy.policy.policy import Policy
from proxy.telemetry.metrics import Figures
from proxy.telemetry.recent import RecentCalls
from proxy.telemetry.recorder import Recorder
from proxy.telemetry.redact import Redactor
from proxy.telemetry.sinks import DescriptorSink, FileSink, Sink
from proxy.upstream.dial import upstream_tls
from proxy.upstream.pool import Pool
from proxy.upstream.resolver import Resolver


class Telemetry:
    """What a finished call is told to: the figures, the recent calls, the log."""

    def __init__(self, policy: Policy, recorder: Recorder) -> None:
        self.recorder = recorder
        self.figures = Figures()
        self.figures.know_tools(policy.tools)
        self.recent = RecentCalls()
        self._redactor = Redactor(
            policy.observability.redact, policy.observability.max_result_bytes
        )

    def report(self, record: CallRecord, captured_bytes: int) -> None:
        """One call is over."""
        self.figures.observe(record)
        self.recent.add(record, self._redactor)
        self.recorder.submit(record, self._redactor, captured_bytes)


def open_sink(log: str, clock: Clock) -> Sink:
    """`stdout`, or a file that is followed when it is rotated. Raises `OSError`."""
    return DescriptorSink(sys.stdout.fileno()) if log == "stdout" else FileSink(log, clock)


def build_booth(
    policy: Policy, tasks: Tasks, telemetry: Telemetry, instance: str,
    report_bug: Callable[[BaseException], None],
) -> Booth:  # fmt: skip
    """Everything a call meets, with empty state."""
    clock = SystemClock()
    booth = Booth(
        policy=policy,
        clock=clock,
        switches=Switches(clock),
        ledger=Ledger(clock),
        rates=RateLimits(clock),
        slots=Slots(),
        breakers=Breakers(clock),
        retry_budgets=RetryBudgets(clock),
        pool=Pool(Resolver(clock), clock, upstream_tls),
        captures=telemetry.recorder.budget,
        report=telemetry.report,
        report_bug=report_bug,
        spawn=tasks.spawn,
        via=f"Via: 1.1 toolbooth-{instance}".encode(),
    )
    booth.switches.subscribe(lambda: rejudge(booth))
    return booth


def rejudge(booth: Booth) -> None:
    """A switch was flipped: end what is under way and is now switched off, tunnels included."""

    def judge(live: LiveCall) -> Refusal | None:
        return booth.switches.refuse(booth.policy, live.rules, live.effect, live.call.caller)

    booth.live.stop_where(judge)
