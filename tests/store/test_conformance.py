"""What every store does. A new backend joins by a line in `BACKENDS`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.guards.kept import KeptAgent, KeptRun
from proxy.guards.switches import Switch
from proxy.store.sqlite import SqliteStore
from proxy.store.store import Batch, Kept, Store, StoreError
from tests.store.memory_store import MemoryStore
from tests.store.values import (
    AGENTS,
    LARGEST,
    RUNS,
    SWITCHES,
    TEXTS,
    a_policy_seen,
    a_run,
    a_switch,
    an_agent,
)

BACKENDS: dict[str, Callable[[Path], Store]] = {
    "memory": lambda _: MemoryStore(),
    "sqlite": lambda folder: SqliteStore(folder / "state.db"),
}


@pytest.fixture(params=list(BACKENDS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = BACKENDS[request.param](tmp_path)
    yield made
    made.close()


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.load() == Kept()


def test_what_was_written_is_loaded_as_it_was(store: Store) -> None:
    """Every field, the largest numbers, an end that is none, limits of a run."""
    switches = (a_switch("all"), a_switch("run:a/b c", 1_900_000_000.5))
    run = a_run("r", tokens=LARGEST, looped=True, limits={"max_steps": 3, "max_seconds": 1.5})
    store.write(Batch(switches, {"r": run}, {"agent-1": an_agent()}, [a_policy_seen()]))
    assert store.load() == Kept(switches, (run,), (an_agent(),), (a_policy_seen(),))


def test_switches_are_replaced_as_a_whole(store: Store) -> None:
    """And stay in the order they were engaged in."""
    store.write(Batch((a_switch("writes"), a_switch("agent:a"), a_switch("all"))))
    store.write(Batch((a_switch("writes"), a_switch("all"))))
    assert [switch.key for switch in store.load().switches] == ["writes", "all"]
    store.write(Batch(()))
    assert store.load().switches == ()


def test_a_batch_without_switches_leaves_them_alone(store: Store) -> None:
    store.write(Batch((a_switch(),)))
    store.write(Batch(runs={"run-1": a_run()}))
    assert store.load().switches == (a_switch(),)


def test_runs_and_agents_are_replaced_and_forgotten_by_id(store: Store) -> None:
    """What is not named stays; forgetting what is not there does nothing."""
    store.write(Batch(runs={n: a_run(n) for n in "abc"}, agents={n: an_agent(n) for n in "abc"}))
    store.write(
        Batch(
            runs={"a": a_run("a", steps=99), "b": None, "never": None},
            agents={"a": an_agent("a", calls=99), "b": None, "never": None},
        )
    )
    kept = store.load()
    assert {run.run_id: run.steps for run in kept.runs} == {"a": 99, "c": 1}
    assert {agent.agent_id: agent.calls for agent in kept.agents} == {"a": 99, "c": 7}


def test_a_policy_is_remembered_once_with_its_first_sight(store: Store) -> None:
    store.write(Batch(policies=[a_policy_seen(at_s=1.0), a_policy_seen("v2", at_s=2.0)]))
    store.write(Batch(policies=[a_policy_seen(at_s=9.0), a_policy_seen("v1", "other", 3.0)]))
    seen = store.load().policies
    assert [(p.version, p.digest, p.first_seen_s) for p in seen] == [
        ("v1", "d1", 1.0), ("v2", "d1", 2.0), ("v1", "other", 3.0),
    ]  # fmt: skip


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 64, 65, 137])
def test_batches_of_every_size_arrive_whole(store: Store, count: int) -> None:
    """Rows are written in groups; none may fall between them."""
    runs = {f"run-{i}": a_run(f"run-{i}", steps=i) for i in range(count)}
    switches = tuple(a_switch(f"run:{i}") for i in range(count))
    store.write(Batch(switches, dict(runs)))
    kept = store.load()
    assert kept.switches == switches
    assert {run.run_id: run for run in kept.runs} == runs


def test_a_closed_store_takes_nothing_more(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError):
        store.write(Batch((a_switch(),)))


@given(
    switches=st.lists(SWITCHES, unique_by=lambda s: s.key, max_size=10),
    runs=st.dictionaries(TEXTS, st.none() | RUNS, max_size=10),
    agents=st.dictionaries(TEXTS, st.none() | AGENTS, max_size=10),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_values_come_back(
    store: Store,
    switches: list[Switch],
    runs: dict[str, KeptRun | None],
    agents: dict[str, KeptAgent | None],
) -> None:
    """Whatever text and whatever number: read back it is the same."""
    known = store.load()
    new_runs = {key: run and run._replace(run_id=key) for key, run in runs.items()}
    new_agents = {key: one and one._replace(agent_id=key) for key, one in agents.items()}
    gone_runs = dict.fromkeys(run.run_id for run in known.runs)
    gone_agents = dict.fromkeys(agent.agent_id for agent in known.agents)
    store.write(Batch(tuple(switches), {**gone_runs, **new_runs}, {**gone_agents, **new_agents}))
    kept = store.load()
    assert kept.switches == tuple(switches)
    assert {r.run_id: r for r in kept.runs} == {k: r for k, r in new_runs.items() if r}
    assert {a.agent_id: a for a in kept.agents} == {k: a for k, a in new_agents.items() if a}
