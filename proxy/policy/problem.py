"""What is wrong with a policy document, and where: a path and a line for each complaint."""

import re
from typing import NamedTuple

Path = tuple[str | int, ...]

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.*/-]+")
_MAX_KEY_CHARS = 80


class PolicyProblem(NamedTuple):
    """One complaint. `path` as `path_text` writes it, empty for the document as a whole; `line`
    counts from 1, 0 where no line is to blame (an environment variable). `message` never repeats
    a value of the document: it may be a secret somebody put there by mistake."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        """`tools.timeouts_ms.default (line 7): must be greater than 0`."""
        place = f"{self.path} (line {self.line})" if self.line else self.path
        return f"{place}: {self.message}" if place else self.message


class PolicyError(Exception):
    """The document is not a policy; `errors` lists everything found wrong, in file order."""

    def __init__(self, errors: list[PolicyProblem]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = errors


def path_text(path: Path) -> str:
    """`("tools", "catalog", "a.b", "match", 0)` as `tools.catalog.a.b.match[0]`.

    Keys that would not read as a path are quoted, cut and escaped, so that a hostile key cannot
    draw on the operator's terminal.
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{part[:_MAX_KEY_CHARS]!a}]"
    return text
