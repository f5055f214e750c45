"""What a call costs, in Python calls: a guard against slower code that looks at no clock.

Counted are the calls of Python and of C functions in the thread of the event loop, from a kept
connection's request to its answer and the record; the client and the origin are in threads of
their own, which `sys.setprofile` does not see. The bounds stand in `tests/pipeline/cost.json`,
and `docs/performance.md` says them. Who makes the walk cheaper lowers them.
"""

import asyncio
import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import pytest
import uvloop

from proxy.guards.switches import Switches
from proxy.model.remember import Memory
from proxy.telemetry import line
from proxy.wire import head, target
from tests.fakes.sidecar import Sidecar, policy_text

BOUNDS: dict[str, int] = json.loads((Path(__file__).parent / "cost.json").read_text())
_WARM_UP, _COUNTED = 50, 30
_SPINS = 10  # turns of the loop after an answer, in which the record is made
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"
_GUARDS = """\
  rate_limits: {default: {requests: 1000000, per_seconds: 1}}
  circuit_breaker: {error_rate: 0.5, min_requests: 20, open_seconds: 10}
"""
_POLICY = """\
runtime: {env: {AGENT_MAX_STEPS: 1000000, AGENT_MAX_TOOL_CALLS: 1000000, AGENT_MAX_SECONDS: 86400}}
budgets: {max_spend_usd: 1000, max_bytes: 1000000000, loop_limit: 1000000}
observability: {sampled_tool_results: false}
"""


def _request(kind: str, port: int) -> bytes:
    authority = f"127.0.0.1:{port}" if kind != "refused" else "other.example"
    head = (
        f"{'POST' if kind == 'post' else 'GET'} http://{authority}/v1/search?q=booth HTTP/1.1\r\n"
        f"Host: {authority}\r\nUser-Agent: python-requests/2.34\r\nAccept: */*\r\n"
        "Proxy-Authorization: Basic cnVuOng=\r\n"
    )
    body = b"x" * 2048 if kind == "post" else b""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{head}{length}\r\n".encode() + body


def _read_message(connection: socket.socket) -> bytes:
    """A head and the content that its Content-Length tells; empty at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    at = head.lower().find(b"content-length:")
    length = int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
    while len(body) < length:
        body += connection.recv(65536)
    return head


@contextmanager
def _origin() -> Iterator[int]:
    """Answers in a thread; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            while _read_message(connection):
                connection.sendall(_OK)

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        yield listener.getsockname()[1]
        with socket.create_connection(listener.getsockname()):
            pass  # of a call that is refused nobody has come: it would wait for ever
        thread.join(5)


class _Counter:
    """Calls made in this thread while it is in force."""

    def __init__(self) -> None:
        self.calls = 0

    def __enter__(self) -> "_Counter":
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _see(self, _frame: FrameType, event: str, _argument: object) -> None:
        if event in ("call", "c_call"):
            self.calls += 1


async def _fewest_calls(client: socket.socket | None, request: bytes, status: bytes) -> int:
    """The lowest of several counts. Without a client: what asking alone takes, nothing asked."""
    loop = asyncio.get_running_loop()

    def ask() -> bytes:
        if client is None:
            return status
        client.settimeout(5)
        client.sendall(request)
        return _read_message(client).split(b" ")[1]

    counts = []
    for number in range(_WARM_UP + _COUNTED):
        with _Counter() as counter:
            answered = await loop.run_in_executor(None, ask)
            for _ in range(_SPINS):
                await asyncio.sleep(0)
        assert answered == status
        if number >= _WARM_UP:
            counts.append(counter.calls)
    return min(counts)


def calls_of(kind: str) -> int:
    """Calls that one call of this kind takes, on connections that are kept."""

    async def count(port: int) -> int:
        policy = policy_text(port, extra=_POLICY).replace("  catalog:", f"{_GUARDS}  catalog:")
        async with Sidecar(policy) as sidecar:
            with socket.create_connection(("127.0.0.1", sidecar.port)) as client:
                status = b"403" if kind == "refused" else b"200"
                around = await _fewest_calls(None, b"", status)
                found = await _fewest_calls(client, _request(kind, port), status)
            assert len(sidecar.records) == _WARM_UP + _COUNTED
        return found - around

    with _origin() as port:
        return uvloop.run(count(port))


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> None:
    """Of other tests, which may have filled what is full for a while then."""
    for module in (head, line, target):
        for value in vars(module).values():
            if isinstance(value, Memory):
                value.forget()


@pytest.mark.parametrize("kind", ["get", "post", "refused"])
def test_a_call_takes_no_more_python_calls_than_its_bound(kind: str) -> None:
    """Nor far fewer: a bound that is never come near would guard nothing."""
    found = calls_of(kind)
    assert found <= BOUNDS[kind], f"{found} calls for one {kind}; the bound is {BOUNDS[kind]}"
    assert found > 0.75 * BOUNDS[kind], f"{found} calls for one {kind}: lower its bound"


def test_a_call_more_in_the_walk_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One Python function around a stage of the walk is one call more, exactly."""
    before, refuse = calls_of("get"), Switches.refuse

    def wrapped(*arguments: object) -> object:
        return refuse(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Switches, "refuse", wrapped)
    assert calls_of("get") == before + 1
