"""Open files shared out between clients, upstreams and operators."""

import pytest

from proxy.control.doorkeeper import MOST_CONNECTIONS
from proxy.guards.descriptors import RESERVED, Descriptors, share_out

LIMITS = [
    pytest.param(20_000, Descriptors(14_856, 17_332, 19_808), id="as compose sets it"),
    pytest.param(1_024, Descriptors(624, 728, 832), id="the usual soft limit"),
    pytest.param(256, Descriptors(144, 168, 192), id="a small one reserves a quarter"),
]


@pytest.mark.parametrize(("limit", "shares"), LIMITS)
def test_clients_run_out_before_upstreams_and_both_before_the_operators(
    limit: int, shares: Descriptors
) -> None:
    assert share_out(limit) == shares
    assert shares.clients < shares.answers < shares.upstreams < limit


def test_both_operator_ports_fit_into_what_is_reserved() -> None:
    """With room for listeners, the log, the state file and look-ups."""
    assert 2 * MOST_CONNECTIONS + 32 <= RESERVED


def test_nothing_is_refused_where_nothing_was_shared_out() -> None:
    assert min(Descriptors()) > 10**9
