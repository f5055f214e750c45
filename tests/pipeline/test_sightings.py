"""What is remembered of nonces: bounded, for a while, and never pushed out by others."""

from proxy.model.call import Caller
from proxy.pipeline.sightings import KEEP_S, MAX_NONCES, Sightings
from tests.fakes.clock import FakeClock

ANN = Caller("ann", "ann", run_given=True)
BOB = Caller("bob", "bob", run_given=True)


def test_ways_of_one_nonce_are_kept_together() -> None:
    """Each way with its own caller; an empty user agent takes nothing away."""
    sightings = Sightings(FakeClock())
    assert sightings.note("nonce-1", "http", ANN, "curl/8")
    assert sightings.note("nonce-1", "tunnel", BOB, "")
    sighting = sightings.of("nonce-1")
    assert sighting.callers == {"http": ANN, "tunnel": BOB}
    assert sighting.user_agent == "curl/8"
    assert sightings.of("nonce-2").callers == {}


def test_a_full_table_keeps_what_it_has_until_its_time() -> None:
    """Flooding makes room for nobody: the first nonce stays, the new one is turned away, and
    after a while there is room again."""
    clock = FakeClock()
    sightings = Sightings(clock)
    assert all(sightings.note(f"n{i}", "http", ANN, "") for i in range(MAX_NONCES))
    assert not sightings.note("late", "http", ANN, "")
    assert sightings.note("n0", "tunnel", ANN, "")
    assert set(sightings.of("n0").callers) == {"http", "tunnel"}
    clock.advance(KEEP_S + 1)
    assert sightings.of("n0").callers == {}
    assert sightings.note("late", "http", ANN, "")
    assert len(sightings) == 1
