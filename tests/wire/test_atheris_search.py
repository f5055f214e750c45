"""What `atheris_search.py` looks for, for a moment and without atheris: on its own seeds, changed
by hypothesis. The real search is run by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire import atheris_search
from tests.wire.atheris_search import PARTS, of_hello
from tests.wire.hellos import client_hello, reframed

SEEDS = {name: list(seeds()) for name, (_, seeds) in PARTS.items()}


@pytest.mark.parametrize("part", PARTS)
def test_the_seeds_hold(part: str) -> None:
    look = PARTS[part][0]
    assert [problem for seed in SEEDS[part] if (problem := look(seed)) is not None] == []


@given(
    part=st.sampled_from(sorted(PARTS)),
    pick=st.integers(0, 10_000),
    at=st.integers(0, 10_000),
    piece=st.binary(max_size=4),
    dropped=st.integers(0, 4),
)
@settings(max_examples=400, deadline=None)
def test_so_does_what_is_nearly_a_seed(
    part: str, pick: int, at: int, piece: bytes, dropped: int
) -> None:
    seed = SEEDS[part][pick % len(SEEDS[part])]
    at %= len(seed) + 1
    assert PARTS[part][0](seed[:at] + piece + seed[at + dropped :]) is None


@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    name=st.sampled_from(["h.test", None]),
)
@settings(max_examples=50, deadline=None)
def test_a_hello_in_any_records_is_one_hello(sizes: list[int], name: str | None) -> None:
    """And no beginning of it names another server than the whole."""
    hello = reframed(client_hello(name), [max(size, 9) for size in sizes])
    assert of_hello(hello) is None


def test_a_reader_that_contradicts_itself_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that finds nothing in anything would prove nothing."""
    hello = client_hello("h.test")
    monkeypatch.setattr(atheris_search, "misread", lambda data, reader: "another name")
    assert of_hello(hello) == "another name"
    monkeypatch.setattr(atheris_search, "contradicts", lambda verdicts: True)
    assert of_hello(hello) == "a decided opening changes with more bytes"
