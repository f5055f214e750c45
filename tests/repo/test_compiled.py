"""What is compiled, what is not and why, and when a build compiles (`setup.py`)."""

import ast
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

import proxy
import setup
from proxy.app.build import is_compiled
from tests.repo.tree import PACKAGE, ROOT
from tests.sidecar_command import INSTALLED, why_not_installed


def test_every_module_of_the_compiled_packages_is_compiled_or_says_why_not() -> None:
    packages = [PACKAGE / name for name in setup.PACKAGES]
    found = {
        p.relative_to(PACKAGE).as_posix() for package in packages for p in package.glob("*.py")
    }
    compiled, interpreted = set(setup.compiled_modules()), set(setup.INTERPRETED)
    assert interpreted - found == set(), "listed, and gone"
    assert {name for name in found - compiled - interpreted if "__init__" not in name} == set()
    assert compiled & interpreted == set()
    assert all(len(reason.split()) >= 3 for reason in setup.INTERPRETED.values())
    assert len(compiled) > 4 * len(interpreted)


def test_a_package_that_is_compiled_has_nothing_but_its_docstring_outside_its_modules() -> None:
    for name in setup.PACKAGES:
        assert not list((PACKAGE / name).glob("*/*.py")), name
        source = (PACKAGE / name / "__init__.py").read_text(encoding="utf-8")
        assert len(ast.parse(source).body) == 1, name


def test_the_walk_of_a_call_is_compiled_from_end_to_end() -> None:
    compiled = set(setup.compiled_modules())
    walk = {"listeners/client.py", "wire/head.py", "policy/match.py", "pipeline/handle.py",
            "guards/budget.py", "upstream/connection.py", "telemetry/recorder.py"}  # fmt: skip
    assert walk - compiled == set()


def test_an_installed_build_has_an_extension_for_each_of_them() -> None:
    if reason := why_not_installed():
        pytest.skip(reason)
    extensions = {path.relative_to(INSTALLED).as_posix() for path in INSTALLED.rglob("*.so")}
    wanted = {name.removesuffix(".py") for name in setup.compiled_modules()}
    assert extensions == {f"{name}{EXTENSION_SUFFIXES[0]}" for name in wanted}
    assert (INSTALLED / "demo" / "demo.yaml").read_bytes() == (
        ROOT / "config" / "demo.yaml"
    ).read_bytes()


def test_in_process_it_is_the_tree_that_is_tested() -> None:
    """No extension lies in it, which would be imported instead of the source beside it."""
    assert proxy.__file__ == str(PACKAGE / "__init__.py")
    assert not is_compiled()
    assert list(PACKAGE.rglob("*.so")) == []


_WAITS = (ast.Await, ast.Yield, ast.YieldFrom, ast.AsyncFor, ast.AsyncWith)


def _waits(body: list[ast.stmt]) -> bool:
    return any(isinstance(node, _WAITS) for statement in body for node in ast.walk(statement))


def _raises_again(body: list[ast.stmt]) -> bool:
    nodes = [node for statement in body for node in ast.walk(statement)]
    return any(isinstance(node, ast.Raise) and node.exc is None for node in nodes)


def _forgets(source: str) -> list[int]:
    """Lines of what, compiled, would raise nothing at all where it means to raise again: mypyc
    does not keep the exception that is being handled while a coroutine waits."""
    tries = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Try)]
    forgotten = [node.lineno for node in tries if _waits(node.finalbody)]
    handlers = [handler for node in tries for handler in node.handlers]
    return forgotten + [h.lineno for h in handlers if _waits(h.body) and _raises_again(h.body)]


@pytest.mark.parametrize("name", setup.compiled_modules())
def test_what_is_raised_again_after_waiting_is_raised_by_name(name: str) -> None:
    assert _forgets((PACKAGE / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        ("except E:\n  await f()\n  raise", [4]),
        ("except E as e:\n  await f()\n  raise e", []),
        ("except E:\n  g()\n  raise", []),
        ("except E:\n  await f()", []),
        ("finally:\n  await f()", [2]),
        ("finally:\n  g()", []),
    ],
)
def test_that_is_found_where_it_stands(body: str, lines: list[int]) -> None:
    indented = "".join(f" {line}\n" for line in body.splitlines())
    assert _forgets(f"async def h():\n try:\n  g()\n{indented}") == lines


# --- when a build compiles ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "command", "missing", "wanted", "said"),
    [
        ("", "bdist_wheel", "", True, "is compiled"),
        ("", "bdist_wheel", "no compiler", False, "stays interpreted: no compiler"),
        ("0", "bdist_wheel", "", False, "stays interpreted: TOOLBOOTH_COMPILE=0"),
        ("1", "bdist_wheel", "", True, "is compiled"),
        ("", "editable_wheel", "", False, ""),
        ("0", "editable_wheel", "", False, ""),
        ("", "dist_info", "", False, ""),
        ("1", "sdist", "no compiler", False, ""),
    ],
)
def test_a_wheel_is_compiled_where_it_can_be_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    asked: str, command: str, missing: str, wanted: bool, said: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(setup, "why_not", lambda: missing)
    assert setup.is_wanted(asked, [command, "--quiet"]) is wanted
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (1 if said else 0)
    assert said in "".join(lines)


@pytest.mark.parametrize(
    ("asked", "command", "missing", "why"),
    [
        ("1", "bdist_wheel", "there is no C compiler (cc)", "there is no C compiler"),
        ("1", "editable_wheel", "", "an editable install is never compiled"),
        ("yes", "bdist_wheel", "", "is 1, 0 or unset"),
    ],
)
def test_what_cannot_be_done_as_asked_is_an_error(
    monkeypatch: pytest.MonkeyPatch, asked: str, command: str, missing: str, why: str
) -> None:
    monkeypatch.setattr(setup, "why_not", lambda: missing)
    with pytest.raises(SystemExit, match=why) as end:
        setup.is_wanted(asked, [command])
    assert isinstance(end.value.code, str), "1, and the sentence on stderr"


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc -pipe")
    assert setup.why_not() == "there is no C compiler (/nowhere/cc)"
    monkeypatch.setenv("CC", "false")
    assert setup.why_not() == "the headers of Python or of the C library are missing"
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert setup.why_not() == "mypy is not installed"
