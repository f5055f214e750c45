"""Asking what a proxy variable points at: a sidecar, one that refuses, something else, nothing."""

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

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
