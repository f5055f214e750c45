"""The state file: what survives, and every way in which it is refused."""

import os
import random
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from proxy.store.sqlite import SqliteStore
from proxy.store.store import Batch, StoreError
from proxy.store.tables import APPLICATION_ID, POLICIES_KEPT, VERSION
from tests.fakes.nobody import unprivileged
from tests.store.values import a_policy_seen, a_run, a_switch, an_agent


def opened(path: Path) -> SqliteStore:
    return SqliteStore(path)


def refusal(path: Path) -> str:
    """Why it does not open; whatever was there is still there, byte for byte."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(StoreError) as refused, closing(opened(path)) as store:
        store.load()
    assert (path.read_bytes() if path.is_file() else None) == before
    return str(refused.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A state file with something in it, closed."""
    place = tmp_path / "state.db"
    store = opened(place)
    store.write(
        Batch(
            (a_switch(), a_switch("all")),
            {f"run-{i}": a_run(f"run-{i}") for i in range(500)},
            {"agent-1": an_agent()},
        )
    )
    store.close()
    return place


def test_what_was_written_survives_without_a_close(tmp_path: Path) -> None:
    """As after SIGKILL: the files as they are at that moment, opened by somebody else."""
    store = opened(tmp_path / "state.db")
    store.write(Batch((a_switch(),), {"run-1": a_run()}))
    store.write(Batch(runs={"run-1": a_run(steps=9)}))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("state.db", "state.db-wal"):
        (crashed / name).write_bytes((tmp_path / name).read_bytes())
        (crashed / name).chmod(0o600)
    store.close()
    again = opened(crashed / "state.db")
    kept = again.load()
    again.close()
    assert kept.switches == (a_switch(),)
    assert kept.runs == (a_run(steps=9),)
    assert not again.is_new


def test_switches_are_in_the_main_file_at_once(tmp_path: Path) -> None:
    """Whoever copies or loses the log beside it still has every switch."""
    store = opened(tmp_path / "state.db")
    store.write(Batch((a_switch(),)))
    (tmp_path / "copy.db").write_bytes((tmp_path / "state.db").read_bytes())
    (tmp_path / "copy.db").chmod(0o600)
    store.close()
    copy = opened(tmp_path / "copy.db")
    assert copy.load().switches == (a_switch(),)
    copy.close()


def test_a_new_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        store = opened(tmp_path / "state.db")
        store.write(Batch((a_switch(),)))
    finally:
        os.umask(umask)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    store.close()
    assert store.is_new
    assert set(modes.values()) == {0o600}
    assert {"state.db", "state.db-wal", "state.db.lock"} <= modes.keys()


def test_a_second_process_is_refused_and_the_next_one_is_not(path: Path) -> None:
    first = opened(path)
    assert "in use by another process" in refusal(path)
    first.close()
    opened(path).close()


def test_other_programs_cannot_change_it_meanwhile(path: Path) -> None:
    """A switch deleted under our feet would come back, or not, by chance."""
    store = opened(path)
    store.write(Batch((a_switch(),)))
    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("DELETE FROM switches")
    other.close()
    store.close()


