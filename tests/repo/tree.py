"""The source tree with one line a file, for `docs/architecture.md`.

The lines are the first sentences of the modules' docstrings: a file that is added, removed or
changes its mind shows up in the page or fails its test.
"""

import ast
import re
import textwrap
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "proxy"
BEGIN = "<!-- tree: begin, written by `python -m tests.repo.write_docs` -->"
END = "<!-- tree: end -->"
_WIDTH = 100
_COLUMN = 24


def modules() -> list[Path]:
    """Every Python file of the product, sorted."""
    return sorted(PACKAGE.rglob("*.py"))


def summary(path: Path) -> str:
    """The first sentence of the module's docstring; a question comes with its answer."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    sentences = re.split(r"(?<=[.?!])\s+", " ".join(text.split()))
    return " ".join(sentences[:2]) if sentences[0].endswith("?") else sentences[0]


def layers() -> list[str]:
    """The packages and top modules from the bottom up, as the import contract has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]
    return [
        name.strip()
        for layer in reversed(contract["layers"])
        for name in reversed(layer.split("|"))
    ]


def tree_text() -> str:
    """The block between the two markers of the page."""
    lines = ["```text", *_entry("proxy/", summary(PACKAGE / "__init__.py"), 0)]
    for name in layers():
        package, module = PACKAGE / name, PACKAGE / f"{name}.py"
        if module.exists():
            lines += _entry(module.name, summary(module), 1)
        elif (package / "__init__.py").exists():
            lines += _entry(f"{name}/", summary(package / "__init__.py"), 1)
            for path in sorted(package.rglob("*.py")):
                if path.name != "__init__.py":
                    lines += _entry(path.relative_to(package).as_posix(), summary(path), 2)
    return "\n".join([BEGIN, *lines, "```", END])


def _entry(name: str, text: str, depth: int) -> list[str]:
    head = f"{'  ' * depth}{name}".ljust(_COLUMN - 1) + " "
    wrapped = textwrap.wrap(text, _WIDTH - _COLUMN, break_long_words=False) or [""]
    return [(head + wrapped[0]).rstrip(), *(" " * _COLUMN + line for line in wrapped[1:])]


def with_tree(page: str) -> str:
    """`page` with the block between the markers written anew."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has lost its tree markers")
    return before + tree_text() + after
