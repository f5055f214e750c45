"""Switches, runs and agents as a store is given them."""

from typing import Any

from hypothesis import strategies as st

from proxy.guards.kept import KeptAgent, KeptRun
from proxy.guards.switches import Switch
from proxy.store.store import PolicySeen

LARGEST = 2**63 - 1


def a_switch(key: str = "tool:search.read", expires_s: float | None = None) -> Switch:
    return Switch(key, "bad answers", "ops", 1_800_000_000.25, expires_s)


def a_run(run_id: str = "run-1", **values: Any) -> KeptRun:
    run = KeptRun(run_id, 1, 2, 3, 4, 5, 6, False, {}, 10.5, 2.25, 1_800_000_000.125)
    return run._replace(**values)


def an_agent(agent_id: str = "agent-1", **values: Any) -> KeptAgent:
    agent = KeptAgent(agent_id, 7, 60.5, 20_000, 300, 1.5, 1_800_000_000.5)
    return agent._replace(**values)


def a_policy_seen(version: str = "v1", digest: str = "d1", at_s: float = 5.0) -> PolicySeen:
    return PolicySeen(version, digest, at_s, "file")


# Any text that can be UTF-8: ids are ASCII, but a reason or an actor may be anything printable.
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
COUNTS = st.integers(0, LARGEST)
SECONDS = st.floats(-1e9, 1e12)
SWITCHES = st.builds(Switch, TEXTS, TEXTS, TEXTS, SECONDS, st.none() | SECONDS)
RUNS = st.builds(
    KeptRun, TEXTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.booleans(),
    st.dictionaries(st.sampled_from(["max_steps", "max_seconds"]), st.integers(0, 2**53)),
    SECONDS, SECONDS, SECONDS,
)  # fmt: skip
AGENTS = st.builds(KeptAgent, TEXTS, COUNTS, SECONDS, COUNTS, COUNTS, SECONDS, SECONDS)
