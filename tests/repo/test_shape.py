"""The shape of the source: small files, named by nouns, each with its reason and its test."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo.tree import PACKAGE, ROOT, modules

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40  # without its docstring
MAX_NESTING = 3
_SAYS_NOTHING = frozenset(
    ("utils", "util", "helpers", "helper", "common", "manager", "base", "misc")
)
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.Match)

# Modules without a test file of their own name, and the test that goes through them instead. A
# module that gets its own test leaves this list (a test sees to it); new ones should not enter.
_FORWARD = "listeners/test_forward.py"
_CONNECT = "listeners/test_connect.py"
COVERED_ELSEWHERE: dict[str, str] = {
    # Values and constants: what they hold is asserted by whoever computes with them.
    "policy/policy.py": "policy/test_compile.py",
    "policy/problem.py": "policy/test_document.py",
    "policy/fields.py": "policy/test_schema.py",
    "policy/decode.py": "policy/test_schema.py",
    "policy/section.py": "policy/test_schema.py",
    "policy/catalog.py": "policy/test_schema_catalog.py",
    "guards/amount.py": "guards/test_budget.py",
    "guards/runs.py": "guards/test_budget.py",
    "telemetry/bodies.py": "telemetry/test_redact.py",
    "telemetry/content.py": "telemetry/test_redact.py",
    "telemetry/matcher.py": "telemetry/test_redact.py",
    "telemetry/patterns.py": "telemetry/test_redact.py",
    "telemetry/personal.py": "telemetry/test_redact.py",
    "telemetry/sensitive.py": "telemetry/test_redact.py",
    # The data path: real sockets against a scripted origin, from the outside.
    "listeners/client.py": _FORWARD,
    "listeners/exchange.py": _FORWARD,
    "pipeline/booth.py": _FORWARD,
    "pipeline/exchange.py": _FORWARD,
    "pipeline/live.py": _FORWARD,
    "pipeline/relay.py": _FORWARD,
    "pipeline/reply.py": _FORWARD,
    "pipeline/visit.py": _FORWARD,
    "upstream/answer.py": "upstream/test_connection.py",
    "upstream/tunnel.py": _CONNECT,
}
# Composition and what people look at: tested as processes, not module by module.
_TESTED_AS_A_WHOLE = ("app/", "cli/", "demo/", "settings.py", "__main__.py")

_PATHS = [pytest.param(path, id=path.relative_to(PACKAGE).as_posix()) for path in modules()]


def _name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _mirror(path: Path) -> Path:
    return ROOT / "tests" / path.relative_to(PACKAGE).parent / f"test_{path.name}"


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def _nesting(node: ast.AST) -> int:
    """How deep branches, loops and tries stand in each other; an `elif` is no deeper than its
    `if`, and a `with` is a lifetime, not a branch."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        own = 1 if isinstance(child, _BLOCKS) and not is_elif else 0
        deepest = max(deepest, own + _nesting(child))
    return deepest


@pytest.mark.parametrize("path", _PATHS)
def test_a_file_is_small_and_says_what_it_is_for(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
    assert len(source.splitlines()) <= MAX_FILE_LINES
    assert path.stem not in _SAYS_NOTHING


@pytest.mark.parametrize("path", _PATHS)
def test_functions_are_short_and_flat(path: Path) -> None:
    functions = list(_functions(path))
    assert {f.name: n for f in functions if (n := _body_lines(f)) > MAX_FUNCTION_LINES} == {}
    assert {f.name: n for f in functions if (n := _nesting(f)) > MAX_NESTING} == {}


def test_only_the_command_line_and_the_demo_print() -> None:
    guilty = [
        _name(path)
        for path in modules()
        if not _name(path).startswith(("cli", "demo/"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
    ]
    assert guilty == []


def test_every_module_has_its_test() -> None:
    lacking = [
        _name(path)
        for path in modules()
        if path.name != "__init__.py"
        and not _mirror(path).exists()
        and _name(path) not in COVERED_ELSEWHERE
        and not _name(path).startswith(_TESTED_AS_A_WHOLE)
    ]
    assert lacking == []


def test_the_list_of_exceptions_only_shrinks() -> None:
    gone = [name for name in COVERED_ELSEWHERE if not (PACKAGE / name).exists()]
    mirrored = [name for name in COVERED_ELSEWHERE if _mirror(PACKAGE / name).exists()]
    untested = [t for t in COVERED_ELSEWHERE.values() if not (ROOT / "tests" / t).exists()]
    assert (gone, mirrored, untested) == ([], [], [])
    assert len(COVERED_ELSEWHERE) <= 40


def test_every_test_file_has_a_module_or_says_its_subject() -> None:
    """A test named after a module that is gone is found here."""
    orphans = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = path.relative_to(ROOT / "tests")
        package = PACKAGE / name.parts[0] if len(name.parts) == 2 else PACKAGE
        stem = path.stem.removeprefix("test_")
        has_module = any(stem.startswith(module.stem) for module in package.glob("*.py"))
        if not has_module and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))):
            orphans.append(name.as_posix())
    assert orphans == []
