"""F71: secrets and the CA are changed while they are in use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.faults.fault import Fault
from tests.numbered import NumberedTests
from tests.scenarios.asking import CONTROL, control, wait_for
from tests.scenarios.processes import HttpOrigin, SidecarProcess, local_tool, policy, running

FAULTS = (
    Fault(
        71,
        "secrets and the CA are changed",
        "A tool's credential from a file is in use a second later, and the old one is not, but "
        "still masked. The operator's tokens and the CA are read at start: a restart takes the new "
        "ones, and the old ones are refused from then on.",
        ("ok",),
        "tokens of the control port and the CA have no overlap and need a restart.",
    ),
)
faults = NumberedTests()
scenario = pytest.mark.scenario

TOKENS = ("first-token", "second-token")


@faults(
    "F71: a tool's credential from a file is replaced without a restart, and both are masked",
    scenario,
)
def _credential(folder: Path) -> None:
    key = folder / "key"
    key.write_text("sk-first-0123456789", encoding="utf-8")
    with HttpOrigin() as origin:
        more = f'upstream: "http://127.0.0.1:{origin.port}", credentials: {{secret_file: "{key}"}}'
        text = policy(local_tool("keyed", "127.0.0.1", origin.port, more))
        with running(folder, text) as sidecar:
            url = f"http://127.0.0.1:{sidecar.ports['proxy']}/tools/keyed/x"
            assert requests.get(url, timeout=5).ok
            (folder / "new").write_text("sk-second-0123456789", encoding="utf-8")
            (folder / "new").rename(key)
            wait_for(lambda: sent_with(origin, url) == "Bearer sk-second-0123456789")
            seen = [head["Authorization"] for head in origin.heads]
            switched = seen.index("Bearer sk-second-0123456789")
            assert set(seen[:switched]) == {"Bearer sk-first-0123456789"}
            assert set(seen[switched:]) == {"Bearer sk-second-0123456789"}
            for secret in ("first", "second"):
                assert requests.get(f"{url}?q=sk-{secret}-0123456789", timeout=5).ok
        assert b"0123456789" not in sidecar.log.read_bytes()


def sent_with(origin: HttpOrigin, url: str) -> str:
    """What the tool is sent now."""
    assert requests.get(url, timeout=5).ok
    return origin.heads[-1]["Authorization"]


@faults(
    "F71: another token in its file is the operator's after a restart, the old one is not", scenario
)
def _control_token(folder: Path) -> None:
    file = folder / "token"
    settings = {"TOOLBOOTH_CONTROL_TOKEN_FILE": str(file), "TOOLBOOTH_CONTROL_TOKEN": ""}
    accepted = []
    for token in TOKENS:
        file.write_text(token + "\n", encoding="utf-8")
        file.chmod(0o600)
        with running(folder, policy(), **settings) as sidecar:
            accepted.append([control_status(sidecar, one) for one in TOKENS])
    assert accepted == [[200, 401], [401, 200]]


def control_status(sidecar: SidecarProcess, token: str) -> int:
    """With this token."""
    with requests.Session() as session:
        session.trust_env = False
        url = f"http://127.0.0.1:{sidecar.ports['control']}/v1/switches"
        bearer = {**CONTROL, "Authorization": f"Bearer {token}"}
        return session.get(url, headers=bearer, timeout=5).status_code


@faults("F71: another CA in its folder is the one after a restart", scenario)
def _another_ca(folder: Path) -> None:
    kept = folder / "ca"
    tool = "read: {match: [{host: read.test}], intercept_tls: true}"
    shown: list[str] = []
    for _ in range(2):
        with running(folder, policy(tool), TOOLBOOTH_CA_DIR=str(kept)) as sidecar:
            shown.append(control(sidecar, "GET", "/v1/ca").text)
            assert shown[-1] == control(sidecar, "GET", "/v1/ca").text
            for file in kept.iterdir():
                file.unlink()
            assert control(sidecar, "GET", "/v1/ca").text == shown[-1]  # until it ends
    assert shown[0] != shown[1]


@pytest.mark.parametrize("play", faults.params)
def test_fault(play: Callable[[Path], Any], tmp_path: Path) -> None:
    play(tmp_path)
