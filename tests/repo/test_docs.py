"""Documentation that drifts is worse than none: names, paths, commands and links are checked."""

import re
import shlex
from pathlib import Path

import pytest

from proxy.cli.command_line import _parser
from proxy.model.reason import Reason
from proxy.telemetry.metric_names import METRICS
from tests.repo.tree import ROOT, modules, with_tree
from tests.scenarios.matrix import table, with_matrix

_PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
_EACH_PAGE = pytest.mark.parametrize(
    "page", [pytest.param(p, id=p.relative_to(ROOT).as_posix()) for p in _PAGES]
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:proxy|tests|config|docs|bench)/[\w./-]*)`")
_SETTING = re.compile(r"\bTOOLBOOTH_[A-Z_]+\b")
_FENCE = re.compile(r"```\w*\n(.*?)```", re.DOTALL)


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_tree_on_the_page_is_the_tree_on_disk() -> None:
    """Mended by `python -m tests.repo.write_docs`."""
    page = _text(ROOT / "docs" / "architecture.md")
    assert with_tree(page) == page
    names = re.findall(r"^ +([\w/]+\.py)(?: |$)", page, re.MULTILINE)
    assert len(names) == len([path for path in modules() if path.name != "__init__.py"])


def test_the_matrix_of_clients_is_the_one_that_is_run() -> None:
    """Mended by `python -m tests.repo.write_docs`; `tests/scenarios/test_matrix.py` runs it."""
    page = _text(ROOT / "docs" / "clients.md")
    assert table() in page
    assert with_matrix(page) == page


@_EACH_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(_text(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target), link


@_EACH_PAGE
def test_paths_in_the_text_exist(page: Path) -> None:
    assert [path for path in _PATH.findall(_text(page)) if not (ROOT / path).exists()] == []


def test_paths_in_the_code_exist() -> None:
    """Docstrings send their reader to tests and pages; those must be there."""
    named = re.compile(r"`?\b((?:docs|tests|proxy|config)/[\w./-]+\.(?:md|py|yaml))")
    lacking = [
        (path.name, found)
        for path in modules()
        for found in named.findall(_text(path))
        if not (ROOT / found).exists()
    ]
    assert lacking == []


@_EACH_PAGE
def test_commands_are_understood_by_the_command_line(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines of code blocks are parsed as they stand; in running text the verb has to exist."""
    text = _text(page)
    for block in _FENCE.findall(text):
        for line in block.splitlines():
            command = re.match(r"(?:\$ )?(?:\.venv/bin/)?toolbooth (.*)", line)
            if command:
                _parser().parse_args(shlex.split(command[1], comments=True))
    for verb in re.findall(r"`toolbooth ([a-z]+)\b", text):
        with pytest.raises(SystemExit) as end:
            _parser().parse_args([verb, "--help"])
        assert end.value.code == 0, f"{verb}: {capsys.readouterr().err}"


def test_settings_are_documented_and_documented_ones_exist() -> None:
    known = set(_SETTING.findall(_text(ROOT / "proxy" / "settings.py")))
    # Every secret can come from a file.
    known |= {f"{name}_FILE" for name in known if name.endswith("_TOKEN")}
    operations = set(_SETTING.findall(_text(ROOT / "docs" / "operations.md")))
    assert known == operations
    known |= set(_SETTING.findall(_text(ROOT / "setup.py")))  # what a build is told
    for page in _PAGES:
        assert set(_SETTING.findall(_text(page))) - known == set(), page.name


def test_metrics_in_the_operations_page_exist() -> None:
    known = {metric.name for metric in METRICS}
    named = set(re.findall(r"\btoolbooth_[a-z_]+", _text(ROOT / "docs" / "operations.md")))
    assert len(named) > 3
    assert named - known == set()


def test_outcome_codes_in_the_pages_exist() -> None:
    """Words that look like a code, by their beginning, are one."""
    families = (
        r"`((?:tool|max|upstream|writes|all|run|agent|address|loop|rate|circuit|state)_[a-z_]+)`"
    )
    # Keys of the policy and fields of a record that look alike.
    others = {"max_wait_ms", "max_runs", "max_result_bytes", "rate_limits", "run_header",
              "run_retention_seconds", "agent_header", "upstream_ms", "run_id", "agent_id",
              "max_age", "loop_limit", "tool_calls"}  # fmt: skip
    for page in (ROOT / "README.md", *(ROOT / "docs" / f"{n}.md" for n in (
        "architecture", "threats", "clients", "operations", "errors"))):  # fmt: skip
        found = set(re.findall(families, _text(page))) - others
        assert found - set(Reason) == set(), page.name


@_EACH_PAGE
def test_lines_are_short_enough_to_read(page: Path) -> None:
    in_block = False
    for line in _text(page).splitlines():
        in_block ^= line.startswith("```")
        if not in_block and not line.startswith(("|", "```")):
            assert len(line) <= 110, line
