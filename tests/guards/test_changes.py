"""Noting what changed: once, cheaply, and only if somebody watches."""

from proxy.guards.changes import Changes


class Thing:
    def __init__(self) -> None:
        self.is_dirty = False


def change(changes: Changes[Thing], thing: Thing) -> None:
    """As the tables do it."""
    if not thing.is_dirty:
        changes.note(thing)


def test_nothing_is_kept_while_nobody_watches() -> None:
    changes: Changes[Thing] = Changes()
    thing = Thing()
    change(changes, thing)
    changes.forget("a")
    assert len(changes) == 0
    assert changes.take(10) == ([], set())


def test_an_entry_is_noted_once_until_it_is_taken() -> None:
    changes: Changes[Thing] = Changes()
    changes.watch()
    thing = Thing()
    for _ in range(3):
        change(changes, thing)
    assert changes.take(10) == ([thing], set())
    assert changes.take(10) == ([], set())
    change(changes, thing)
    assert changes.take(10) == ([thing], set())


def test_the_first_noted_are_the_first_taken_and_the_rest_stays() -> None:
    changes: Changes[Thing] = Changes()
    changes.watch()
    things = [Thing() for _ in range(5)]
    for thing in things:
        change(changes, thing)
    changes.forget("gone")
    assert len(changes) == 6
    assert changes.take(2) == (things[:2], {"gone"})
    change(changes, things[0])
    change(changes, things[4])
    assert changes.take(10) == ([*things[2:], things[0]], set())
