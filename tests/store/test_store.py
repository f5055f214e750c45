"""Batches: what waits to be written is merged, not queued."""

import pytest

from proxy.store import store as module
from proxy.store.store import Batch
from tests.store.values import a_policy_seen, a_run, a_switch, an_agent


def test_the_newer_batch_wins_name_by_name() -> None:
    older = Batch((a_switch(),), {"a": a_run("a"), "b": a_run("b")}, {"x": an_agent("x")})
    older.absorb(Batch(None, {"b": None, "c": a_run("c")}, {"x": None}, [a_policy_seen()]))
    assert older.switches == (a_switch(),)
    assert older.runs == {"a": a_run("a"), "b": None, "c": a_run("c")}
    assert older.agents == {"x": None}
    assert older.policies == [a_policy_seen()]
    older.absorb(Batch(()))
    assert older.switches is not None
    assert len(older.switches) == 0


def test_a_batch_is_as_long_as_what_changed() -> None:
    assert not Batch()
    assert len(Batch((), {"a": None}, {"b": None}, [a_policy_seen()])) == 4


def test_forgotten_names_are_let_go_of_when_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invented run ids against a full disk: what is used is kept, what is forgotten is not."""
    monkeypatch.setattr(module, "PENDING_LIMIT", 10)
    batch = Batch(runs={"used": a_run("used")}, agents={"used": an_agent("used")})
    for i in range(9):
        batch.absorb(Batch(runs={f"{i}": None}, agents={f"{i}": None}))
    assert (len(batch.runs), len(batch.agents)) == (10, 10)
    batch.absorb(Batch(runs={"one more": None}, agents={"one more": None}))
    assert (list(batch.runs), list(batch.agents)) == (["used"], ["used"])
