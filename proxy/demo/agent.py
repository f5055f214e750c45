"""The scripted agent: plain `urllib` through HTTP_PROXY, as any agent's tools would call."""

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
import urllib.response
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path
from typing import NamedTuple


class Answer(NamedTuple):
    """What came back. `code` is the sidecar's, empty where the tool itself answered."""

    status: int
    code: str
    detail: str
    headers: dict[str, str]
    body: bytes
    took_ms: float


class Agent:
    """One run of an agent: its id is the user name in the proxy's URL."""

    def __init__(self, proxy_port: int, run_id: str) -> None:
        self._proxy_port = proxy_port
        self._run_id = run_id
        proxy = f"http://{run_id}:x@127.0.0.1:{proxy_port}"
        self._proxies = urllib.request.ProxyHandler({"http": proxy, "https": proxy})
        self._opener = urllib.request.build_opener(self._proxies)

    def trust(self, ca_file: Path) -> None:
        """Trust this CA, and no other, for https."""
        tls = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(ca_file)))
        self._opener = urllib.request.build_opener(self._proxies, tls)

    def call(self, url: str, content: bytes | None = None, *, method: str | None = None) -> Answer:
        """One tool call; refusals are answers too."""
        started = time.perf_counter()
        fields = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, content, fields, method=method)
        try:
            with self._opener.open(request, timeout=10) as response:
                return _answer(response.status, response.headers, response.read(), started)
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read(), started)

    def through_gateway(self, path: str, content: bytes) -> Answer:
        """A call by the sidecar's own address, as an SDK with a base URL makes it."""
        started = time.perf_counter()
        url = f"http://127.0.0.1:{self._proxy_port}{path}"
        fields = {"Content-Type": "application/json", "X-Agent-Run-Id": self._run_id}
        request = urllib.request.Request(url, content, fields)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=10) as response:
            return _answer(response.status, response.headers, response.read(), started)

    def call_at_once(self, urls: list[str]) -> list[Answer]:
        """All of them at the same moment."""
        with ThreadPoolExecutor(len(urls)) as pool:
            return list(pool.map(self.call, urls))

    def tunnel(self, host: str, port: int, content: bytes) -> tuple[str, bytes]:
        """CONNECT; returns what the status line says, and what came back through the tunnel."""
        connection = http.client.HTTPConnection("127.0.0.1", self._proxy_port, timeout=5)
        connection.set_tunnel(host, port)
        try:
            connection.connect()
        except OSError as error:
            return str(error).partition(": ")[2], b""
        assert connection.sock is not None
        connection.sock.sendall(content)
        echoed = connection.sock.recv(4096)
        connection.close()
        return "200", echoed

    def stream(self, url: str) -> "urllib.response.addinfourl":
        """Open an answer and leave it open."""
        opened: urllib.response.addinfourl = self._opener.open(url, timeout=10)
        return opened


def _answer(status: int, headers: Message, body: bytes, started: float) -> Answer:
    code = headers.get("Toolbooth-Code", "")
    detail = json.loads(body).get("detail", "") if code else ""
    took_ms = (time.perf_counter() - started) * 1000
    return Answer(status, code, detail, dict(headers), body, took_ms)
