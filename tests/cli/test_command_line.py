"""Verbs, exit codes, and what a verb may import."""

import subprocess
import sys
import types

import pytest

from tests.cli.conftest import TOKEN, Sidecar, Toolbooth

_LOOK = """
import sys
from proxy.cli import main
code = main(sys.argv[1:])
heavy = {"aiohttp", "uvloop", "pydantic", "orjson", "yaml", "prometheus_client", "asyncio"}
print("imported:", sorted(heavy & sys.modules.keys()))
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["kill", "search.read", "--reason", "x"],
        ["status"],
        ["runs"],
        ["tail", "--no-follow"],
        ["health"],
    ],
)
def test_client_verbs_need_the_standard_library_alone(
    sidecar: Sidecar, arguments: list[str]
) -> None:
    """In a process of its own, against a real port: a kill must not wait for the server's
    dependencies, or fail with them."""
    environment = {
        "TOOLBOOTH_CONTROL_LISTEN": f"127.0.0.1:{sidecar.ports[0]}",
        "TOOLBOOTH_HEALTH_LISTEN": f"127.0.0.1:{sidecar.ports[1]}",
        "TOOLBOOTH_CONTROL_TOKEN": TOKEN,
        "PYTHONUTF8": "1",
    }
    command = [sys.executable, "-c", _LOOK, *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("imported: []\n")


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["kill"], ["check"], ["explain", "GET"], ["ca"], ["ca", "import"]],
)
def test_bad_usage(toolbooth: Toolbooth, arguments: list[str]) -> None:
    """Exit 2 and how to use it, on standard error."""
    result = toolbooth(*arguments)
    assert (result.code, result.out) == (2, "")
    assert "usage: toolbooth" in result.err


def test_help_and_version(toolbooth: Toolbooth) -> None:
    """Every promised verb is listed."""
    out = toolbooth("--help").out
    verbs = ("run", "check", "explain", "kill", "revive", "status", "runs", "tail", "health")
    for verb in (*verbs, "demo", "ca", "doctor"):
        assert f"\n    {verb} " in out
    assert toolbooth("--version").out.startswith("toolbooth 0.")


def test_run_and_demo_are_handed_over(
    toolbooth: Toolbooth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imported when chosen; their exit code is ours."""
    start, demo = types.ModuleType("start"), types.ModuleType("demo")
    asked: list[str | None] = []

    def run(policy_path: str | None) -> int:
        asked.append(policy_path)
        return 7

    start.run = run  # type: ignore[attr-defined]
    demo.run = lambda: 8  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "proxy.app.start", start)
    monkeypatch.setitem(sys.modules, "proxy.demo.main", demo)
    assert toolbooth("run", "--policy", "p.yaml").code == 7
    assert toolbooth("run").code == 7
    assert asked == ["p.yaml", None]
    assert toolbooth("demo").code == 8


def test_a_reader_that_leaves_is_no_error(sidecar: Sidecar) -> None:
    """`toolbooth status | head -0` must not end in a traceback."""
    command = f"{sys.executable} -m proxy status | true"
    environment = {
        "TOOLBOOTH_CONTROL_LISTEN": f"127.0.0.1:{sidecar.ports[0]}",
        "TOOLBOOTH_CONTROL_TOKEN": TOKEN,
        "PYTHONUTF8": "1",
    }
    done = subprocess.run(
        command,
        shell=True,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stderr == ""
