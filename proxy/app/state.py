"""Where state lives: in memory, or kept in a file and put back before the first call."""

import gc
import logging
from dataclasses import dataclass
from pathlib import Path

from proxy.guards.budget import Ledger
from proxy.guards.switches import Switch, Switches
from proxy.model.clock import Clock
from proxy.policy.policy import BudgetRule
from proxy.store.journal import Journal
from proxy.store.sqlite import SqliteStore
from proxy.store.store import StoreError

_LOG = logging.getLogger("toolbooth")
_FLUSH_S = 10.0


@dataclass(frozen=True, slots=True)
class State:
    """The guards whose state may outlive the process; `journal` None: it does not. `expired`:
    switches that were kept, and ended while nothing ran."""

    switches: Switches
    ledger: Ledger
    journal: Journal | None = None
    expired: tuple[Switch, ...] = ()

    def close(self) -> bool:
        """Write what is left; no call may be under way any more. False, and said, if not all of
        it could be written."""
        if self.journal is None or self.journal.close(_FLUSH_S):
            return True
        _LOG.error("state was not written to the end: the next start knows less than this process")
        return False


def state_in_memory(clock: Clock) -> State:
    """Empty, and forgotten with the process."""
    return State(Switches(clock), Ledger(clock))


def open_state(path: Path | None, rule: BudgetRule, clock: Clock) -> State:
    """State as the last process left it. Raises `StoreError` rather than start with less."""
    state = state_in_memory(clock)
    if path is None:
        _LOG.info("switches and budgets live in memory: a restart forgets them")
        return state
    store = SqliteStore(path)
    journal = Journal(store, state.switches, state.ledger, clock, _LOG.error)
    gc.disable()  # it would walk what is put back again and again, for half of the time
    try:
        kept = journal.restore(rule)
    except StoreError:
        store.close()
        raise
    finally:
        gc.enable()
    if store.is_new:
        _LOG.warning("state in %s: a new file, nothing is switched off, no run is known", path)
    else:
        _LOG.info(
            "state in %s: %d switches, %d runs, %d agents", path, len(state.switches.active()),
            len(state.ledger.runs_table), len(state.ledger.agents_table),
        )  # fmt: skip
    engaged = {switch.key for switch in state.switches.active()}
    expired = tuple(switch for switch in kept.switches if switch.key not in engaged)
    return State(state.switches, state.ledger, journal, expired)
