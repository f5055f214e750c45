"""What a store is: loaded once at start, then only written to.

Decisions are made on the guards' own state and never wait for a store, so a store needs two verbs.
Values are the guards' own (`Switch`, `KeptRun`, `KeptAgent`); a store knows nothing of clocks or
limits.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from proxy.guards.kept import KeptAgent, KeptRun
from proxy.guards.switches import Switch

PENDING_LIMIT = 500_000  # entries of a batch from which on forgotten ones are let go


class StoreError(Exception):
    """One sentence for an operator: what cannot be read or written, and why; no contents."""


class PolicySeen(NamedTuple):
    """A policy that was in force. `digest` is of its text, `version` of what it means; `source` is
    where it came from."""

    version: str
    digest: str
    first_seen_s: float
    source: str


class Kept(NamedTuple):
    """Everything in a store. Switches in the order they were engaged, policies as first seen."""

    switches: tuple[Switch, ...] = ()
    runs: tuple[KeptRun, ...] = ()
    agents: tuple[KeptAgent, ...] = ()
    policies: tuple[PolicySeen, ...] = ()


@dataclass(slots=True)
class Batch:
    """Changes to be written. `switches`: all that are engaged, or None if none of them changed; the
    list is short, and a whole one mends whatever went wrong before. Runs and agents by id; None:
    forgotten. `policies`: those in force, which a store keeps once each.
    """

    switches: tuple[Switch, ...] | None = None
    runs: dict[str, KeptRun | None] = field(default_factory=dict)
    agents: dict[str, KeptAgent | None] = field(default_factory=dict)
    policies: list[PolicySeen] = field(default_factory=list)

    def __len__(self) -> int:
        """How many changes."""
        count = len(self.runs) + len(self.agents) + len(self.policies)
        return count + (self.switches is not None)

    def absorb(self, newer: "Batch") -> None:
        """Lay a newer batch over this one, so that what waits grows by names and not by changes.

        Changes of known runs are bounded by the runs there are. Forgotten ones are not, while a
        disk is full and ids are invented; beyond `PENDING_LIMIT` they are let go: a run that was
        not deleted comes back used, which errs to the safe side.
        """
        if newer.switches is not None:
            self.switches = newer.switches
        self.runs.update(newer.runs)
        self.agents.update(newer.agents)
        self.policies.extend(newer.policies)
        if len(self.runs) > PENDING_LIMIT:
            self.runs = {key: run for key, run in self.runs.items() if run is not None}
        if len(self.agents) > PENDING_LIMIT:
            self.agents = {key: agent for key, agent in self.agents.items() if agent is not None}


class Store(Protocol):
    """Keeps what it is given. Blocking: `load` at start, `write` and `close` in one thread. Raises
    `StoreError` and nothing else."""

    def load(self) -> Kept:
        """Everything that was written."""

    def write(self, batch: Batch) -> None:
        """All of `batch` or nothing; when this returns it is as safe as this store can make it."""

    def close(self) -> None:
        """Let go of it; once is enough, twice does no harm."""
