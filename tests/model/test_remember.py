from proxy.model.remember import Memory


def test_never_more_is_kept_than_fits() -> None:
    memory: Memory[int, str] = Memory(7)
    for number in range(1000):
        assert memory.keep(number, str(number)) is (number in memory.known)
        assert len(memory.known) <= 7
    assert memory.generation == 1000 // (7 * 8 + 6)


def test_an_answer_that_is_worked_out_twice_is_kept_once() -> None:
    memory: Memory[str, int] = Memory(7)
    for _ in range(3):
        memory.keep("a", 1)
    assert memory.known == {"a": 1}


def test_what_fits_goes_on_being_found_where_more_is_asked_for_in_turn() -> None:
    memory: Memory[int, int] = Memory(10)
    found = 0
    for number in list(range(30)) * 30:
        if number in memory.known:
            found += 1
        else:
            memory.keep(number, number)
    assert found > 0.2 * 900  # one that lets everybody in finds nothing here


def test_a_full_memory_makes_room_for_a_new_world_in_the_end() -> None:
    memory: Memory[int, int] = Memory(10)
    for number in range(10):
        memory.keep(number, number)
    misses = 0
    while 10 not in memory.known:
        memory.keep(10, 10)
        misses += 1
    assert misses == 80
    assert memory.known == {10: 10}


def test_whoever_is_told_to_forget_knows_nothing() -> None:
    memory: Memory[int, int] = Memory(10)
    memory.keep(1, 1)
    memory.forget()
    assert not memory.known
