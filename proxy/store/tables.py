"""The tables of a state file: their SQL, and rows to values and back.

A new column or table is a new `VERSION` and a step from the one before. A file of a newer version
is not read at all: what an older process does not know it cannot honour.

Constraints are checked by SQLite when a row is written, and again when the file is opened
(`PRAGMA quick_check`), so a row that loads has the types its columns say.
"""

import json

from proxy.guards.kept import KeptAgent, KeptRun
from proxy.guards.run_limits import LIMITS
from proxy.guards.switches import Switch
from proxy.store.store import PolicySeen

VERSION = 1
APPLICATION_ID = 0x54424F31  # "TBO1": says whose file it is
POLICIES_KEPT = 1_000

_COUNT = "INTEGER NOT NULL CHECK (typeof({0}) = 'integer' AND {0} >= 0)"
_REAL = "REAL NOT NULL CHECK (typeof({0}) = 'real')"
_TEXT = "TEXT NOT NULL CHECK (typeof({0}) = 'text')"


def _table(name: str, key: str, columns: dict[str, str]) -> str:
    lines = ", ".join(f"{column} {kind.format(column)}" for column, kind in columns.items())
    return f"CREATE TABLE {name} ({lines}, PRIMARY KEY ({key})) WITHOUT ROWID"


CREATE = (
    _table("switches", "key", {
        "key": _TEXT, "reason": _TEXT, "actor": _TEXT, "since_s": _REAL,
        "expires_s": "REAL CHECK (typeof({0}) IN ('real', 'null'))", "place": _COUNT,
    }),
    _table("runs", "run_id", {
        "run_id": _TEXT, "steps": _COUNT, "tool_calls": _COUNT, "spend_micros": _COUNT,
        "tokens": _COUNT, "byte_count": _COUNT, "refusals": _COUNT,
        "looped": "INTEGER NOT NULL CHECK ({0} IN (0, 1))", "limits": _TEXT, "age_s": _REAL,
        "idle_s": _REAL, "saved_s": _REAL,
    }),
    _table("agents", "agent_id", {
        "agent_id": _TEXT, "calls": _COUNT, "hour_age_s": _REAL, "day": _COUNT,
        "spend_micros": _COUNT, "idle_s": _REAL, "saved_s": _REAL,
    }),
    _table("policies", "version, digest", {
        "version": _TEXT, "digest": _TEXT, "first_seen_s": _REAL, "source": _TEXT,
    }),
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)  # fmt: skip

SELECT_SWITCHES = "SELECT key, reason, actor, since_s, expires_s FROM switches ORDER BY place"
SELECT_RUNS = (
    "SELECT run_id, steps, tool_calls, spend_micros, tokens, byte_count, refusals, looped, limits,"
    " age_s, idle_s, saved_s FROM runs"
)
SELECT_AGENTS = "SELECT agent_id, calls, hour_age_s, day, spend_micros, idle_s, saved_s FROM agents"
SELECT_POLICIES = (
    "SELECT version, digest, first_seen_s, source FROM policies ORDER BY first_seen_s, version"
)
PRUNE_POLICIES = (
    "DELETE FROM policies WHERE (version, digest) NOT IN (SELECT version, digest FROM policies"
    " ORDER BY first_seen_s DESC LIMIT ?)"
)

Row = tuple[str | int | float | None, ...]


def switch_row(switch: Switch, place: int) -> Row:
    """`place` keeps the order they were engaged in."""
    expires_s = None if switch.expires_s is None else float(switch.expires_s)
    return (switch.key, switch.reason, switch.actor, float(switch.since_s), expires_s, place)


def run_row(run: KeptRun) -> Row:
    """Limits set by hand are one JSON object."""
    limits = json.dumps(dict(run.limits)) if run.limits else ""
    return (*run[:7], int(run.looped), limits, *run[9:])


def run_of(row: tuple[str, int, int, int, int, int, int, int, str, float, float, float]) -> KeptRun:
    """Raises ValueError where the limits are not what `run_row` writes."""
    return KeptRun(*row[:7], bool(row[7]), _limits(row[8]) if row[8] else {}, *row[9:])


def _limits(text: str) -> dict[str, int | float]:
    limits = json.loads(text)
    if not isinstance(limits, dict) or not limits.keys() <= set(LIMITS):
        raise ValueError("not the limits of a run")
    if not all(type(value) in (int, float) for value in limits.values()):
        raise ValueError("a limit that is no number")
    return limits


def agent_row(agent: KeptAgent) -> Row:
    """As it is."""
    return tuple(agent)


def policy_row(seen: PolicySeen) -> Row:
    """As it is."""
    return tuple(seen)
