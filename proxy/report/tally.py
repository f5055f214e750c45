"""Everything a report is made of, call by call (pure, bounded).

Names come from agents, so there is no end to them: of runs, tools and codes only so many get sums
of their own, first come first served, and the calls of the rest are summed together and told.
"""

from collections.abc import Iterable
from heapq import heappush, heappushpop
from typing import NamedTuple

from proxy.model.call import Mode
from proxy.report.entry import Entry, is_remainder, read_entry
from proxy.report.outcome import ends_run, outcome_of
from proxy.report.sums import Sums
from proxy.report.timeline import Timeline

MOST_RUNS = 10_000
MOST_TOOLS = 500
MOST_CODES = 64
OTHER = "(other)"
_TUNNEL = str(Mode.CONNECT)


class Wanted(NamedTuple):
    """Which calls count. Times are Unix seconds: from `since_s` on, before `until_s`. A tool's
    name also names what is inside of it (`files` for `files.read`). `top` is how many of the
    slowest calls are kept."""

    since_s: float | None = None
    until_s: float | None = None
    run: str | None = None
    tool: str | None = None
    top: int = 10

    def fits(self, entry: Entry) -> bool:
        """Is it one of them?"""
        if self.since_s is not None and entry.at_s < self.since_s:
            return False
        if self.until_s is not None and entry.at_s >= self.until_s:
            return False
        if self.run is not None and entry.run_id != self.run:
            return False
        tool = self.tool
        return tool is None or entry.tool == tool or entry.tool.startswith(f"{tool}.")


class Tally:
    """Sums over all calls, by tool and by run; the slowest; calls over time.

    `unread` counts lines that are no records, `remainders` records that could not be formatted,
    `left_out` calls that were not wanted.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.unread = 0
        self.remainders = 0
        self.left_out = 0
        self.total = Sums()
        self.tools: dict[str, Sums] = {}
        self.runs: dict[str, Sums] = {}
        self.said: dict[str, str] = {}  # code: what the last call with it was told
        self.timeline = Timeline()
        self._slowest: list[tuple[float, int, Entry]] = []

    def read(self, lines: Iterable[bytes]) -> None:
        """Add every record on these lines."""
        for line in lines:
            entry = read_entry(line)
            if entry is not None:
                self.add(entry)
            elif is_remainder(line):
                self.remainders += 1
            else:
                self.unread += 1

    def add(self, entry: Entry) -> None:
        """One call."""
        if not self.wanted.fits(entry):
            self.left_out += 1
            return
        code = self._known_code(entry)
        outcome = outcome_of(entry.code)
        run = _sums_of(self.runs, entry.run_id, MOST_RUNS)
        for sums in (self.total, _sums_of(self.tools, entry.tool, MOST_TOOLS), run):
            sums.add(entry, outcome, code)
        if not run.ended_by and ends_run(entry.code):
            run.ended_by = code
        self.timeline.add(entry.at_s, outcome)
        if entry.mode != _TUNNEL and self.wanted.top:
            self._keep_if_slow(entry)

    def _known_code(self, entry: Entry) -> str:
        code = entry.code
        if code not in self.said and len(self.said) >= MOST_CODES:
            code = OTHER
        self.said[code] = entry.detail
        return code

    def _keep_if_slow(self, entry: Entry) -> None:
        item = (entry.total_ms, -self.total.calls, entry)  # of two equal ones the earlier
        if len(self._slowest) < self.wanted.top:
            heappush(self._slowest, item)
        elif item > self._slowest[0]:
            heappushpop(self._slowest, item)

    def slowest(self) -> list[Entry]:
        """The slowest calls, the slowest first; tunnels are not among them."""
        return [entry for _, _, entry in sorted(self._slowest, reverse=True)]


def _sums_of(table: dict[str, Sums], name: str, most: int) -> Sums:
    sums = table.get(name)
    if sums is None:
        if len(table) >= most:
            name = OTHER
        sums = table.setdefault(name, Sums())
    return sums
