"""One call on its walk: what the stages so far have found out, and what they hold for it."""

from typing import Final

from proxy.guards.budget import Reservation
from proxy.guards.meter import Meter
from proxy.mcp.request import McpRequest
from proxy.model.call import ToolCall
from proxy.model.errors import Refusal
from proxy.model.reason import MEANINGS, Reason
from proxy.model.record import CallRecord, Capture
from proxy.pipeline.booth import Booth
from proxy.pipeline.content import EndableFilter, FilterFor
from proxy.pipeline.exchange import Exchange
from proxy.pipeline.live import LiveCall
from proxy.policy.policy import Policy, ToolRule
from proxy.wire.head import Field

MAX_STREAMS_PER_RUN: Final = 4  # of one MCP server, open at once


class Visit:
    """Mutable, one a call. `policy` is the snapshot that holds for all of it. `rule`, the tool it
    is for, and `reservation` exist once their stage has passed; asking earlier is a bug and
    raises."""

    __slots__ = (
        "_reservation", "_slots", "booth", "call", "captured_bytes", "exchange",
        "filter_for", "has_sent", "is_retried_out", "lens", "live", "mcp", "meter", "outcome",
        "policy", "record", "rule", "slow_ms", "stream_idle_s",
    )  # fmt: skip

    rule: ToolRule

    def __init__(
        self, booth: Booth, exchange: Exchange, call: ToolCall, live: LiveCall, record: CallRecord
    ) -> None:
        self.booth = booth
        self.policy: Policy = booth.policy
        self.exchange = exchange
        self.call = call
        self.live = live
        self.record = record
        self.has_sent = False  # at least one byte of the request went upstream
        self.is_retried_out = False  # our retries applied, and did not help
        self.filter_for: FilterFor | None = None  # what reads or rewrites the answer's content
        self.meter: Meter | None = None  # of a model's tokens
        self.lens: EndableFilter | None = None  # the filter at work, if it can end the answer
        self.mcp: McpRequest | None = None  # what it says, if it is for an MCP server
        self.outcome = Reason.OK  # of a call that was answered; a filter may know worse
        self.stream_idle_s = 0.0  # silence allowed on an answer that may outlast the deadline
        self.captured_bytes = 0  # held of the capture budget
        self.slow_ms: int | None = None  # bodies stay only if the call takes at least so long
        self._reservation: Reservation | None = None
        self._slots: tuple[str, ...] = ()  # whose places it holds

    def select(self, rule: ToolRule) -> None:
        """This is the tool it is for."""
        self.rule = rule
        self.record.tool = rule.name

    @property
    def reservation(self) -> Reservation:
        """What the run's budget holds for this call."""
        if self._reservation is None:
            raise RuntimeError("nothing has been reserved yet")
        return self._reservation

    @reservation.setter
    def reservation(self, reservation: Reservation) -> None:
        self._reservation = reservation

    def capture(self, fields: list[Field]) -> Capture:
        """An empty copy of the message with these fields, for the record of a sampled call."""
        values = [(name, line[len(name) + 1 :].strip()) for name, line in fields]
        return Capture(values, self.policy.observability.max_result_bytes)

    def take_slot(self, rule: ToolRule) -> Refusal | None:
        """One of the tool's concurrent calls."""
        return self._take_place(rule.slots_name, rule.concurrency)

    def take_stream(self, rule: ToolRule) -> Refusal | None:
        """A place for an answer that goes on for as long as the client wants: beside those of the
        server's calls, as many in all, few for one run. Names with a colon are no tool's."""
        name = f"{rule.slots_name}: streams"
        refusal = self._take_place(name, rule.concurrency) or self._take_place(
            f"{name} of {self.call.caller.run_id}", MAX_STREAMS_PER_RUN
        )
        if refusal is None:
            return None
        return refusal._replace(
            detail=f"Too many streams for messages of {rule.slots_name} are open; close one, or go "
            "on without."
        )

    def _take_place(self, name: str, limit: int) -> Refusal | None:
        refusal = self.booth.slots.acquire(name, limit)
        if refusal is None:
            self._slots += (name,)
        return refusal

    def charge_bytes(self, count: int) -> None:
        """Count content against the run's byte budget; past its end the call is cut."""
        if not self.reservation.add_bytes(count):
            self.live.stop(
                Refusal(
                    Reason.MAX_BYTES,
                    "This run has used its bytes; stop calling tools and finish with what you "
                    "have.",
                    "budgets.max_bytes",
                )
            )

    def settle(self) -> None:
        """Give back what is held; charge what was used. Safe at any stage, done once.

        A call that was refused costs nothing, nor does one whose time was over before it was tried.
        One that went out, or failed in trying to, has used its call; money only if the upstream got
        to see the request.
        """
        slots, self._slots = self._slots, ()
        for name in slots:
            self.booth.slots.release(name)
        reservation, self._reservation = self._reservation, None
        if reservation is None:
            return
        record = self.record
        if self.has_sent or (record.attempts and _is_their_failure(record.code)):
            price = self.rule.cost_micros if self.mcp is None else self.mcp.cost_micros
            record.cost_micros = price if self.has_sent else 0
            if self.has_sent and self.meter is not None:
                used = self.meter.used
                record.cost_micros += used.micros
                record.tokens = used.tokens
                record.is_usage_unread = self.meter.is_unread
            reservation.settle(record.cost_micros, record.tokens)
        else:
            reservation.refund()


def _is_their_failure(code: Reason) -> bool:
    return MEANINGS[code].status in (502, 504)
