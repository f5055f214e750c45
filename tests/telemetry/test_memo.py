from proxy.telemetry.memo import Memo


def test_an_answer_is_computed_once() -> None:
    """The second question costs nothing."""
    asked: list[str] = []

    def shout(text: str) -> str:
        asked.append(text)
        return text.upper()

    memo = Memo(shout)
    assert [memo.of("a"), memo.of("a"), memo.of("b")] == ["A", "A", "B"]
    assert asked == ["a", "b"]


def test_what_is_remembered_is_bounded() -> None:
    """Neither many texts nor long ones make it grow."""
    memo = Memo(str.upper)
    for number in range(10_000):
        assert memo.of(f"k{number}") == f"K{number}"
    assert len(memo._memory.known) <= 4096
    before = len(memo._memory.known)
    assert memo.of("x" * 1000) == "X" * 1000
    assert len(memo._memory.known) == before
