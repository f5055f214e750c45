"""State in one SQLite file of the standard library.

Write-ahead log with a flush to disk at every commit, so what `write` has returned for survives a
power cut as well as SIGKILL. One process at a time: a lock file says so in words, and SQLite's
exclusive mode keeps other programs from changing switches under our feet. Whatever is wrong with
the file is a `StoreError`; an existing file is never repaired, replaced or begun anew.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from proxy.guards.kept import KeptAgent
from proxy.guards.switches import Switch
from proxy.store.state_file import FileLock, check_state_file, empty_private_file, publish
from proxy.store.store import Batch, Kept, PolicySeen, StoreError
from proxy.store.tables import (
    APPLICATION_ID,
    CREATE,
    POLICIES_KEPT,
    PRUNE_POLICIES,
    SELECT_AGENTS,
    SELECT_POLICIES,
    SELECT_RUNS,
    SELECT_SWITCHES,
    VERSION,
    Row,
    agent_row,
    policy_row,
    run_of,
    run_row,
    switch_row,
)

# Rows of one statement, largest first. Few statements, because each gives up the interpreter's
# lock and has to win it back from the event loop; few sizes, so that they stay prepared.
_CHUNKS = (64, 8, 1)
_BUSY_S = 1.0
_V = TypeVar("_V")


class SqliteStore:
    """`path` opened for this process alone, and made if it is not there (`is_new`).

    Not thread-safe; may be handed from one thread to another.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path)
        try:
            self.is_new = not check_state_file(path)
            if self.is_new:
                _make(path)
            self._connection = _connect(path)
            try:
                with self._explained("opened"):
                    self._check()
            except StoreError:
                self._connection.close()
                raise
        except StoreError:
            self._lock.release()
            raise

    def load(self) -> Kept:
        """Everything in the file."""
        with self._explained("read"):
            rows = self._connection.execute
            return Kept(
                tuple(Switch(*row) for row in rows(SELECT_SWITCHES)),
                tuple(run_of(row) for row in rows(SELECT_RUNS)),
                tuple(KeptAgent(*row) for row in rows(SELECT_AGENTS)),
                tuple(PolicySeen(*row) for row in rows(SELECT_POLICIES)),
            )

    def write(self, batch: Batch) -> None:
        """One transaction, on the disk when this returns."""
        with self._explained("written"), self._transaction():
            if batch.switches is not None:
                self._connection.execute("DELETE FROM switches")
                rows = [switch_row(switch, i) for i, switch in enumerate(batch.switches)]
                self._put("INSERT INTO switches", rows)
            self._apply("runs", "run_id", batch.runs, run_row)
            self._apply("agents", "agent_id", batch.agents, agent_row)
            if batch.policies:
                self._put("INSERT OR IGNORE INTO policies", list(map(policy_row, batch.policies)))
                self._connection.execute(PRUNE_POLICIES, (POLICIES_KEPT,))
        if batch.switches is not None:
            # Into the main file at once: then no switch hangs on the log file beside it. What
            # was committed is safe either way, so a failure here is nobody's trouble.
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Fold the log into the file and let the next process have it."""
        with suppress(sqlite3.Error):
            self._connection.close()
        self._lock.release()

    def _apply(
        self, table: str, key: str, changes: Mapping[str, _V | None], row_of: Callable[[_V], Row]
    ) -> None:
        gone: list[Row] = [(name,) for name, value in changes.items() if value is None]
        if gone:
            self._connection.executemany(f"DELETE FROM {table} WHERE {key} = ?", gone)  # noqa: S608
        rows = [row_of(value) for value in changes.values() if value is not None]
        self._put(f"INSERT OR REPLACE INTO {table}", rows)

    def _put(self, verb: str, rows: Sequence[Row]) -> None:
        at = 0
        for size in _CHUNKS:
            while len(rows) - at >= size:
                chunk = rows[at : at + size]
                marks = ", ".join([f"({', '.join('?' * len(chunk[0]))})"] * size)
                values = [value for row in chunk for value in row]
                self._connection.execute(f"{verb} VALUES {marks}", values)
                at += size

    def _check(self) -> None:
        one = self._pragma
        one("trusted_schema = OFF")
        one("cell_size_check = ON")
        one("locking_mode = EXCLUSIVE")
        if one("application_id") != APPLICATION_ID:
            raise StoreError(f"{self._path} is not a state file of Toolbooth.")
        version = one("user_version")
        if version != VERSION:
            raise StoreError(
                f"{self._path} was written by another version of Toolbooth: its format is"
                f" {version}, this one reads {VERSION}."
            )
        if one("journal_mode = WAL") != "wal":
            raise StoreError(f"{self._path} is on a file system without a write-ahead log.")
        one("synchronous = FULL")
        one("fullfsync = ON")  # macOS: past the drive's cache
        one("temp_store = MEMORY")  # a read-only container has no folder for temporary files
        if (found := one("quick_check(1)")) != "ok":
            raise StoreError(f"{self._path} is damaged: {str(found)[:200]}.")

    def _pragma(self, text: str) -> object:
        row = self._connection.execute(f"PRAGMA {text}").fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        """SQLite's own words name tables and causes, never values."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self._path} cannot be {verb}: {error}.") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise StoreError(f"{self._path} cannot be {verb}: {type(error).__name__}.") from None


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None,
            check_same_thread=False, timeout=_BUSY_S,
        )  # fmt: skip
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be opened: {error}.") from None


def _make(path: Path) -> None:
    """Under another name until it is whole."""
    made = path.with_name(path.name + ".new")
    empty_private_file(made)
    connection = _connect(made)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN")
        for statement in CREATE:
            connection.execute(statement)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be made: {error}.") from None
    finally:
        connection.close()
    publish(made, path)
