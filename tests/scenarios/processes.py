"""Real processes for the scenarios: a sidecar, and origins that count what reaches them."""

import http.server
import re
import signal
import socketserver
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.sidecar_command import TOOLBOOTH, inherited_environment

ROOT = Path(__file__).resolve().parents[2]
_LISTENS = re.compile(r"toolbooth: (proxy|control|health) on [\d.]+:(\d+)")


def bare_environment() -> dict[str, str]:
    """Ours without proxies, trust stores of this machine, and what would configure a sidecar. Nor
    what keeps Python from keeping its bytecode: hundreds of processes would compile it anew."""
    foreign = ("TOOLBOOTH_", "AGENT_MAX", "OTEL_", "PIP_", "SSL_CERT", "REQUESTS_CA", "CURL_CA",
               "NODE_EX", "PYTHONDONTWRITE")  # fmt: skip
    return {
        name: value
        for name, value in inherited_environment().items()
        if not name.lower().endswith("_proxy") and not name.startswith(foreign)
    }


class SidecarProcess:
    """`toolbooth run`, ready. `ports` by listener; `said` is what it has written to stderr.
    `inside`: the words in front of the command that put it somewhere else."""

    def __init__(
        self, folder: Path, policy: str, *, inside: Sequence[str] = (), **settings: str
    ) -> None:
        self.folder = folder
        self.log = folder / "calls.jsonl"
        (folder / "policy.yaml").write_text(policy, encoding="utf-8")
        self.environment = {
            **bare_environment(),
            "TOOLBOOTH_PROXY_LISTEN": "127.0.0.1:0",
            "TOOLBOOTH_CONTROL_LISTEN": "127.0.0.1:0",
            "TOOLBOOTH_HEALTH_LISTEN": "127.0.0.1:0",
            "TOOLBOOTH_CONTROL_TOKEN": "let-me-in",
            "TOOLBOOTH_DRAIN_SECONDS": "3",
            "TOOLBOOTH_LOG": str(self.log),
            **settings,
        }
        self.process = subprocess.Popen(
            [*inside, *TOOLBOOTH, "run", "--policy",
             str(folder / "policy.yaml")],
            env=self.environment, cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.ports: dict[str, int] = {}
        self.said: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            found = _LISTENS.match(line)
            if found:
                self.ports[found[1]] = int(found[2])
            if line == "toolbooth: ready\n":
                break
        else:
            raise AssertionError("".join(self.said))
        self._reader = threading.Thread(target=self._read_on, daemon=True)
        self._reader.start()

    def _read_on(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)

    def proxy_url(self, run: str = "run-1") -> str:
        return f"http://{run}:x@127.0.0.1:{self.ports['proxy']}"

    def client_environment(self, run: str = "run-1", **more: str) -> dict[str, str]:
        """What an agent's container would have set."""
        url = self.proxy_url(run)
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        return {**bare_environment(), **dict.fromkeys(names, url), "NO_PROXY": "", **more}

    def toolbooth(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line against this sidecar."""
        environment = {
            **bare_environment(),
            "TOOLBOOTH_CONTROL_LISTEN": f"127.0.0.1:{self.ports['control']}",
            "TOOLBOOTH_HEALTH_LISTEN": f"127.0.0.1:{self.ports['health']}",
            "TOOLBOOTH_CONTROL_TOKEN": "let-me-in",
        }
        return subprocess.run(
            [*TOOLBOOTH, *arguments],
            env=environment, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        code = self.process.wait()
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@contextmanager
def running(folder: Path, policy: str, **settings: str) -> Iterator[SidecarProcess]:
    """A sidecar for the length of a test; it must not have met a bug."""
    sidecar = SidecarProcess(folder, policy, **settings)
    try:
        yield sidecar
    finally:
        sidecar.stop()
        assert not [line for line in sidecar.said if "a bug" in line], "".join(sidecar.said)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class HttpOrigin:
    """A threaded HTTP server: `answer(path) -> (status, headers, body)`. `hits` counts paths."""

    def __init__(
        self, answer: Callable[[str], tuple[int, dict[str, str], bytes]] | None = None,
        *, tls: ssl.SSLContext | None = None, folder: Path | None = None,
    ) -> None:  # fmt: skip
        self.hits: Counter[str] = Counter()
        self.bodies: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        origin = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, directory=str(folder or "."))  # type: ignore[arg-type]

            def do_GET(self) -> None:
                origin.hits[self.path] += 1
                origin.heads.append(dict(self.headers))
                if folder is not None:
                    super().do_GET()
                    return
                length = int(self.headers.get("Content-Length") or 0)
                origin.bodies.append(self.rfile.read(length))
                status, headers, body = (answer or _plain)(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> "HttpOrigin":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _plain(path: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, b'{"path": "%b"}' % path.encode()


def policy(*tools: str, budget: int = 1000, extra: str = "", top: str = "") -> str:
    """A policy: each tool is a catalog line `NAME: {...}` and is allowed."""
    names = ", ".join(line.partition(":")[0] for line in tools)
    entries = "".join(f"    {line}\n" for line in tools)
    return (
        f"runtime:\n  env: {{AGENT_MAX_TOOL_CALLS: {budget}, AGENT_MAX_STEPS: {budget}}}\n"
        f"tools:\n  allowlist: [{names}]\n  retries: {{max: 2, backoff_ms: [5, 10]}}\n{extra}"
        f"  catalog:{chr(10) + entries if entries else ' {}' + chr(10)}{top}"
    )


def local_tool(name: str, host: str, port: int, more: str = "") -> str:
    """A catalog line for a tool on this machine."""
    tail = f", {more}" if more else ""
    return (
        f'{name}: {{match: [{{host: "{host}", ports: [{port}]}}], '
        f'allow_addresses: ["127.0.0.0/8"]{tail}}}'
    )
