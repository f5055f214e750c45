from proxy.model.remember import remember


def test_what_is_kept_is_found_and_never_more_than_its_bound() -> None:
    known: dict[int, str] = {}
    for number in range(1000):
        remember(known, number, str(number), 7)
        assert known[number] == str(number)
        assert len(known) <= 7


def test_an_answer_that_is_worked_out_twice_is_kept_once() -> None:
    known: dict[str, int] = {}
    for _ in range(3):
        remember(known, "a", 1, 7)
    assert known == {"a": 1}
