"""How a command ends, for scripts."""

DONE = 0
FAILED = 1
BAD_USAGE = 2  # or a bad policy


class CommandError(Exception):
    """A command cannot go on. `str()` is one sentence for the person who typed it."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code
