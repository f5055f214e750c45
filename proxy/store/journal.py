"""Observes the guards and has what changed written behind them.

The guards decide on their own state and know of no store. Here is what connects the two: all that
was kept is put back before the first call, and from then on changes are collected every
`EVERY_S` seconds on the event loop, where that state lives, and handed to the writer's thread.
"""

import asyncio
from collections.abc import Callable
from hashlib import sha256

from proxy.guards.budget import Ledger
from proxy.guards.switches import Switches
from proxy.model.clock import Clock
from proxy.policy.policy import BudgetRule
from proxy.store.outcome import expect_outcome
from proxy.store.store import Batch, Kept, PolicySeen, Store, StoreError
from proxy.store.writer import RETRY_S, Writer

EVERY_S = 0.2  # with the write after it well inside the second that may be lost
KEEP_WAIT_S = 5.0  # an operator's command gives up after ten
_AT_ONCE = 250  # entries collected before calls get their turn: about a millisecond


class Journal:
    """Keeps `switches` and `ledger` in `store`. Made, restored and closed outside the event loop;
    `run` and `keep` belong to it.

    A crash forgets what budgets used in the last moments (`EVERY_S` and one write), never a switch
    that `keep` returned for. `close` forgets nothing.
    """

    def __init__(
        self, store: Store, switches: Switches, ledger: Ledger, clock: Clock,
        report: Callable[[str], None], retry_s: float = RETRY_S,
    ) -> None:  # fmt: skip
        self._store = store
        self._switches = switches
        self._ledger = ledger
        self._clock = clock
        self._writer = Writer(store, clock, report, retry_s)
        self._switches_changed = False
        self._collected_s = clock.monotonic()

    @property
    def lag_s(self) -> float:
        """How old the oldest change may be that a crash now would forget."""
        return max(self._writer.lag_s, self._clock.monotonic() - self._collected_s)

    @property
    def write_errors(self) -> int:
        """Failed attempts to write."""
        return self._writer.errors

    def restore(self, rule: BudgetRule) -> Kept:
        """Fill the guards, which must be empty, and begin to write. Returns what was kept.

        Raises `StoreError` rather than leave out a switch: a shorter kill list is no kill list.
        """
        kept = self._store.load()
        self._ledger.watch()
        for switch in kept.switches:
            try:
                still_binds = self._switches.restore(switch)
            except ValueError as error:
                raise StoreError(f"the state holds a switch that cannot be: {error}.") from None
            self._switches_changed |= not still_binds
        self._ledger.restore(rule, kept.runs, kept.agents)
        self._switches.subscribe(self._note_switches)
        self._writer.start()
        return kept

    def saw_policy(self, version: str, text: bytes, source: str) -> None:
        """This policy is in force from now on; kept once, with when it was first seen."""
        seen = PolicySeen(version, sha256(text).hexdigest(), self._clock.wall(), source)
        self._writer.put(Batch(policies=[seen]))

    async def run(self) -> None:
        """Collect for as long as the process serves."""
        while True:  # noqa: ASYNC110 - a timer: what changed is found by looking
            await asyncio.sleep(0 if self._collect() else EVERY_S)

    async def keep(self) -> None:
        """Return once every switch, as it is now, is on the disk. The switches themselves have
        long taken hold. Raises `StoreError` if that fails or takes too long; writing goes on."""
        outcome, tell = expect_outcome()
        self._switches_changed = False
        self._writer.put(Batch(switches=tuple(self._switches.active())), tell)
        try:
            async with asyncio.timeout(KEEP_WAIT_S):
                error = await outcome
        except TimeoutError:
            raise StoreError(f"the disk has not answered for {KEEP_WAIT_S:g} s.") from None
        if error is not None:
            raise error

    def close(self, timeout_s: float) -> bool:
        """Write everything and let go of the store; no call may be under way any more. False if
        not all of it could be written."""
        while self._collect():
            pass
        is_written = self._writer.stop(timeout_s)
        if self._writer.has_ended:
            self._store.close()
        return is_written

    def _note_switches(self) -> None:
        self._switches_changed = True

    def _collect(self) -> bool:
        """Hand over a slice of what changed; True if there is more."""
        changes = self._ledger.take_changes(_AT_ONCE)
        batch = Batch(runs=changes.runs, agents=changes.agents)
        if self._switches_changed:
            self._switches_changed = False
            batch.switches = tuple(self._switches.active())
        if batch:
            self._writer.put(batch, since_s=self._collected_s)
        has_more = self._ledger.has_changes
        if not has_more:
            self._collected_s = self._clock.monotonic()
        return has_more
