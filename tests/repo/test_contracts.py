"""The shape that is enforced rather than asked for: who may import whom, and who may dial."""

import ast
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

from tests.repo.tree import PACKAGE, ROOT, layers, modules

_CONNECTING = frozenset(
    ("start_connection", "open_connection", "create_connection", "open_unix_connection",
     "create_unix_connection", "create_datagram_endpoint", "sock_connect", "socket", "urlopen",
     "ClientSession", "HTTPConnection")
)  # fmt: skip
# Who opens connections, and to whom.
_DIALLERS = {
    "upstream/dial.py": "upstreams: the address has been judged by the pool",
    "app/listen.py": "binds; asks a Unix socket left behind whether it still answers",
}
# The command line talks to the control port; the demo plays the agent and its tools.
_OUTSIDE_THE_DATA_PATH = ("cli", "demo")


def test_the_import_contracts_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    # It configures logging as a program would, which silences every logger made before.
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    assert lint_imports(no_cache=True, no_logo=True) == 0


def test_every_package_has_its_place_in_the_contract() -> None:
    on_disk = {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    on_disk |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert on_disk - set(layers()) == set()


def _calls(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            names.add(
                called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            )
    return names


def test_only_the_known_files_open_connections() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in modules()
        if _calls(path) & _CONNECTING
        and path.relative_to(PACKAGE).parts[0] not in _OUTSIDE_THE_DATA_PATH
    }
    assert found == set(_DIALLERS)


def test_no_file_can_stop_verifying_certificates() -> None:
    forbidden = ("CERT_NONE", "_create_unverified_context", "check_hostname = False")
    guilty = [path for path in modules() if any(w in path.read_text() for w in forbidden)]
    assert guilty == []


_CATCH_ALL = {
    "pipeline/handle.py": "a bug in the walk refuses the call",
    "pipeline/walker.py": "a bug after its end is told, and not to whoever stepped it",
    "upstream/connection.py": "a bug in passing content on ends its call",
    "listeners/client.py": "a bug in reading a request ends the connection",
    "app/tasks.py": "one broken task must not end all others",
    "app/reload.py": "no document may end the keeping of policies",
    "upstream/tunnel.py": "whatever a tunnel's judge raises ends the tunnel",
    "listeners/intercept.py": "and so it does where its TLS is to end here",
    "telemetry/recorder.py": "costs one record, not the log",
    "telemetry/span_queue.py": "costs one trace, or one batch of them",
    "app/tracing.py": "settings the SDK does not take do not start; a failed export is noted",
    "telemetry/metrics.py": "costs one metric, not the page",
    "upstream/resolver.py": "what a look-up raises in its thread is raised where it is awaited",
    "control/api.py": "no traceback may leave; it goes to the log",
}


def test_errors_nobody_foresaw_are_caught_in_the_known_places_only() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and getattr(node.type, "id", "") == "Exception"
        and path.relative_to(PACKAGE).parts[0] not in _OUTSIDE_THE_DATA_PATH
    }  # fmt: skip
    assert found == set(_CATCH_ALL)