def test_a_file_that_another_program_holds_is_refused(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert "locked" in refusal(path)
    other.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(f"PRAGMA user_version = {VERSION + 1}", "another version", id="newer schema"),
        pytest.param("PRAGMA user_version = 0", "another version", id="no schema"),
        pytest.param("PRAGMA application_id = 7", "not a state file", id="another program's"),
        pytest.param("DROP TABLE switches", "switches", id="no kill list"),
        pytest.param("DROP TABLE runs", "runs", id="no runs"),
        pytest.param("UPDATE runs SET steps = 'many'", "damaged", id="a count that is a word"),
        pytest.param("UPDATE runs SET steps = -1", "damaged", id="a count below zero"),
        pytest.param("UPDATE switches SET expires_s = 'x'", "damaged", id="an end that is a word"),
        pytest.param("UPDATE runs SET limits = '{'", "cannot be read", id="limits that are none"),
        pytest.param("UPDATE runs SET limits = '[1]'", "cannot be read", id="limits of no name"),
        pytest.param(
            """UPDATE runs SET limits = '{"max_steps": "9"}'""", "cannot be read",
            id="a limit that is a word",
        ),
        pytest.param(
            """UPDATE runs SET limits = '{"nonsense": 9}'""", "cannot be read",
            id="a limit nobody knows",
        ),
    ],
)  # fmt: skip
def test_a_file_that_says_something_else_is_refused(path: Path, text: str, words: str) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA ignore_check_constraints = ON")
    other.execute(text)
    other.close()
    assert words in refusal(path)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _overwritten(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to look like one. " * 100)


def _zeroed_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(4096)
    path.write_bytes(content)


def _gone_but_for_its_log(path: Path) -> None:
    path.rename(path.with_name(path.name + "-wal"))


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _open_to_the_group(path: Path) -> None:
    path.chmod(0o660)


def _open_to_all(path: Path) -> None:
    path.chmod(0o606)


def _a_log_of_somebody(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    log.write_bytes(b"x")
    log.chmod(0o666)


def _a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param(_truncated, "", id="half a file"),
        pytest.param(_emptied, "empty", id="an empty file"),
        pytest.param(_overwritten, "not a database", id="another file"),
        pytest.param(_zeroed_page, "", id="a page of zeros"),
        pytest.param(_gone_but_for_its_log, "is gone", id="only its log"),
        pytest.param(_a_folder, "not a file", id="a folder"),
        pytest.param(_open_to_the_group, "0660", id="the group may write"),
        pytest.param(_open_to_all, "0606", id="all may write"),
        pytest.param(_a_log_of_somebody, "0666", id="all may write its log"),
        pytest.param(_a_pipe, "not a file", id="a pipe"),
        pytest.param(_a_link_to_itself, "cannot be read", id="a link in a circle"),
    ],
)
def test_a_file_that_is_not_right_is_refused(path: Path, harm: object, words: str) -> None:
    """Never an empty kill list in its place."""
    harm(path)  # type: ignore[operator]
    assert words in refusal(path)


def test_a_file_without_permission_is_refused(path: Path) -> None:
    path.chmod(0o400)
    with unprivileged(), pytest.raises(StoreError, match="cannot be"):
        opened(path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none" / "state.db")


def test_cut_anywhere_it_is_refused_or_whole(path: Path, tmp_path: Path) -> None:
    """Whatever the length of what is left: all the switches, or a refusal."""
    content = path.read_bytes()
    cuts = {*range(0, len(content), 4096), *random.Random(7).sample(range(len(content)), 40)}
    for length in sorted(cuts):
        cut = tmp_path / f"cut-{length}.db"
        cut.write_bytes(content[:length])
        cut.chmod(0o600)
        with pytest.raises(StoreError):
            opened(cut)


def test_what_a_crash_left_half_made_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "state.db.new").write_bytes(b"half")
    store = opened(tmp_path / "state.db")
    assert store.is_new
    store.close()
    assert not (tmp_path / "state.db.new").exists()


def test_a_refused_file_is_let_go_of(path: Path) -> None:
    """The lock is not held by a store that did not open."""
    path.chmod(0o660)
    refusal(path)
    path.chmod(0o600)
    opened(path).close()


def test_a_batch_is_written_whole_or_not_at_all(path: Path) -> None:
    """The run that cannot be written takes the rest of its batch with it, and the store goes on."""
    store = opened(path)
    before = store.load()
    with pytest.raises(StoreError):
        store.write(Batch((), {"a": None, "run-1": a_run(steps=-1), "run-2": a_run("run-2")}))
    with pytest.raises(StoreError):
        store.write(Batch(runs={"run-1": a_run(tokens=2**63)}))
    assert store.load() == before
    store.write(Batch(runs={"run-1": a_run(steps=3)}))
    assert {run.run_id: run.steps for run in store.load().runs}["run-1"] == 3
    store.close()


def test_a_full_disk_is_told_and_passes(path: Path) -> None:
    store = opened(path)
    (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
    store._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
    many = {f"new-{i}": a_run(f"new-{i}") for i in range(2000)}
    with pytest.raises(StoreError, match="full"):
        store.write(Batch(runs=dict(many)))
    store._connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    store.write(Batch(runs=dict(many)))
    assert len(store.load().runs) == 2500
    store.close()


def test_policies_seen_are_bounded(path: Path) -> None:
    """The oldest go."""
    store = opened(path)
    for start in range(0, POLICIES_KEPT + 50, 210):
        seen = [a_policy_seen(f"v{i}", at_s=float(i)) for i in range(start, start + 210)]
        store.write(Batch(policies=seen))
    kept = [policy.version for policy in store.load().policies]
    store.close()
    assert kept == [f"v{i}" for i in range(50, POLICIES_KEPT + 50)]


def test_it_flushes_at_every_commit(path: Path) -> None:
    """FULL: a power cut loses no more than SIGKILL does."""
    store = opened(path)
    assert store._pragma("synchronous") == 2
    assert store._pragma("journal_mode") == "wal"
    assert store._pragma("application_id") == APPLICATION_ID
    store.close()
