"""`status`, `runs` and `tail` against a control port."""

import argparse
import contextlib
import gc
import itertools
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.cli import main
from proxy.cli.client import ControlClient, Event, View
from proxy.cli.watching import call_line, tail
from proxy.model.call import Caller
from proxy.model.reason import Reason
from proxy.settings import ListenAddress
from tests.cli.conftest import Sidecar, Toolbooth


def test_status_tells_switches_and_tools(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """In at most 80 columns."""
    desk = sidecar.desk
    sidecar.do(lambda: desk.see_call())
    sidecar.do(lambda: desk.switches.engage("tool:search.read", "leak " * 40, "alice", 60))
    result = toolbooth("status")
    assert result.code == 0
    lines = result.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("toolbooth   0.1.0, serving, up ")
    assert "proxy port  127.0.0.1:8080" in lines
    assert any(line.startswith("tool:search.read  2027-01-15T08:01") for line in lines)
    assert "off by the policy file: tool:mail.send" in lines
    words = {line.split()[0]: line.split() for line in lines if line}
    assert words["search.read"][:3] == ["search.read", "off", "1"]
    assert words["hidden"][1] == "refused"


def test_status_as_json(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """All of it in one object."""
    document = json.loads(toolbooth("status", "--json").out)
    assert document["policy"]["tools"] == len(document["tools"]) == 3
    assert document["switched_off"]["policy"]["disabled"] == ["mail.send"]


def test_runs_show_used_of_limit(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """And which were stopped; an id cannot draw on the screen."""
    assert toolbooth("runs").out == "No run has called yet.\n"
    desk = sidecar.desk
    sidecar.do(lambda: desk.start_run("r1").settle(250_000))
    sidecar.do(lambda: desk.start_run("evil\x1b[2J" + "x" * 200))
    sidecar.do(lambda: desk.switches.engage("run:r1", "x", "alice"))
    out = toolbooth("runs").out
    assert "\x1b" not in out
    assert all(len(line) <= 80 for line in out.splitlines())
    row = next(line for line in out.splitlines() if line.startswith("r1"))
    assert "stopped" in row
    assert "1 of 12" in row
    assert "0.25 of 1" in row
    assert "(1 of 2; more with --limit)" in toolbooth("runs", "--limit", "1").out
    assert len(json.loads(toolbooth("runs", "--json").out)["runs"]) == 2


def test_the_last_calls_oldest_first(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """One line each, filtered by the sidecar."""
    desk = sidecar.desk
    for number in (1, 2, 3):
        sidecar.do(lambda n=number: desk.see_call(n))  # type: ignore[misc]
    sidecar.do(lambda: desk.see_call(4, code=Reason.TIMEOUT, status=504))
    lines = toolbooth("tail", "--no-follow", "-n", "2").out.splitlines()
    assert [line.split()[2:4] for line in lines] == [["ok", "200"], ["timeout", "504"]]
    calls = toolbooth("tail", "--no-follow", "--json").out.splitlines()
    assert [json.loads(call)["call_id"] for call in calls] == [f"call-{n}" for n in (1, 2, 3, 4)]
    assert len(toolbooth("tail", "--no-follow", "--code", "timeout").out.splitlines()) == 1
    assert toolbooth("tail", "--no-follow", "--run", "nobody").out == ""
    assert toolbooth("tail", "--no-follow", "-n", "0").out == ""
    assert "timeout" in toolbooth("tail", "--no-follow", "--code", "time_out").err


class _Tail:
    """`toolbooth tail` in a thread, and each line it prints, as it prints it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
        read_end, write_end = os.pipe()
        self._shown, self._out = os.fdopen(read_end), os.fdopen(write_end, "w")
        monkeypatch.setattr(sys, "stdout", self._out)
        self._pool = ThreadPoolExecutor(1)
        self._ended = self._pool.submit(main, ["tail", *arguments])
        self._ended.add_done_callback(lambda _: self._out.close())  # or a line that never comes

    def lines(self, count: int) -> list[str]:
        """Fewer if it ends before."""
        return [line.rstrip() for line in itertools.islice(self._shown, count)]

    def end(self) -> tuple[int, str]:
        """What it ends with, once it does, and what it printed before."""
        with self._pool, self._shown:
            return self._ended.result(10), self._shown.read()


def test_following(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past calls once, later ones as they end, those that fit the filter, until the sidecar ends
    the stream."""
    desk = sidecar.desk
    sidecar.do(lambda: desk.see_call(1))
    tail = _Tail(monkeypatch, "--run", "run-1")
    assert [line.split()[2] for line in tail.lines(1)] == ["ok"]
    sidecar.do(lambda: desk.see_call(2))
    sidecar.do(lambda: desk.see_call(3, caller=Caller("other", "agent-1", True)))
    sidecar.do(lambda: desk.switches.engage("all", "fire", "alice"))
    sidecar.do(lambda: desk.see_call(4, code=Reason.ALL_DISABLED, status=403))
    lines = tail.lines(3)
    assert [line.split()[2] for line in lines if "run=" in line] == ["ok", "all_disabled"]
    assert "-- all is off (fire)" in lines
    sidecar.stop()
    assert tail.end() == (0, "")


def test_the_stream_is_closed_if_the_last_calls_cannot_be_had(
    sidecar: Sidecar, toolbooth: Toolbooth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sidecar that stops in between is told so in a sentence, and nothing stays open."""
    get = ControlClient.get

    def get_too_late(client: ControlClient, path: str, **query: str | int | None) -> View:
        assert len(sidecar.desk.recent._subscribers) == 1
        sidecar.stop()
        return get(client, path, **query)

    monkeypatch.setattr(ControlClient, "get", get_too_late)
    result = toolbooth("tail")
    assert (result.code, result.out) == (1, "")
    assert "No sidecar answers" in result.err
    gc.collect()  # what was left open would say so here


class _Gap(ControlClient):
    """A call ends between the opening of the stream and the question for the last calls."""

    def __init__(self) -> None:
        super().__init__(ListenAddress("tcp", "127.0.0.1", 1), None)

    def get(self, path: str, **_: str | int | None) -> View:
        return {"calls": [{"call_id": "call-1"}]}

    @contextlib.contextmanager
    def events(self) -> Iterator[Iterator[Event]]:
        yield iter([Event("call", {"call_id": "call-1"}), Event("call", {"call_id": "call-2"})])


def test_a_call_seen_twice_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The stream is opened first, so nothing is missed; what comes twice is known by its id."""
    wanted = argparse.Namespace(tool=None, code=None, run=None, n=20, follow=True, json=True)
    assert tail(_Gap(), wanted) == 0
    shown = [json.loads(line)["call_id"] for line in capsys.readouterr().out.splitlines()]
    assert shown == ["call-1", "call-2"]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        pytest.param(
            {
                "ts": "2027-01-15T08:00:00.123Z", "tool": "search.read", "code": "ok",
                "status": 200, "total_ms": 12.4, "method": "GET", "host": "api.example",
                "path": "/v1", "run_id": "r1",
            },
            "08:00:00.123  search.read       ok                200     12ms  GET  api.example/v1"
            "  run=r1",
            id="a call",
        ),
        pytest.param(
            {"tool": "\x1b[2Jx", "host": "h\n", "path": "/" + "p" * 200, "run_id": "\u202e"},
            "              \\x1b[2Jx          -                   -      0ms  -  h\\x0a/"
            + "p" * 93 + "…  run=\\u202e",
            id="hostile and half empty",
        ),
    ],
)  # fmt: skip
def test_a_call_is_one_visible_line(values: dict[str, object], line: str) -> None:
    """Aligned, cut, and escaped."""
    assert call_line(values) == line


def test_a_misspelt_tool_is_not_silence(sidecar: Sidecar, toolbooth: Toolbooth) -> None:
    """Nobody waits for calls of a tool that does not exist."""
    sidecar.do(lambda: sidecar.desk.see_call())
    result = toolbooth("tail", "--no-follow", "--tool", "search.raed")
    assert (result.code, result.out) == (1, "")
    assert "did you mean search.read?" in result.err


class _Policies(ControlClient):
    """A stream that tells of a policy that was loaded and of one that was not."""

    def __init__(self) -> None:
        super().__init__(ListenAddress("tcp", "127.0.0.1", 1), None)

    @contextlib.contextmanager
    def events(self) -> Iterator[Iterator[Event]]:
        loaded: View = {"action": "loaded", "version": "6c098e8f6415"}
        failed: View = {"action": "failed", "version": "x", "detail": "2 errors\x1b[2J"}
        yield iter([Event("policy", loaded), Event("policy", failed)])


def test_policies_are_told_among_the_calls(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = argparse.Namespace(tool=None, code=None, run=None, n=0, follow=True, json=False)
    assert tail(_Policies(), wanted) == 0
    assert capsys.readouterr().out.splitlines() == [
        "-- policy loaded (version 6c098e8f6415)",
        "-- policy NOT LOADED (2 errors\\x1b[2J)",
    ]
