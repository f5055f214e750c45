"""`--watch`: the same view again and again."""

import argparse
import sys

import pytest

from proxy.cli.repeating import print_again


class _Pause:
    """Lets so many views pass, then interrupts."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, seconds: float) -> None:
        assert seconds > 0
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("watch", "as_json", "on_screen", "printed"),
    [
        pytest.param(False, False, True, "1\n", id="once"),
        pytest.param(True, False, False, "1\n2\n3\n", id="one after the other in a pipe"),
        pytest.param(True, True, True, "1\n2\n3\n", id="one JSON object a line"),
        pytest.param(
            True, False, True, "\x1b[H\x1b[2J1\n\x1b[H\x1b[2J2\n\x1b[H\x1b[2J3\n",
            id="in place on a terminal",
        ),
    ],
)  # fmt: skip
def test_views(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, watch: bool,
    as_json: bool, on_screen: bool, printed: str,
) -> None:  # fmt: skip
    """Until interrupted, which is how one ends it and no failure."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_screen)
    views = iter("1234")
    arguments = argparse.Namespace(watch=watch, json=as_json)
    assert print_again(lambda: next(views), arguments, _Pause(3)) == 0
    assert capsys.readouterr().out == printed
