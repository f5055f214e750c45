"""The audit log of a real process: killed in mid-write, rotated, on a full disk, shared."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.scenarios.asking import control, kill, metric
from tests.scenarios.processes import ROOT, SidecarProcess, bare_environment, policy, running
from tests.sidecar_command import TOOLBOOTH

pytestmark = pytest.mark.scenario

ROUNDS = int(os.environ.get("AUDIT_ROUNDS", "6"))
KEY = "0123456789abcdef0123456789abcdef"


def settings_of(folder: Path) -> dict[str, str]:
    return {"TOOLBOOTH_AUDIT": str(folder / "audit.log"), "TOOLBOOTH_AUDIT_KEY": KEY}


def verify(*files: Path, head: str = "") -> tuple[int, dict[str, object]]:
    more = ("--head", head) if head else ()
    done = subprocess.run(
        [*TOOLBOOTH, "audit", "verify", *map(str, files), "--json", *more],
        env={**bare_environment(), "TOOLBOOTH_AUDIT_KEY": KEY}, cwd=ROOT,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout)


def entries(*files: Path) -> list[dict[str, object]]:
    """Whole lines; half of one is left out."""
    found = []
    for file in files:
        for line in file.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
    return found


def test_a_life_from_start_to_stop(tmp_path: Path) -> None:
    """Every act, the refused ones, an expiry, a reload good and bad; nothing secret; and the head
    that the process log names is in it."""
    log = tmp_path / "audit.log"
    with running(tmp_path, policy(), **settings_of(tmp_path)) as sidecar:
        assert kill(sidecar, "all").status_code == 200
        assert control(sidecar, "DELETE", "/v1/switches/all").status_code == 200
        order = {"reason": "a while", "ttl_seconds": 1}
        assert control(sidecar, "PUT", "/v1/switches/writes", order).status_code == 200
        assert control(sidecar, "DELETE", "/v1/runs/nobody").status_code == 404
        requests.get(f"http://127.0.0.1:{sidecar.ports['control']}/v1/tools", timeout=5)
        (tmp_path / "policy.yaml").write_text("nonsense: 1\n")
        end_s = time.monotonic() + 10
        while time.monotonic() < end_s and not {"policy.load", "switch.expire"} <= {
            entry.get("action") for entry in entries(log)
        }:
            time.sleep(0.05)
        assert sidecar.stop() == 0
    found = [(e["action"], e.get("key"), e.get("outcome") or e.get("why")) for e in entries(log)]
    assert found[:6] == [
        ("begin", None, "new"),
        ("process.start", found[1][1], "done"),
        ("checkpoint", None, "start"),
        ("switch.engage", "all", "done"),
        ("switch.release", "all", "done"),
        ("switch.engage", "writes", "done"),
    ]
    assert ("run.forget", "run:nobody", "run_unknown") in found
    assert ("GET", "/v1/tools", "token_required") in found
    assert ("switch.expire", "writes", "done") in found
    assert ("policy.load", "", "failed") in found
    assert [name for name, _, _ in found[-3:]] == ["process.drain", "process.stop", "checkpoint"]
    noted = [line.split()[-1] for line in sidecar.said if "audit log checkpoint" in line]
    assert len(noted) == 2
    for head in noted:
        code, document = verify(log, head=head)
        assert (code, document["problems"], document["notes"]) == (0, [], [])
    text = log.read_text()
    assert KEY not in text
    assert "let-me-in" not in text
    assert log.stat().st_mode & 0o777 == 0o600


def kill_on(sidecar: SidecarProcess, prefix: str, answered: set[str]) -> None:
    """Until nobody answers any more."""
    with contextlib.suppress(requests.RequestException):
        for number in itertools.count():
            key = f"{prefix}-{number}"
            if kill(sidecar, key).status_code == 200:
                answered.add(key)


def test_killed_in_mid_write_again_and_again(tmp_path: Path) -> None:
    """SIGKILL at any moment: the next start goes on, the log stays intact, and no act that was
    answered is missing from it."""
    log, answered = tmp_path / "audit.log", set[str]()
    for round_ in range(ROUNDS):
        sidecar = SidecarProcess(tmp_path, policy(), **settings_of(tmp_path))
        threads = [
            threading.Thread(target=kill_on, args=(sidecar, f"run:{round_}-{number}", answered))
            for number in range(3)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.15 + 0.03 * round_)
        sidecar.process.send_signal(signal.SIGKILL)
        for thread in threads:
            thread.join(10)
        sidecar.stop()
        code, document = verify(log)
        assert (code, document["problems"]) == (0, [])
    with log.open("ab") as file:  # what SIGKILL rarely does: half a line
        file.write(b'{"seq":9,"ts":"2026')
    with running(tmp_path, policy(), **settings_of(tmp_path)):
        pass
    code, document = verify(log)
    assert (code, document["problems"]) == (0, [])
    assert "half a line that a crash left" in str(document["notes"])
    assert len(answered) > 3 * ROUNDS
    assert answered - {entry.get("key") for entry in entries(log)} == set()


def test_rotation_while_acts_go_on(tmp_path: Path) -> None:
    """Renamed away five times under load: nothing is missing, in order, over all files."""
    log = tmp_path / "audit.log"
    with (
        running(tmp_path, policy(), **settings_of(tmp_path)) as sidecar,
        ThreadPoolExecutor(4) as pool,
    ):
        acts = [pool.submit(kill, sidecar, f"run:{number}") for number in range(20)]
        for number in range(5):
            acts[-10].result()  # half of the last twenty: some are written, some are under way
            log.rename(tmp_path / f"audit.log.{number}")
            first = len(acts)
            acts += [pool.submit(kill, sidecar, f"run:{first + place}") for place in range(20)]
        assert {act.result().status_code for act in acts} == {200}
    files = [*(tmp_path / f"audit.log.{number}" for number in range(5)), log]
    code, document = verify(*files)
    assert (code, document["problems"], document["notes"]) == (0, [], [])
    done = [entry["key"] for entry in entries(*files) if entry["action"] == "switch.engage"]
    assert sorted(map(str, done)) == sorted(f"run:{number}" for number in range(120))
    code, document = verify(files[0], *files[2:])
    assert code == 1
    problems = document["problems"]
    assert isinstance(problems, list)
    assert (problems[0]["file"], problems[0]["line"]) == (str(files[2]), 1)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(folder)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip("mounting needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(tmp_path: Path) -> None:
    """Kills hold and are kept, everything else is refused with 507, losses are counted and told,
    and what the disk left is an intact log."""
    with small_disk(tmp_path / "disk") as disk:
        settings = {**settings_of(tmp_path), "TOOLBOOTH_AUDIT": str(disk / "audit.log")}
        with running(tmp_path, policy(), **settings) as sidecar:
            kill(sidecar, "run:before")
            filler = disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"x" * 512)
            statuses = [
                kill(sidecar, f"run:{number}-{'x' * 250}").status_code for number in range(30)
            ]
            assert set(statuses) == {200}
            listed = control(sidecar, "GET", "/v1/switches").json()["switches"]
            assert len(listed) == 31
            refused = control(sidecar, "DELETE", "/v1/switches/run:before")
            assert (refused.status_code, refused.json()["code"]) == (507, "state_unavailable")
            assert "no space left on device" in refused.json()["detail"]
            assert len(control(sidecar, "GET", "/v1/switches").json()["switches"]) == 31
            assert metric(sidecar, "toolbooth_audit_pending") > 0
            assert metric(sidecar, "toolbooth_audit_write_errors_total") > 0
            assert metric(sidecar, "toolbooth_audit_lost_total") == 1  # the refused attempt
            filler.unlink()
            end_s = time.monotonic() + 10
            while metric(sidecar, "toolbooth_audit_pending") and time.monotonic() < end_s:
                time.sleep(0.05)
            assert control(sidecar, "DELETE", "/v1/switches/run:before").status_code == 200
            assert any("is not being written" in line for line in sidecar.said)
            assert any("is being written again" in line for line in sidecar.said)
        log = disk / "audit.log"
        code, document = verify(log)
        assert (code, document["problems"], document["notes"]) == (0, [], [])
        found = entries(log)
        engaged = [e["key"] for e in found if e["action"] == "switch.engage"]
        assert engaged == ["run:before", *(f"run:{n}-{'x' * 250}" for n in range(30))]
        assert [e["count"] for e in found if e["action"] == "lost"] == [1]
        assert len([e for e in found if e["action"] == "switch.release"]) == 1


def failing_start(folder: Path, **settings: str) -> tuple[int, str]:
    done = subprocess.run(
        [*TOOLBOOTH, "run", "--policy", str(folder / "policy.yaml")],
        env={
            **bare_environment(), "TOOLBOOTH_PROXY_LISTEN": "127.0.0.1:0",
            "TOOLBOOTH_CONTROL_LISTEN": "127.0.0.1:0", "TOOLBOOTH_HEALTH_LISTEN": "127.0.0.1:0",
            **settings,
        },
        cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def test_what_is_not_as_it_was_left_starts_nothing(tmp_path: Path) -> None:
    """A log in use, one that was changed, one whose end is gone, and a full disk: one sentence
    each, exit 1."""
    log, settings = tmp_path / "audit.log", settings_of(tmp_path)
    with running(tmp_path, policy(), **settings):
        code, said = failing_start(tmp_path, **settings)
        assert (code, "in use by another process" in said) == (1, True)
    whole = log.read_bytes()
    log.write_bytes(whole.replace(b'"process.stop"', b'"process.step"'))
    code, said = failing_start(tmp_path, **settings)
    assert (code, "was tampered with near its end" in said) == (1, True)
    log.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    code, said = failing_start(tmp_path, **settings)
    assert (code, f"lines at the end of {log} are gone" in said) == (1, True)
    assert "Traceback" not in said
    log.write_bytes(whole)
    with running(tmp_path, policy(), **settings):
        pass
    assert verify(log)[0] == 0
    code, said = failing_start(tmp_path, TOOLBOOTH_AUDIT=str(tmp_path / "none" / "audit.log"))
    assert (code, "cannot start" in said, "Traceback" in said) == (1, True, False)


def test_a_disk_that_is_full_from_the_beginning(tmp_path: Path) -> None:
    """A process whose first line cannot be written does not serve."""
    with small_disk(tmp_path / "disk") as disk:
        (tmp_path / "policy.yaml").write_text(policy())
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 512)
        code, said = failing_start(tmp_path, TOOLBOOTH_AUDIT=str(disk / "audit.log"))
        assert code == 1
        assert "cannot start: " in said
        assert "no space left on device" in said
        assert "Traceback" not in said
