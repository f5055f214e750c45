"""What the calls of one tool, one run or all of them add up to (pure)."""

from proxy.model.call import Mode
from proxy.report.durations import Durations
from proxy.report.entry import Entry
from proxy.report.outcome import Outcome

_MICROS_PER_USD = 1_000_000
_TUNNEL = str(Mode.CONNECT)


class Sums:
    """Times are Unix seconds. `durations` leaves out tunnels, since one lasts as long as it is
    open, and what was refused before it was sent, since that says nothing of the tool."""

    __slots__ = (
        "by_outcome", "calls", "codes", "cost_micros", "durations", "ended_by", "first_s", "last_s",
        "received_bytes", "retries", "sent_bytes", "tokens", "tunnels",
    )  # fmt: skip

    def __init__(self) -> None:
        self.calls = 0
        self.by_outcome = dict.fromkeys(Outcome, 0)
        self.codes: dict[str, int] = {}  # of calls that were not let through
        self.ended_by = ""  # the first code after which no call could succeed
        self.retries = 0
        self.cost_micros = 0  # whole numbers, so that a million of small ones add up exactly
        self.tokens = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.tunnels = 0
        self.first_s = float("inf")
        self.last_s = float("-inf")
        self.durations = Durations()

    def add(self, entry: Entry, outcome: Outcome, code: str) -> None:
        """One call; `code` is its code, or what stands for it where there are too many."""
        self.calls += 1
        self.by_outcome[outcome] += 1
        if outcome is not Outcome.OK:
            self.codes[code] = self.codes.get(code, 0) + 1
        if entry.attempts > 1:
            self.retries += entry.attempts - 1
        if entry.cost_usd:
            self.cost_micros += round(entry.cost_usd * _MICROS_PER_USD)
        self.tokens += entry.tokens
        self.sent_bytes += entry.sent_bytes
        self.received_bytes += entry.received_bytes
        self.first_s = min(self.first_s, entry.at_s)
        self.last_s = max(self.last_s, entry.at_s)
        if entry.mode == _TUNNEL:
            self.tunnels += 1
        elif entry.attempts or outcome is not Outcome.REFUSED:
            self.durations.add(entry.total_ms)

    @property
    def cost_usd(self) -> float:
        """Spend in US dollars."""
        return self.cost_micros / _MICROS_PER_USD
