"""Asking what a proxy variable points at: a sidecar, one that refuses, something else, nothing."""

import contextlib
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from proxy.cli.doctor import booth
from proxy.cli.doctor.booth import NoBoothError, Seen, ask_seen, check_booth
from proxy.cli.doctor.variables import Endpoint
from proxy.cli.doctor.verdicts import Check, Verdict

NONCE = "0123456789abcdef"
WHO = {"toolbooth": "0.1", "run_id": "r", "run_given": True, "intercepts": False}
Answer = Callable[[int, object, dict[str, str]], Endpoint]


@pytest.fixture
def answering() -> Iterator[Answer]:
    """A server that says one thing to whatever it is asked."""
    servers: list[http.server.HTTPServer] = []

    def serve(status: int, content: object, headers: dict[str, str]) -> Endpoint:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return Endpoint("127.0.0.1", server.server_address[1], "r", "s3cret")

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def check(endpoint: Endpoint) -> Check:
    return check_booth(endpoint, ["http_proxy"], NONCE)[0]


@pytest.mark.parametrize(
    ("status", "content", "headers", "verdict", "words"),
    [
        (200, WHO, {}, Verdict.OK, "run r; its policy opens no TLS"),
        (200, WHO | {"intercepts": True}, {}, Verdict.OK, "must trust its CA"),
        (200, WHO | {"run_given": False}, {}, Verdict.WARNING, "no run id arrives"),
        (200, WHO | {"toolbooth": "\x1b[2J"}, {}, Verdict.OK, "\\x1b[2J"),
        (200, b"<html>", {}, Verdict.BYPASS, "is no Toolbooth"),
        (200, [], {}, Verdict.BYPASS, "is no Toolbooth"),
        (200, {}, {}, Verdict.BYPASS, "is no Toolbooth"),
        (403, WHO, {}, Verdict.BYPASS, "is no Toolbooth"),
        (403, {}, {"Toolbooth-Code": "tool_unknown"}, Verdict.BROKEN, "too old"),
        (407, {}, {"Toolbooth-Code": "run_id_required"}, Verdict.BROKEN, "wants a run id"),
        (503, {}, {"Toolbooth-Code": "draining"}, Verdict.BROKEN, "draining"),
    ],
)
def test_who_answers(
    answering: Answer, status: int, content: object, headers: dict[str, str], verdict: Verdict,
    words: str,
) -> None:  # fmt: skip
    found = check(answering(status, content, headers))
    assert found.verdict is verdict
    assert words in found.detail
    assert "s3cret" not in repr(found)


def test_nobody_answers() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        found = check(Endpoint("127.0.0.1", silent.getsockname()[1]))
    assert (found.verdict, "is not reachable" in found.detail) == (Verdict.BROKEN, True)


def test_something_that_speaks_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"220 mail.example ESMTP\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        found = check(Endpoint("127.0.0.1", listener.getsockname()[1]))
        thread.join(5)
    assert (found.verdict, "is no Toolbooth" in found.detail) == (Verdict.BYPASS, True)


def test_what_was_seen(answering: Answer) -> None:
    """Only plain true counts; what is of another shape counts as not seen, or is an error."""
    content = {"seen": {"http": True, "tunnel": 1}, "run_given": {"http": True}, "run_id": "r"}
    assert ask_seen(answering(200, content, {}), NONCE) == Seen(
        True, False, False, {"http": True}, "r"
    )
    with pytest.raises(NoBoothError):
        ask_seen(answering(200, {"seen": 1}, {}), NONCE)


def _head(content: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content


RAW = [
    pytest.param(_head(b"[" * 60_000), Verdict.BYPASS, id="deeper than can be read"),
    pytest.param(
        _head(b'{"toolbooth":' + b"[" * 20_000 + b"]" * 20_000 + b"}"), Verdict.BYPASS,
        id="deep, and whole",
    ),
    pytest.param(_head(b'{"toolbooth":' + b"9" * 5_000 + b"}"), Verdict.BYPASS, id="a long number"),
    pytest.param(_head(b'{"toolbooth":"\\ud800"}'), Verdict.WARNING, id="half a character"),
    pytest.param(b"HTTP/1.1 99999999999 x\r\n\r\n", Verdict.BYPASS, id="an odd status"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Verdict.BYPASS,
        id="an odd chunk",
    ),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nab", Verdict.BYPASS,
        id="a chunk of less than nothing",
    ),
    pytest.param(
        b"HTTP/1.1 403 No\r\nToolbooth-Code: " + b"A" * 60_000 + b"\r\n\r\n", Verdict.BROKEN,
        id="a long code",
    ),
    pytest.param(
        _head(b'{"toolbooth":"' + b"v" * 60_000 + b'"}'), Verdict.WARNING, id="a long version"
    ),
]  # fmt: skip


def _talk(say: Callable[[socket.socket], None]) -> tuple[Check, float]:
    """What the doctor makes of a server that says so, and how long that took."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer, contextlib.suppress(OSError):
                peer.recv(1000)
                say(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        started_s = time.monotonic()
        found = check(Endpoint("127.0.0.1", listener.getsockname()[1], "r", "s3cret"))
        took_s = time.monotonic() - started_s
        thread.join(5)
    return found, took_s


@pytest.mark.parametrize(("raw", "verdict"), RAW)
def test_whatever_answers_gets_a_verdict_of_a_few_words(raw: bytes, verdict: Verdict) -> None:
    found, _ = _talk(lambda peer: peer.sendall(raw))
    assert found.verdict is verdict
    assert len(found.detail) < 500
    assert found.detail.isprintable()


def _drip(peer: socket.socket) -> None:
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
    while True:
        peer.sendall(b"x")
        time.sleep(0.01)


def _interim(peer: socket.socket) -> None:
    while True:
        peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@pytest.mark.parametrize("say", [_drip, _interim])
def test_an_answer_that_never_ends_is_given_up(
    say: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(booth, "_TIMEOUT_S", 0.2)
    found, took_s = _talk(say)
    assert (found.verdict, "in time" in found.detail) == (Verdict.BROKEN, True)
    assert took_s < 3


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint("a..b", 8080, "r"),
        Endpoint("a" * 70 + ".b", 1),
        Endpoint("exa mple", 80),
        Endpoint("127.0.0.1", 1, "\udcff", "s3cret"),
    ],
)
def test_an_odd_endpoint_is_broken(endpoint: Endpoint) -> None:
    found = check(endpoint)
    assert found.verdict is Verdict.BROKEN
    assert "s3cret" not in repr(found)
