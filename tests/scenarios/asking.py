"""What an operator asks of a sidecar: its control API, and its metrics."""

import time
from collections.abc import Callable

import requests

from tests.scenarios.processes import SidecarProcess

CONTROL = {"Authorization": "Bearer let-me-in"}


def control(
    sidecar: SidecarProcess, verb: str, path: str, body: object = None
) -> requests.Response:
    return _ask(
        verb, f"http://127.0.0.1:{sidecar.ports['control']}{path}", headers=CONTROL, body=body
    )


def kill(sidecar: SidecarProcess, key: str) -> requests.Response:
    return control(sidecar, "PUT", f"/v1/switches/{key}", {"reason": "incident"})


def health_page(sidecar: SidecarProcess, path: str) -> requests.Response:
    return _ask("GET", f"http://127.0.0.1:{sidecar.ports['health']}{path}")


def metric(sidecar: SidecarProcess, name: str) -> float:
    """The value of one sample, named with its labels."""
    for line in health_page(sidecar, "/metrics").text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[-1])
    raise AssertionError(f"no {name}")


def wait_for(condition: Callable[[], object], seconds: float = 5.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.01)


def _ask(
    verb: str, url: str, headers: dict[str, str] | None = None, body: object = None
) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.request(verb, url, headers=headers, json=body, timeout=10)
