import gc
from collections.abc import Iterator

import pytest

from proxy.app import collector


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_what_was_loaded_is_not_looked_at_again_and_the_rest_less_often() -> None:
    before, [_, second, third] = gc.get_freeze_count(), gc.get_threshold()
    collector.settle()
    assert gc.get_freeze_count() > before
    assert gc.get_threshold() == (10_000, second, third)
    assert gc.isenabled()
