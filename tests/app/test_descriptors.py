"""The limit of open files, raised and read."""

import resource

import pytest

from proxy.app import descriptors
from proxy.guards.descriptors import share_out

HARD = [
    pytest.param(4096, 4096, id="as far as the hard limit goes"),
    pytest.param(resource.RLIM_INFINITY, 1_000_000, id="no limit is a large one"),
]


@pytest.mark.parametrize(("hard", "limit"), HARD)
def test_the_soft_limit_is_raised_to_the_hard_one(
    hard: int, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: raised.append(both))
    assert descriptors.all_descriptors() == share_out(limit)
    assert raised == [(hard, hard)]
