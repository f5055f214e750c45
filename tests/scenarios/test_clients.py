"""What single clients do that others do not; each of them by each way in is in `test_matrix`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.processes import HttpOrigin, bare_environment, local_tool, policy, running

pytestmark = pytest.mark.scenario


def run(command: list[str], environment: dict[str, str], cwd: Path | None = None) -> str:
    """A client's output; fails with what it said."""
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def records(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_curl(tmp_path: Path) -> None:
    """curl: a GET, a POST with Expect, a refusal with its reason, a refused tunnel."""
    assert shutil.which("curl"), "curl is part of the test environment"
    with HttpOrigin() as origin:
        text = policy(local_tool("web.get", "tool.localhost", origin.port))
        with running(tmp_path, text) as sidecar:
            environment = sidecar.client_environment()
            url = f"http://tool.localhost:{origin.port}/c"
            # --resolve is not needed: the proxy resolves, and curl asks it by name.
            assert '"path": "/c"' in run(["curl", "-sS", url], environment)
            big = tmp_path / "big"
            big.write_bytes(b"x" * 2_000_000)
            run(["curl", "-sS", "-T", str(big), "-X", "POST", url, "-H", "Expect: 100-continue"],
                environment)  # fmt: skip
            assert len(origin.bodies[-1]) == 2_000_000
            refused = run(["curl", "-sS", "http://denied.example/"], environment)
            assert json.loads(refused)["code"] == "tool_unknown"
            tunnel = subprocess.run(
                ["curl", "-sS", "-v", "https://denied.example/"],
                env=environment, capture_output=True, text=True, timeout=30, check=False,
            )  # fmt: skip
            assert tunnel.returncode == 56
            assert "403 tool_unknown" in tunnel.stderr


OPENAI = """
import openai, sys
client = openai.OpenAI(base_url=sys.argv[1], api_key="unused")
try:
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    print("answered")
except openai.APIStatusError as error:
    print(error.status_code, error.response.headers.get("toolbooth-code", "-"))
"""


@pytest.mark.parametrize(
    ("tool", "hits", "said"),
    [
        pytest.param("retry_writes: true", 3, "503 -", id="our retries are not multiplied by its"),
        pytest.param("retry_writes: false", 3, "503 -", id="a POST we send once is its to retry"),
    ],
)
def test_the_openai_client_against_a_failing_upstream(
    tool: str, hits: int, said: str, tmp_path: Path
) -> None:
    """The SDK tries three times by default; with our retries on, three requests in all reach the
    upstream, not nine."""
    with HttpOrigin(lambda _: (503, {}, b"{}")) as origin:
        more = f"kind: model, upstream: http://127.0.0.1:{origin.port}/v1, {tool}"
        with running(tmp_path, policy(local_tool("llm", "llm.localhost", origin.port, more))) as s:
            base = f"http://127.0.0.1:{s.ports['proxy']}/tools/llm"
            output = run([sys.executable, "-c", OPENAI, base], bare_environment())
            assert output.strip() == said
        assert origin.hits["/v1/chat/completions"] == hits


def test_the_openai_client_does_not_retry_a_refusal(tmp_path: Path) -> None:
    """A spent step budget is told once, with a code, and the SDK gives up at once."""
    answer = b'{"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []}'
    with HttpOrigin(lambda _: (200, {"Content-Type": "application/json"}, answer)) as origin:
        more = f"kind: model, upstream: http://127.0.0.1:{origin.port}/v1"
        text = policy(local_tool("llm", "llm.localhost", origin.port, more), budget=1)
        with running(tmp_path, text) as sidecar:
            base = f"http://127.0.0.1:{sidecar.ports['proxy']}/tools/llm"
            arguments = [sys.executable, "-c", OPENAI, base]
            assert run(arguments, bare_environment()).strip() == "answered"
            assert run(arguments, bare_environment()).strip() == "403 max_steps"
        assert len(records(sidecar.log)) == 2
        assert sum(origin.hits.values()) == 1
