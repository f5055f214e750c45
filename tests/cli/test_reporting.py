"""`toolbooth report`: files in, tables of 80 columns, a page or JSON out."""

import argparse
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli.selection import moment_s
from proxy.model.clock import SystemClock
from tests.cli.conftest import Toolbooth
from tests.report.records import NOON_S, afternoon, at, line


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "calls.jsonl"
    path.write_bytes(b"\n".join(afternoon(calls=1200)))
    return str(path)


def test_text_has_every_part(toolbooth: Toolbooth, log: str) -> None:
    result = toolbooth("report", log)
    assert (result.code, result.err) == (0, "")
    for heading in ("TOOL ", "RUN ", "REFUSED WITH ", "NO ANSWER ", "SLOWEST "):
        assert f"\n\n{heading}" in result.out
    for fact in ("read ", "time ", "calls ", "runs ", "spend ", "retries ", "bytes "):
        assert f"\n{fact}" in f"\n{result.out}"
    assert "more runs (--top)" in result.out


def test_text_fits_80_columns_and_obeys_nobody(toolbooth: Toolbooth, tmp_path: Path) -> None:
    """Whatever the fields hold."""
    bad = "x\x1b[31m\u202e" * 30
    lines = [
        line(tool=bad, run_id=bad, code="max_spend_usd_per_day", path=bad, tokens=10**9),
        line(ts=at(1e8), run_id=bad, code=bad, host=bad, cost_usd=1e9, request_bytes=10**12),
        *[line(tool=bad, run_id=bad, total_ms=9e9) for _ in range(20)],
    ]  # fmt: skip
    path = tmp_path / "bad"
    path.write_bytes(b"\n".join(lines))
    out = toolbooth("report", str(path)).out
    assert max(map(len, out.splitlines())) <= 80
    assert out.replace("\n", "").isprintable()


def test_json_is_one_object(toolbooth: Toolbooth, log: str) -> None:
    result = toolbooth("report", log, "--json", "--top", "3")
    view = json.loads(result.out)
    assert view["total"]["calls"] == 1200
    assert len(view["runs"]) == len(view["slowest"]) == 3


def test_a_page_is_written_beside_the_text(toolbooth: Toolbooth, log: str, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    result = toolbooth("report", log, "--html", str(target))
    assert result.out.startswith("read ")
    assert result.err == f"page: {target}\n"
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert {path.name for path in tmp_path.iterdir()} == {"calls.jsonl", "report.html"}


def test_a_page_may_go_to_standard_output(toolbooth: Toolbooth, log: str) -> None:
    assert toolbooth("report", log, "--html", "-").out.startswith("<!doctype html>")


def test_files_of_a_rotation_are_read_together(toolbooth: Toolbooth, tmp_path: Path) -> None:
    (tmp_path / "calls.1.gz").write_bytes(gzip.compress(line() + b"\n"))
    (tmp_path / "calls").write_bytes(line(ts=at(60)) + b"\nnonsense\n")
    out = toolbooth("report", str(tmp_path / "calls.1.gz"), str(tmp_path / "calls")).out
    assert "\ncalls     2: 2 let through\n" in out
    assert "lines that are no records: 1" in out
    assert "(1m 0s)" in out


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        (["--run", "r2"], 1), (["--tool", "a"], 2), (["--since", at(60)], 2),
        (["--until", at(60)], 1), (["--since", "1h"], 0), (["--since", "2026-01-01"], 3),
    ],
)  # fmt: skip
def test_calls_are_chosen(
    toolbooth: Toolbooth, tmp_path: Path, options: list[str], calls: int
) -> None:
    """By run, tool and time."""
    path = tmp_path / "calls"
    lines = [line(tool="a"), line(ts=at(60), tool="a"), line(ts=at(120), tool="b", run_id="r2")]
    path.write_bytes(b"\n".join(lines))
    view = json.loads(toolbooth("report", str(path), "--json", *options).out)
    assert (view["total"]["calls"], view["calls_left_out"]) == (calls, 3 - calls)


def test_nothing_to_report(toolbooth: Toolbooth, tmp_path: Path) -> None:
    """No calls is an answer."""
    (tmp_path / "empty").write_bytes(b"")
    result = toolbooth("report", str(tmp_path / "empty"))
    assert (result.code, result.out.splitlines()[-1]) == (0, "calls  none")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["/nonexistent/calls"], 1, "cannot read /nonexistent/calls: No such file"),
        (["/"], 1, "cannot read /: Is a directory"),
        (["-", "-"], 2, "standard input can be read only once"),
        (["-", "--since", "soon"], 2, "expected a time such as"),
        (["-", "--top", "-1"], 2, "expected a number"),
    ],
)
def test_bad_usage_is_told(
    toolbooth: Toolbooth, arguments: list[str], code: int, said: str
) -> None:
    """One sentence, no traceback."""
    result = toolbooth("report", *arguments)
    assert result.code == code
    assert said in result.err
    assert "Traceback" not in result.err


def test_a_page_that_cannot_be_written_is_told(toolbooth: Toolbooth, log: str) -> None:
    """And nothing else is printed."""
    result = toolbooth("report", log, "--html", "/nonexistent/report.html")
    assert (result.code, result.out) == (1, "")
    assert "cannot write /nonexistent/report.html" in result.err


def test_a_terminal_is_not_waited_for(
    toolbooth: Toolbooth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who typed `toolbooth report` alone wants to know what is missing."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    result = toolbooth("report")
    assert (result.code, result.out) == (2, "")
    assert "name files of records" in result.err


def test_a_duration_is_a_time_ago() -> None:
    """As `kill --for` has them, but backwards."""
    assert moment_s("2h") == pytest.approx(SystemClock().wall() - 7200, abs=5)
    assert moment_s(at(0)) == NOON_S
    with pytest.raises(argparse.ArgumentTypeError, match="'2 hours'"):
        moment_s("2 hours")


def test_it_reads_a_pipe_and_needs_nothing_of_the_server() -> None:
    """In a process of its own."""
    look = (
        "import sys\nfrom proxy.cli import main\ncode = main(['report', '--json'])\n"
        "heavy = {'aiohttp', 'uvloop', 'pydantic', 'yaml', 'prometheus_client', 'asyncio', 're2'}\n"
        "print(sorted(heavy & sys.modules.keys()))\nsys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], input=line(), capture_output=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.decode().splitlines()
    assert json.loads(first)["total"]["calls"] == 1
    assert second == "[]"
