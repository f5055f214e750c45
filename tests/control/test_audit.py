"""What the audit is told."""

import pytest

from proxy.control.access import Role, Visitor
from proxy.control.audit import REFUSED_PER_SECOND, RefusedAttempts, audit_entry
from proxy.control.problem import Problem
from tests.fakes.clock import FakeClock

WRONG = Problem(401, "wrong_token", "Wrong.")


def test_an_entry_says_who_did_what_and_why() -> None:
    """The promised fields."""
    entry = audit_entry(0.0, Visitor(Role.ADMIN, "alice"), "switch.engage", "all", "fire", "done")
    assert entry == {
        "ts": "1970-01-01T00:00:00.000Z", "event": "admin", "actor": "alice", "role": "admin",
        "action": "switch.engage", "key": "all", "reason": "fire", "outcome": "done",
    }  # fmt: skip


def test_refused_attempts_name_the_act_and_leave_out_the_query() -> None:
    """A token in a query must not get into the trail."""
    entries: list[dict[str, object]] = []
    attempts = RefusedAttempts(entries.append, FakeClock())
    attempts.tell(None, "PUT", "/v1/switches/run:a%2Fb?token=secret", WRONG)
    attempts.tell(None, "GET", "/v1/\x1b[2J", WRONG)
    first, second = entries
    assert (first["action"], first["key"]) == ("switch.engage", "run:a/b")
    assert first["actor"] == first["role"] == "unauthenticated"
    assert first["outcome"] == "wrong_token"
    assert "secret" not in str(entries)
    assert (second["action"], second["key"]) == ("GET", "/v1/\\x1b[2J")


def test_a_flood_of_attempts_is_cut_and_counted() -> None:
    """A few a second get through, and the next entry tells how many did not."""
    entries: list[dict[str, object]] = []
    clock = FakeClock()
    attempts = RefusedAttempts(entries.append, clock)
    for _ in range(100):
        attempts.tell(None, "GET", "/v1/tools", WRONG)
    assert len(entries) == REFUSED_PER_SECOND
    clock.advance(1.0)
    attempts.tell(None, "GET", "/v1/tools", WRONG)
    assert entries[-1]["suppressed"] == 100 - REFUSED_PER_SECOND
    attempts.tell(None, "GET", "/v1/tools", WRONG)
    assert "suppressed" not in entries[-1]
    assert attempts.suppressed_total == 100 - REFUSED_PER_SECOND


@pytest.mark.parametrize(
    ("method", "path", "action", "key"),
    [
        ("PUT", "/v1/switches/run%3Aa", "switch.engage", "run:a"),
        ("DELETE", "/v1/switches/all", "switch.release", "all"),
        ("PATCH", "/v1/runs/a%2Fb", "run.limit", "run:a/b"),
        ("DELETE", "/v1/runs/a", "run.forget", "run:a"),
        ("PUT", "/v1/policy", "policy.put", ""),
        ("PATCH", "/v1/observability", "observability.raise", ""),
        ("DELETE", "/v1/observability", "observability.reset", ""),
        ("POST", "/v1/policy", "POST", "/v1/policy"),
    ],
)
def test_refused_acts_have_the_names_of_those_done(
    method: str, path: str, action: str, key: str
) -> None:
    """So that one search finds both."""
    entries: list[dict[str, object]] = []
    refused = RefusedAttempts(entries.append, FakeClock())
    refused.tell(None, method, path, Problem(401, "token_required", "Why."))
    assert [(entry["action"], entry["key"]) for entry in entries] == [(action, key)]
