"""Whose file it is, and that only one process has it."""

from pathlib import Path

import pytest

from proxy.store.state_file import FileLock, check_state_file, empty_private_file, publish
from proxy.store.store import StoreError


def test_no_file_and_nothing_left_of_one_is_a_beginning(tmp_path: Path) -> None:
    assert check_state_file(tmp_path / "state.db") is False


@pytest.mark.parametrize(
    ("mode", "is_refused"),
    [
        pytest.param(0o600, False, id="private"),
        pytest.param(0o644, False, id="readable by all"),
        pytest.param(0o620, True, id="writable by the group"),
        pytest.param(0o602, True, id="writable by all"),
    ],
)
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_what_others_may_write_is_refused(
    tmp_path: Path, suffix: str, mode: int, is_refused: bool
) -> None:
    """The log and the rollback journal too: SQLite believes what they say."""
    path = tmp_path / "state.db"
    path.write_bytes(b"x")
    path.chmod(0o600)
    touched = tmp_path / f"state.db{suffix}"
    touched.write_bytes(b"x")
    touched.chmod(mode)
    if not is_refused:
        assert check_state_file(path)
        return
    with pytest.raises(StoreError, match=f"state.db{suffix} may be written by others"):
        check_state_file(path)


def test_a_lock_is_held_once_and_let_go_once(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    first = FileLock(path)
    with pytest.raises(StoreError, match="in use"):
        FileLock(path)
    first.release()
    first.release()
    FileLock(path).release()
    assert (tmp_path / "state.db.lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """It could name any file of ours."""
    (tmp_path / "state.db.lock").symlink_to(tmp_path / "other")
    with pytest.raises(StoreError, match="cannot be opened"):
        FileLock(tmp_path / "state.db")
    assert not (tmp_path / "other").exists()


def test_a_finished_file_gets_its_name(tmp_path: Path) -> None:
    made = tmp_path / "state.db.new"
    made.write_bytes(b"left over")
    empty_private_file(made)
    assert made.read_bytes() == b""
    publish(made, tmp_path / "state.db")
    assert [p.name for p in tmp_path.iterdir()] == ["state.db"]
    with pytest.raises(StoreError, match="cannot be made"):
        publish(made, tmp_path / "state.db")
