"""The lock files: every package pinned by hash, and no index named."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.repo.tree import ROOT, modules

_FILES = [ROOT / f"requirements{part}.txt" for part in ("", "-dev", "-mcp1", "-build")]
_IDS = [path.name for path in _FILES]
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==[^ ;\\]+( ;[^\\]+)? \\$")


def _entries(path: Path) -> list[list[str]]:
    """One list of lines per requirement; comments are left out."""
    entries: list[list[str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.strip().startswith("#"):
            continue
        if line[0].isspace():
            entries[-1].append(line.strip())
        else:
            entries.append([line])
    return entries


def _names(path: Path) -> set[str]:
    return {entry[0].partition("==")[0] for entry in _entries(path)}


@pytest.mark.parametrize("path", _FILES, ids=_IDS)
def test_every_requirement_is_pinned_by_hash(path: Path) -> None:
    entries = _entries(path)
    assert len(entries) > (3 if path.stem == "requirements-build" else 10)
    for first, *hashes in entries:
        assert _PIN.match(first), first
        assert hashes
        assert all(re.match(r"--hash=sha256:[0-9a-f]{64}( \\)?$", line) for line in hashes), first


@pytest.mark.parametrize("path", _FILES, ids=_IDS)
def test_no_index_and_no_url_is_named(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links)\b", text, re.M)


def test_what_is_imported_is_declared() -> None:
    """A package that only comes along with another one may leave with its next version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # The extra is imported where it is asked for, and nowhere else.
    wanted = [*project["dependencies"], *project["optional-dependencies"]["otel"]]
    declared = {re.split(r"[<>=~!;\[ ]", d)[0].lower() for d in wanted}
    provided_by = {"re2": "google-re2", "yaml": "pyyaml", "prometheus_client": "prometheus-client"}
    # pydantic_core is pydantic's other half, multidict part of aiohttp's own interface.
    provided_by |= {"pydantic_core": "pydantic", "multidict": "aiohttp"}
    # One namespace of three packages: imported as a whole or not at all.
    namespace = {name for name in declared if name.startswith("opentelemetry-")}
    declared = declared - namespace | {"opentelemetry"}
    imported = re.compile(r"^\s*(?:import|from) ([A-Za-z_0-9]+)", re.MULTILINE)
    names = {
        name for path in modules() for name in imported.findall(path.read_text(encoding="utf-8"))
    }
    foreign = names - sys.stdlib_module_names - {"proxy"}
    used = {provided_by.get(name, name) for name in foreign}
    assert used - declared == set()
    assert declared - used == set(), "declared, and imported nowhere"


def test_the_lock_holds_what_is_declared() -> None:
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = whole["project"]
    for path, wanted in (
        (_FILES[0], project["dependencies"] + project["optional-dependencies"]["otel"]),
        (_FILES[1], project["dependencies"] + project["optional-dependencies"]["dev"]),
        (_FILES[3], whole["build-system"]["requires"]),
    ):
        declared = {re.split(r"[<>=~!;\[ ]", d)[0].lower().replace("_", "-") for d in wanted}
        assert declared - _names(path) == set()


def test_what_builds_the_image_is_what_builds_for_the_tests() -> None:
    """The same versions in both locks: another compiler would be another program."""
    pins = [{entry[0] for entry in _entries(path)} for path in (_FILES[1], _FILES[3])]
    assert pins[1] - pins[0] == set()
