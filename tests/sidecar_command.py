"""Which build the tests of processes run: the compiled one that is installed, if it is current.

`make test` installs it. Where it is not there, or the tree has been edited since, they run the
tree, interpreted; `tests/scenarios/test_build.py` fails where it should have been there.
"""

import os
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from tests.repo.tree import PACKAGE

INSTALLED = Path(sysconfig.get_path("platlib")) / "proxy"


def why_not_installed() -> str:
    """Why the tests cannot run a compiled build of this tree; empty where they do."""
    if not any((INSTALLED / "pipeline" / f"handle{end}").exists() for end in EXTENSION_SUFFIXES):
        return "no compiled build is installed"
    if _sources(INSTALLED) != _sources(PACKAGE):
        return "the compiled build that is installed is of another source"
    return ""


def _sources(package: Path) -> dict[str, bytes]:
    return {str(path.relative_to(package)): path.read_bytes() for path in package.rglob("*.py")}


_IS_INSTALLED = not why_not_installed()
# Without -P the working directory comes first, and that is the tree.
TOOLBOOTH = [sys.executable, *(["-P"] if _IS_INSTALLED else []), "-m", "proxy"]


def inherited_environment() -> dict[str, str]:
    """Ours, without what would put the tree before the build that is installed."""
    return {n: v for n, v in os.environ.items() if n != "PYTHONPATH" or not _IS_INSTALLED}
