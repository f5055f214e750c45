"""The table of bounds in `docs/architecture.md` against the values in the code, both ways."""

import ast
import inspect
import re
from importlib import import_module

import pytest

from tests.repo.tree import PACKAGE, ROOT

_ROW = re.compile(r"^\| [^|]+ \| `([\w.]+):(\w+)(?:\((\w+)\))?` \| ([\d,.]+) \| [^|]+ \|$", re.M)
_PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
_ROWS = _ROW.findall(_PAGE)
_WORDS = ("MAX", "LIMIT", "HIGH")
_DATA_PATH = ("wire", "listeners", "pipeline", "upstream", "guards", "mcp")


def _value(module: str, name: str, parameter: str) -> object:
    """A constant, or the default of a constructor's parameter."""
    found = getattr(import_module(module), name)
    if parameter:
        return inspect.signature(found).parameters[parameter].default
    return found


@pytest.mark.parametrize(
    ("module", "name", "parameter", "shown"),
    [pytest.param(*row, id=f"{row[1]} {row[2]}".strip()) for row in _ROWS],
)
def test_a_bound_on_the_page_is_the_bound_in_the_code(
    module: str, name: str, parameter: str, shown: str
) -> None:
    assert _value(module, name, parameter) == float(shown.replace(",", ""))


def test_every_row_of_the_table_was_read() -> None:
    table = _PAGE.partition("\n## Bounds\n")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == len(_ROWS) + 1  # the rule under the head
    assert len(_ROWS) > 50


def test_every_limit_of_the_data_path_is_on_the_page() -> None:
    """A number named MAX, LIMIT or HIGH, and every constructor's `limit`."""
    listed = {(module, name) for module, name, _, _ in _ROWS}
    found = [
        (f"proxy.{package}.{path.stem}", name)
        for package in _DATA_PATH
        for path in sorted((PACKAGE / package).glob("*.py"))
        for name in sorted(_limits(ast.parse(path.read_text(encoding="utf-8"))))
    ]
    assert [bound for bound in found if bound not in listed] == []
    assert len(found) > 30


def _limits(tree: ast.Module) -> set[str]:
    names = set()
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        if isinstance(target, ast.Name):
            name = target.id
            if set(name.split("_")) & set(_WORDS):
                names.add(name)
        if isinstance(node, ast.ClassDef) and "limit" in _constructor_arguments(node):
            names.add(node.name)
    return names


def _constructor_arguments(node: ast.ClassDef) -> set[str]:
    """Only those with a default: a limit that must be given is the caller's."""
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            arguments = item.args.args
            return {a.arg for a in arguments[len(arguments) - len(item.args.defaults) :]}
    return set()
