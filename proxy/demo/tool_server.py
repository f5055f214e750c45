"""The tools of the demo: one HTTP server that behaves by host name, and one echo server."""

import json
import socket
import socketserver
import ssl
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

LLM_KEY = "demo-key-that-only-the-booth-holds"
_CUSTOMER = {
    "name": "Ann Example",
    "email": "ann@example.com",
    "card": "4111 1111 1111 1111",
    "api_key": "sk-demo-51H8xkq0zT3bLw9",
    "plan": "pro",
}


class _Handler(BaseHTTPRequestHandler):
    """Answers as the tool that the Host field names."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hits: ClassVar[Counter[str]] = Counter()
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_GET(self) -> None:
        """One tool call."""
        tool = self.headers.get("Host", "").partition(".")[0]
        with self.lock:
            self.hits[tool] += 1
            hits = self.hits[tool]
        if tool == "report":
            time.sleep(1.5)
        if tool == "feed":
            self._stream()
        elif tool == "flaky" and hits == 1:
            self._send(503, {"error": "try again"})
        elif tool == "crm":
            self._send(200, _CUSTOMER)
        else:
            self._send(200, {"tool": tool, "ok": True})

    def do_POST(self) -> None:
        """One tool call with content."""
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        tool = self.headers.get("Host", "").partition(".")[0]
        if tool == "llm":
            self._complete()
        elif tool == "docs":
            self._answer_message(json.loads(content))
        else:
            self.do_GET()

    def _complete(self) -> None:
        """A model that wants its key, and says what it used."""
        if self.headers.get("Authorization") != f"Bearer {LLM_KEY}":
            self._send(401, {"error": "no such key"})
            return
        self._send(200, {"choices": [], "usage": {"prompt_tokens": 900, "completion_tokens": 120}})

    def _answer_message(self, message: dict[str, object]) -> None:
        """An MCP server that does whatever it is told."""
        with self.lock:
            self.hits["docs"] += 1
        done = {"content": [{"type": "text", "text": "done"}], "isError": False}
        self._send(200, {"jsonrpc": "2.0", "id": message["id"], "result": done})

    def _send(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        """Events without end."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for number in range(600):
                self.wfile.write(b"data: event %d\n\n" % number)
                time.sleep(0.05)
        except OSError:
            pass
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        """The table tells what happened."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection the sidecar cut is no error here."""


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        """Send back what comes."""
        connection: socket.socket = self.request
        while data := connection.recv(4096):
            connection.sendall(data)


class ToolServer:
    """The servers, in threads. `port` serves HTTP, `tls_port` the same over TLS, `echo_port` echoes
    bytes."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._http = _Server(("127.0.0.1", 0), _Handler)
        self._https = _Server(("127.0.0.1", 0), _Handler)
        self._https.socket = tls.wrap_socket(self._https.socket, server_side=True)
        self._echo = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo)
        self._echo.daemon_threads = True
        self.port = self._http.server_address[1]
        self.tls_port = self._https.server_address[1]
        self.echo_port = self._echo.server_address[1]
        for server in (self._http, self._https, self._echo):
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def hits(self, tool: str) -> int:
        """How many requests this tool has really seen."""
        with _Handler.lock:
            return _Handler.hits[tool]

    def close(self) -> None:
        """Stop serving."""
        for server in (self._http, self._https, self._echo):
            server.shutdown()
            server.server_close()
