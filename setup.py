"""The build: pyproject.toml says what the project is, this file compiles its data path with mypyc.

Why, and what to know of it: docs/decisions/0009-compiled-data-path.md. `TOOLBOOTH_COMPILE` in the
environment of the build says whether to: `1` must, `0` does not; unset, a wheel is compiled where
that can be done.
"""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGES = ("model", "wire", "policy", "mcp", "guards", "upstream", "telemetry", "pipeline",
            "listeners")  # fmt: skip

_AT_LOAD = "works when a policy is loaded or explained, not when a call passes"
_PYDANTIC = "its classes are pydantic's, which reads them at run time"
_SPANS = "works where spans are exported only, most of it on their own thread"
# Modules of these packages that stay interpreted, and why. Everything else in them is compiled.
INTERPRETED = {
    "guards/places.py": "its waiting places are asynchronous generators, which mypyc does not do",
    "policy/caveats.py": _AT_LOAD,
    "policy/catalog.py": _PYDANTIC,
    "policy/compile.py": _AT_LOAD,
    "policy/decode.py": _PYDANTIC,
    "policy/document.py": _AT_LOAD,
    "policy/explain.py": _AT_LOAD,
    "policy/fields.py": _PYDANTIC,
    "policy/reference.py": "writes a page of the documentation",
    "policy/schema.py": _PYDANTIC,
    "policy/section.py": _PYDANTIC,
    "telemetry/metrics.py": "renders with prometheus-client, when it is asked",
    "telemetry/sinks.py": "waits for files and pipes, on the writer's thread",
    "telemetry/span_names.py": _SPANS,
    "telemetry/span_queue.py": _SPANS,
    "telemetry/spans.py": _SPANS,
    "telemetry/tracing.py": _SPANS,
    "upstream/credentials.py": "reads files of secrets",
    "upstream/dial.py": "opens sockets: the kernel takes longer than the code",
    "upstream/resolver.py": "asks the resolver, in threads",
    "upstream/trust.py": "builds TLS contexts",
}


def compiled_modules() -> list[str]:
    """Paths below proxy/. A package's `__init__.py` holds its docstring and is never compiled."""
    paths = (path for name in PACKAGES for path in (ROOT / "proxy" / name).rglob("*.py"))
    names = (path.relative_to(ROOT / "proxy").as_posix() for path in paths)
    return sorted(n for n in names if not n.endswith("__init__.py") and n not in INTERPRETED)


def why_not() -> str:
    """What is missing here for compiling; empty where nothing is."""
    if importlib.util.find_spec("mypyc") is None:
        return "mypy is not installed"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        return f"there is no C compiler ({compiler[0]})"
    check = [*compiler, "-I", sysconfig.get_path("include"), "-x", "c", "-fsyntax-only", "-"]
    tried = subprocess.run(check, input=b"#include <Python.h>\n", capture_output=True, check=False)
    return "the headers of Python or of the C library are missing" if tried.returncode else ""


def is_wanted(asked: str, commands: list[str]) -> bool:
    """Whether this run of the build compiles. Says so, and why, on stderr."""
    if asked not in ("", "0", "1"):
        sys.exit("toolbooth: TOOLBOOTH_COMPILE is 1, 0 or unset")
    # The extensions of an editable install would lie in the tree and be imported in the place of
    # the source beside them: whoever edited that would wonder why nothing changes.
    if "editable_wheel" in commands:
        if asked == "1":
            sys.exit("toolbooth: an editable install is never compiled (TOOLBOOTH_COMPILE=1)")
        return False
    # A backend is also asked for metadata and for a source distribution: nothing to compile.
    if not {"bdist_wheel", "build", "build_ext"} & set(commands):
        return False
    reason = "TOOLBOOTH_COMPILE=0" if asked == "0" else why_not()
    if reason and asked == "1":
        sys.exit(f"toolbooth: cannot compile, though TOOLBOOTH_COMPILE=1: {reason}")
    said = f"stays interpreted: {reason}" if reason else "is compiled with mypyc, for a minute"
    sys.stderr.write(f"toolbooth: the data path {said}\n")
    return not reason


def extensions() -> list[Extension]:
    """One C library for all modules, and a stub of an extension for each of them."""
    from mypyc.build import mypycify  # only where it is used: an interpreted build needs no mypy

    # No configuration and no installed package is read, so that the same source is compiled to the
    # same C wherever it is built; what is imported from outside has no types here. `make check`
    # is where types are checked, with all of them. A C file for each module, so that every
    # processor has one to compile; one group all the same, so that calls from module to module stay
    # calls of C (mypyc's `separate` gives that up, and crashed when it was tried).
    options = ["--config-file=", "--no-site-packages", "--ignore-missing-imports",
               "--follow-imports=silent"]  # fmt: skip
    paths = [f"proxy/{name}" for name in compiled_modules()]
    found: list[Extension] = mypycify(
        [*options, *paths],
        opt_level="2", debug_level="0", target_dir="build", group_name="toolbooth",
        multi_file=True,
    )  # fmt: skip
    return found


class BuildExtensions(build_ext):  # type: ignore[misc] # setuptools has no types
    """Uses every processor: setuptools compiles the files of one library one after the other."""

    def build_extensions(self) -> None:
        """Called by setuptools, once the compiler is known."""
        self.parallel = os.cpu_count() or 1
        one_by_one = self.compiler.compile

        def compile_files(sources: Sequence[str], **options: object) -> list[str]:
            compile_one = partial(one_by_one, **options)
            with ThreadPoolExecutor(self.parallel) as pool:
                objects = pool.map(compile_one, ([source] for source in sources))
                return [name for names in objects for name in names]

        self.compiler.compile = compile_files
        super().build_extensions()


class BuildModules(build_py):  # type: ignore[misc]
    """Brings the policy of the demo along, which lies beside the others in the tree."""

    def run(self) -> None:
        """Called by setuptools."""
        super().run()
        if not self.editable_mode:
            place = Path(self.build_lib, "proxy", "demo", "demo.yaml")
            self.copy_file(str(ROOT / "config" / "demo.yaml"), str(place))


if __name__ == "__main__":
    os.chdir(ROOT)
    wanted = is_wanted(os.environ.get("TOOLBOOTH_COMPILE", ""), sys.argv[1:])
    setup(
        cmdclass={"build_ext": BuildExtensions, "build_py": BuildModules},
        ext_modules=extensions() if wanted else [],
    )
