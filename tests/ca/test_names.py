"""What a CA may vouch for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.ca.names import Constraints, constraints_for, covers, intercepted_hosts
from proxy.model.call import PROBE_HOST
from tests.policy.documents import policy_of

NAMES = constraints_for(["api.test", "*.wide.test", "10.0.0.1", "2001:db8::1"])

COVERED = [
    ("api.test", True), ("sub.api.test", True), ("test", False), ("evil-api.test", False),
    ("wide.test", True), ("a.b.wide.test", True), ("*.wide.test", True), ("*.test", False),
    ("10.0.0.1", True), ("10.0.0.2", False), ("2001:db8::1", True), ("2001:db8::2", False),
    (PROBE_HOST, True), ("*", False),
]  # fmt: skip


@pytest.mark.parametrize(("host", "expected"), COVERED)
def test_only_what_is_intercepted_is_covered(host: str, expected: bool) -> None:
    assert covers(NAMES, host) is expected


def test_a_star_cannot_be_constrained() -> None:
    names = constraints_for(["api.test", "*"])
    assert names.is_open
    assert all(covers(names, host) for host in ("*", "any.test", "10.0.0.9"))


def test_names_below_another_are_left_out() -> None:
    assert constraints_for(["a.b.test", "*.b.test", "ab.test"]).domains == (
        "ab.test", "b.test", PROBE_HOST,
    )  # fmt: skip


def test_no_address_is_covered_where_none_is_intercepted() -> None:
    assert not covers(constraints_for(["api.test"]), "10.0.0.1")


@pytest.mark.parametrize(
    ("constraints", "host", "expected"),
    [
        pytest.param(Constraints((".a.test",), None), "a.test", False, id="a dot: not itself"),
        pytest.param(Constraints((".a.test",), None), "x.a.test", True, id="a dot: what is below"),
        pytest.param(Constraints(None, None, ("bad.test",)), "x.bad.test", False, id="excluded"),
        pytest.param(Constraints(None, None, ("bad.test",)), "good.test", True, id="the rest"),
        pytest.param(Constraints((), ()), "good.test", False, id="none at all"),
    ],
)  # fmt: skip
def test_constraints_of_other_cas(constraints: Constraints, host: str, expected: bool) -> None:
    assert covers(constraints, host) is expected


def test_hosts_come_from_tools_that_intercept_allowed_or_not() -> None:
    policy = policy_of(
        "a: {match: [{host: a.test}, {host: b.test}], intercept_tls: true}\n"
        "b: {match: [{host: c.test}]}\nc: {match: [{host: d.test}], intercept_tls: true}",
        allowlist="[a, b]",
    )
    assert intercepted_hosts(policy) == {"a.test", "b.test", "d.test"}


@given(st.lists(st.sampled_from(["a.test", "*.a.test", "x.a.test", "b.org", "*.c.b.org"])))
def test_every_pattern_is_covered_by_its_own_constraints(patterns: list[str]) -> None:
    assert all(covers(constraints_for(patterns), pattern) for pattern in patterns)
