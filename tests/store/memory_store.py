"""A store in a dictionary, with faults on demand. The conformance suite proves it honest."""

import threading
from dataclasses import replace

from proxy.guards.kept import KeptAgent, KeptRun
from proxy.guards.switches import Switch
from proxy.store.store import Batch, Kept, PolicySeen, StoreError


class MemoryStore:
    """`fault`: what the next writes fail with. `gate`: cleared, writes hang like a dead disk."""

    def __init__(self) -> None:
        self.switches: tuple[Switch, ...] = ()
        self.runs: dict[str, KeptRun] = {}
        self.agents: dict[str, KeptAgent] = {}
        self.policies: dict[tuple[str, str], PolicySeen] = {}
        self.writes: list[Batch] = []
        self.fault: str | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.is_closed = False

    def load(self) -> Kept:
        return Kept(
            self.switches,
            tuple(self.runs.values()),
            tuple(self.agents.values()),
            tuple(self.policies.values()),
        )

    def write(self, batch: Batch) -> None:
        self.gate.wait(10)
        if self.is_closed:
            raise StoreError("closed.")
        if self.fault is not None:
            raise StoreError(self.fault)
        self.writes.append(replace(batch, runs=dict(batch.runs), agents=dict(batch.agents)))
        if batch.switches is not None:
            self.switches = batch.switches
        for run_id, run in batch.runs.items():
            self.runs.pop(run_id, None)
            if run is not None:
                self.runs[run_id] = run
        for agent_id, agent in batch.agents.items():
            self.agents.pop(agent_id, None)
            if agent is not None:
                self.agents[agent_id] = agent
        for seen in batch.policies:
            self.policies.setdefault((seen.version, seen.digest), seen)

    def close(self) -> None:
        self.is_closed = True
