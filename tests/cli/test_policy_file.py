"""`check` and `explain`: files in, verdicts out, no sidecar needed."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Sidecar, Toolbooth
from tests.control.desk import POLICY

BAD = """\
tools:
  allowlst: [a]
  timeouts_ms: {default: -5}
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return str(path)


@pytest.fixture
def bad_policy(tmp_path: Path) -> str:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    return str(path)


def test_a_good_file(toolbooth: Toolbooth, policy: str) -> None:
    """Summary to standard output, warnings to standard error."""
    result = toolbooth("check", policy)
    assert result.code == 0
    assert result.out == f"{policy}: ok (3 tools, 2 allowed)\n"
    assert f"{policy}: warning: " in result.err


def test_a_bad_file_tells_every_error_with_its_place(toolbooth: Toolbooth, bad_policy: str) -> None:
    """All at once, path and line, exit 2."""
    result = toolbooth("check", bad_policy)
    assert (result.code, result.out) == (2, "")
    lines = result.err.splitlines()
    assert any(line.startswith(f"{bad_policy}:2: tools.allowlst: ") for line in lines)
    assert any(line.startswith(f"{bad_policy}:3: tools.timeouts_ms.default: ") for line in lines)
    assert lines[-1] == f"{bad_policy}: 2 errors"


def test_checks_as_json(toolbooth: Toolbooth, policy: str, bad_policy: str) -> None:
    """Good or bad, one object on standard output."""
    good = toolbooth("check", policy, "--json")
    document = json.loads(good.out)
    assert (good.code, document["ok"], document["tools"], document["allowed"]) == (0, True, 3, 2)
    assert document["warnings"]
    bad = toolbooth("check", bad_policy, "--json")
    document = json.loads(bad.out)
    assert (bad.code, document["ok"]) == (2, False)
    assert {(e["path"], e["line"]) for e in document["errors"]} == {
        ("tools.allowlst", 2),
        ("tools.timeouts_ms.default", 3),
    }


def test_a_file_that_is_not_there(toolbooth: Toolbooth, tmp_path: Path) -> None:
    """Bad usage, not a traceback; nor for a folder."""
    assert toolbooth("check", f"{tmp_path}/none").code == 2
    assert toolbooth("check", str(tmp_path)).code == 2


@pytest.mark.parametrize(
    ("method", "url", "code", "words"),
    [
        ("GET", "http://api.search.example/v1/search?q=x", 0, "allowed"),
        ("get", "http://api.search.example/v1/search", 0, "allowed"),
        ("POST", "http://api.search.example/v1/search", 1, "tool_unknown (403)"),
        ("GET", "http://hidden.example/", 1, "tool_not_allowed (403)"),
        ("CONNECT", "mail.example:443", 0, "allowed"),
        ("CONNECT", "elsewhere.example:443", 1, "tool_unknown (403)"),
    ],
)
def test_explaining(
    toolbooth: Toolbooth, policy: str, method: str, url: str, code: int, words: str
) -> None:
    """The verdict decides the exit code."""
    result = toolbooth("explain", method, url, "--policy", policy)
    assert result.code == code
    assert words in result.out.splitlines()[0]
    assert all(len(line) <= 80 for line in result.out.splitlines()[1:])
    as_json = toolbooth("explain", method, url, "--policy", policy, "--json")
    assert as_json.code == code
    assert json.loads(as_json.out)["allowed"] is (code == 0)


@pytest.mark.parametrize(
    ("method", "url"),
    [("GET", "nonsense"), ("GET", "http://u:p@h/"), ("CONNECT", "h"), ("GET", "ftp://h/")],
)
def test_what_is_no_call_is_bad_usage(
    toolbooth: Toolbooth, policy: str, method: str, url: str
) -> None:
    """Said in a sentence."""
    result = toolbooth("explain", method, url, "--policy", policy)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("toolbooth: ")


def test_the_policy_comes_from_the_environment(
    toolbooth: Toolbooth, policy: str, bad_policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for `run`; a bad one is exit 2."""
    call = ("explain", "GET", "http://hidden.example/")
    monkeypatch.setenv("TOOLBOOTH_POLICY", policy)
    assert toolbooth(*call).code == 1
    monkeypatch.setenv("TOOLBOOTH_POLICY", bad_policy)
    result = toolbooth(*call)
    assert result.code == 2
    assert "allowlst" in result.err
    assert "1 more" in result.err


def test_with_a_run_the_sidecar_is_asked(
    sidecar: Sidecar, toolbooth: Toolbooth, policy: str
) -> None:
    """What it has left, and whether somebody stopped it."""
    sidecar.do(lambda: sidecar.desk.start_run("a/b"))
    sidecar.do(lambda: sidecar.desk.switches.engage("run:a/b", "loops", "alice"))
    call = ("explain", "GET", "http://hidden.example/", "--policy", policy, "--run")
    result = toolbooth(*call, "a/b")
    assert "1 of 12" in result.out
    assert "loops" in result.out
    unknown = toolbooth(*call, "r9")
    assert unknown.code == 1
    assert "No run 'r9'" in unknown.err
