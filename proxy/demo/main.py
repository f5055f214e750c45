"""`toolbooth demo`: a scripted agent meets the booth, and one screen tells what happened.

Everything is real (the sidecar's process, HTTP, the command line) and local. It checks itself:
where a verdict is not the one the scene is about, the exit code is 1.
"""

import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from proxy.demo.agent import Agent
from proxy.demo.certify import certify
from proxy.demo.scenes import SCENES, Stage
from proxy.demo.screen import Screen
from proxy.demo.sidecar import DemoSidecar
from proxy.demo.tool_server import LLM_KEY, ToolServer
from proxy.settings import child_environment, colours_wanted, wants_to_stay

_IN_TREE = Path(__file__).resolve().parents[2] / "config" / "demo.yaml"
_INSTALLED = Path(__file__).with_name("demo.yaml")  # setup.py puts it there
_POLICY = _INSTALLED if _INSTALLED.exists() else _IN_TREE


class Operator:
    """The person at the command line: runs `toolbooth` against the demo's sidecar."""

    def __init__(self, control_port: int, token: str) -> None:
        self._environment = {
            **child_environment(),
            "TOOLBOOTH_CONTROL_LISTEN": f"127.0.0.1:{control_port}",
            "TOOLBOOTH_CONTROL_TOKEN": token,
        }

    def toolbooth(self, *arguments: str) -> str:
        """What one command prints; raises where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "proxy", *arguments],
            env=self._environment, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout


def run() -> int:
    """Play all scenes; 0 if each went as it should."""
    screen = Screen(colours=sys.stdout.isatty() and colours_wanted())
    with _stage() as (stage, sidecar, log):
        screen.title("TOOLBOOTH  every tool call stops at the booth", "demo, all on this machine")
        screen.heading("the agent", "the booth", "took or why")
        failed = []
        for number, scene in enumerate(SCENES):
            if number:
                screen.rule()
            failed += [line for line in scene(stage, screen) if line]
        screen.rule("━")
        time.sleep(0.2)  # the log is written by a thread that wakes up every 50 ms
        _show_record(screen, log)
        for line in failed:
            screen.note(f"UNEXPECTED: {line}")
        _last_words(screen, sidecar)
    return 1 if failed else 0


@contextlib.contextmanager
def _stage() -> Iterator[tuple[Stage, DemoSidecar, Path]]:
    token = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="toolbooth-demo-") as name:
        folder = Path(name)
        upstream_ca, certificate = certify("mail.localhost", folder)
        tools = ToolServer(certificate)
        environment = {
            **child_environment(),
            "TOOLBOOTH_CONTROL_TOKEN": token,
            "SSL_CERT_FILE": str(upstream_ca),  # what upstreams are verified against
            "DEMO_LLM_KEY": LLM_KEY,
        }
        log = folder / "calls.jsonl"
        sidecar = DemoSidecar(_policy(folder, tools.port), log, environment)
        try:
            operator = Operator(sidecar.ports["control"], token)
            ca_file = folder / "toolbooth-ca.pem"
            operator.toolbooth("ca", "export", "--out", str(ca_file))
            port = sidecar.ports["proxy"]
            stage = Stage(tools, operator.toolbooth, lambda run: Agent(port, run), ca_file)
            yield stage, sidecar, log
            if wants_to_stay():
                print(f" The control API's token: {token}\n Ctrl-C ends the demo.", flush=True)
                with contextlib.suppress(KeyboardInterrupt):
                    sidecar.wait()
        finally:
            sidecar.stop()
            tools.close()


def _policy(folder: Path, port: int) -> Path:
    """The demo's policy with the port that its tool server got: a gateway's upstream has one."""
    path = folder / _POLICY.name
    text = _POLICY.read_text(encoding="utf-8")
    path.write_text(text.replace("llm.localhost:9 ", f"llm.localhost:{port} "), encoding="utf-8")
    return path


def _show_record(screen: Screen, log: Path) -> None:
    """The record of the call that brought secrets back."""
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    record = next(r for r in records if r["tool"] == "crm.read" and r["sampled"])
    named = ("run_id", "tool", "method", "host", "path", "code", "status", "attempts", "sampled")
    screen.record(
        f"One of the {len(records)} records of these calls, sampled and redacted",
        [
            "  ".join(f"{name}={record[name]}" for name in named),
            f"result.body = {json.dumps(json.loads(record['result']['body']))}",
        ],
    )


def _last_words(screen: Screen, sidecar: DemoSidecar) -> None:
    ports = sidecar.ports
    screen.note()
    if wants_to_stay():
        screen.note(f"Still running: HTTP_PROXY=http://my-run:x@127.0.0.1:{ports['proxy']}")
        screen.note(f"Console:       http://127.0.0.1:{ports['control']}/ (the token is below)")
        screen.note(f"Metrics:       http://127.0.0.1:{ports['health']}/metrics")
    else:
        screen.note("Next: DEMO_STAY=1 make demo (leaves it running), config/demo.yaml, README.md")
