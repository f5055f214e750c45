"""What the demo looks like: one table, 80 columns, in a plain terminal."""

import textwrap

WIDTH = 80
_GREEN, _RED, _YELLOW, _DIM, _BOLD, _RESET = "32", "31", "33", "2", "1", "0"
_MARKS = {"yes": ("✓", _GREEN), "no": ("✗", _RED), "slow": ("◷", _YELLOW)}


class Screen:
    """Prints; colours only where they are wanted."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def _paint(self, text: str, *codes: str) -> str:
        return f"\x1b[{';'.join(codes)}m{text}\x1b[{_RESET}m" if self._colours else text

    def title(self, left: str, right: str) -> None:
        """The head of the page."""
        gap = " " * (WIDTH - 2 - len(left) - len(right))
        print(f"\n {self._paint(left, _BOLD)}{gap}{self._paint(right, _DIM)}")
        self.rule("━")

    def rule(self, mark: str = "─") -> None:
        """A line across."""
        print(" " + self._paint(mark * (WIDTH - 2), _DIM))

    def heading(self, *texts: str) -> None:
        """Column names."""
        did, said, why = texts
        print(" " + self._paint(f"{did:<29} {said:<31}{why:>16}", _DIM))

    def row(self, did: str, verdict: str, said: str, note: str) -> None:
        """One thing the agent did. `verdict`: yes, no or slow."""
        mark, colour = _MARKS[verdict]
        print(f" {did:<29} {self._paint(mark, colour, _BOLD)} {said:<29}{note:>16}")

    def bar(self, filled: int, total: int, text: str) -> None:
        """So many of so many."""
        full = self._paint("■" * filled, _GREEN)
        rest = self._paint("□" * (total - filled), _RED)
        print(f" {'':<29} {full}{rest}  {text}")

    def record(self, caption: str, lines: list[str]) -> None:
        """A framed text."""
        print(f"\n {self._paint(caption, _BOLD)}")
        for line in lines:
            for part in textwrap.wrap(
                line, WIDTH - 6, subsequent_indent="  ", break_long_words=False
            ) or [""]:
                print(f"   {self._mask(part)}")

    def _mask(self, text: str) -> str:
        """Show what was redacted."""
        if not self._colours:
            return text
        return text.replace("[redacted", f"\x1b[{_YELLOW}m[redacted").replace("]", "]\x1b[0m")

    def note(self, text: str = "") -> None:
        """A line of prose."""
        print(f" {text}")
