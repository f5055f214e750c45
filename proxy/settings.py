"""Process settings: where to listen, what to read, what to write. Read once, at start.

The only reader of the environment. Settings need a restart and hold the secrets of the process;
what may change while it runs is in the policy file. The names are promises to users.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

_SHORTEST_KEY = 16
_BUDGET_NAMES = ("AGENT_MAX_STEPS", "AGENT_MAX_TOOL_CALLS", "AGENT_MAX_SECONDS")
_PROTOCOLS, _COMPRESSIONS = ("http/protobuf",), ("none", "gzip", "deflate")
_OTEL_CHOICES = {
    "OTEL_EXPORTER_OTLP_PROTOCOL": _PROTOCOLS,
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": _PROTOCOLS,
    "OTEL_EXPORTER_OTLP_COMPRESSION": _COMPRESSIONS,
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": _COMPRESSIONS,
    "OTEL_TRACES_SAMPLER": (
        "always_on", "always_off", "traceidratio", "parentbased_always_on",
        "parentbased_always_off", "parentbased_traceidratio",
    ),
}  # fmt: skip


class SettingsError(Exception):
    """One sentence naming the variable and what it should be."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """`tcp` with `host` and `port` (0: any free one), or `unix` with `path`."""

    kind: Literal["tcp", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_loopback(self) -> bool:
        """Only programs on this host (or in this pod) can reach it."""
        if self.kind == "unix" or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What the command line needs to reach a running sidecar."""

    control_listen: ListenAddress
    health_listen: ListenAddress
    control_token: str | None
    ca_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where spans go, and how many may wait on the way. What else the OpenTelemetry SDK knows
    (sampler, resource, headers, certificates, compression, timeout) it reads itself."""

    endpoint: str  # the whole URL, path included
    limit_spans: int
    batch_spans: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class Settings:
    """What a sidecar needs to start. `budget_overrides` are the `AGENT_MAX_*` variables, which
    win over the policy file. `log`: `stdout` or a file. `state_path`: where state survives a
    restart; None: in memory, where it does not. `audit_path`: the chained audit log; None: acts go
    to the process log only. `audit_key`: what its lines are made with."""

    proxy_listen: ListenAddress
    control_listen: ListenAddress
    health_listen: ListenAddress
    policy_path: Path
    control_token: str | None
    viewer_token: str | None
    log: str
    state_path: Path | None
    audit_path: Path | None
    audit_key: bytes | None
    drain_s: float
    max_connections: int
    max_per_client: int
    max_tls: int
    budget_overrides: dict[str, str]
    ca_dir: Path | None = None  # where the CA for interception is kept; None: in memory
    tracing: TracingSettings | None = None  # None: no spans
    memory_soft_bytes: int | None = None  # 0: no mark; None: by the container's limit


def client_settings(environ: Mapping[str, str] | None = None) -> ClientSettings:
    """Settings of `toolbooth kill`, `status` and their like. Raises `SettingsError`."""
    env = os.environ if environ is None else environ  # noqa: TID251 - the one place
    return ClientSettings(
        control_listen=_listen(env, "TOOLBOOTH_CONTROL_LISTEN", "127.0.0.1:8081"),
        health_listen=_listen(env, "TOOLBOOTH_HEALTH_LISTEN", "127.0.0.1:8082"),
        control_token=_secret(env, "TOOLBOOTH_CONTROL_TOKEN"),
        ca_dir=_ca_dir(env),
    )


def read_settings(
    policy_path: str | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Settings of `toolbooth run`; `policy_path` from the command line wins over the variable.

    Raises `SettingsError`, also for what this version cannot do: a setting that would silently
    not hold is worse than no start.
    """
    env = os.environ if environ is None else environ  # noqa: TID251 - the one place
    client = client_settings(env)
    if not client.control_listen.is_loopback and client.control_token is None:
        raise SettingsError(
            "TOOLBOOTH_CONTROL_LISTEN is not on loopback: set TOOLBOOTH_CONTROL_TOKEN "
            "or TOOLBOOTH_CONTROL_TOKEN_FILE, or listen on 127.0.0.1 or unix:PATH."
        )
    viewer_token = _secret(env, "TOOLBOOTH_VIEWER_TOKEN")
    if viewer_token is not None and viewer_token == client.control_token:
        raise SettingsError("TOOLBOOTH_VIEWER_TOKEN must differ from TOOLBOOTH_CONTROL_TOKEN.")
    if viewer_token is not None and client.control_token is None:
        raise SettingsError(
            "TOOLBOOTH_VIEWER_TOKEN without TOOLBOOTH_CONTROL_TOKEN: nobody could switch anything."
        )
    return Settings(
        proxy_listen=_listen(env, "TOOLBOOTH_PROXY_LISTEN", "127.0.0.1:8080", unix=False),
        control_listen=client.control_listen,
        health_listen=client.health_listen,
        policy_path=Path(policy_path or env.get("TOOLBOOTH_POLICY") or "config/policy.yaml"),
        control_token=client.control_token,
        viewer_token=viewer_token,
        log=env.get("TOOLBOOTH_LOG") or "stdout",
        state_path=_state_path(env),
        audit_path=_audit_path(env),
        audit_key=audit_key(env),
        drain_s=_number(env, "TOOLBOOTH_DRAIN_SECONDS", 10.0, highest=3600.0),
        max_connections=int(_number(env, "TOOLBOOTH_MAX_CONNECTIONS", 12_000.0, highest=1e6)),
        max_per_client=int(
            _number(env, "TOOLBOOTH_MAX_CONNECTIONS_PER_CLIENT", 10_000.0, highest=1e6)
        ),
        max_tls=int(_number(env, "TOOLBOOTH_MAX_INTERCEPTED", 512.0, highest=1e6)),
        budget_overrides={name: env[name] for name in _BUDGET_NAMES if env.get(name)},
        ca_dir=client.ca_dir,
        tracing=_tracing(env),
        memory_soft_bytes=_memory_soft_bytes(env),
    )


def secret_variable(name: str, environ: Mapping[str, str] | None = None) -> str | None:
    """The variable that a tool's credentials name; it holds a secret, which is not for logs."""
    env = os.environ if environ is None else environ  # noqa: TID251 - the one place
    return env.get(name)


def audit_key(environ: Mapping[str, str] | None = None) -> bytes | None:
    """The key of the audit log, for the sidecar and for whoever checks the log. Raises
    `SettingsError`."""
    env = os.environ if environ is None else environ  # noqa: TID251 - the one place
    key = _secret(env, "TOOLBOOTH_AUDIT_KEY")
    if key is not None and len(key) < _SHORTEST_KEY:
        raise SettingsError(f"TOOLBOOTH_AUDIT_KEY: needs at least {_SHORTEST_KEY} characters.")
    return None if key is None else key.encode("utf-8", "surrogateescape")


def colours_wanted(environ: Mapping[str, str] | None = None) -> bool:
    """NO_COLOR (no-color.org) and TERM=dumb are honoured."""
    env = os.environ if environ is None else environ  # noqa: TID251 - the one place
    return not env.get("NO_COLOR") and env.get("TERM") != "dumb"


def child_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without anything that concerns a sidecar or a proxy: for the demo's processes."""
    env = os.environ if environ is None else environ  # noqa: TID251 - the one place
    foreign = ("TOOLBOOTH_", "AGENT_MAX_")
    return {
        name: value
        for name, value in env.items()
        if not name.startswith(foreign) and not name.lower().endswith("_proxy")
    }


def agent_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """All of it, as the programs of this container get it: for `toolbooth doctor`, which tries
    them and reads nothing else of a process's settings."""
    return dict(os.environ if environ is None else environ)  # noqa: TID251 - the one place


def wants_to_stay(environ: Mapping[str, str] | None = None) -> bool:
    """DEMO_STAY=1: the demo leaves its sidecar running."""
    env = os.environ if environ is None else environ  # noqa: TID251 - the one place
    return env.get("DEMO_STAY", "") not in ("", "0")


def _audit_path(env: Mapping[str, str]) -> Path | None:
    place = env.get("TOOLBOOTH_AUDIT")
    if not place:
        if env.get("TOOLBOOTH_AUDIT_KEY") or env.get("TOOLBOOTH_AUDIT_KEY_FILE"):
            raise SettingsError("TOOLBOOTH_AUDIT_KEY without TOOLBOOTH_AUDIT: there is no log.")
        return None
    if place.endswith("/"):
        raise SettingsError("TOOLBOOTH_AUDIT: expected the path of a file.")
    return Path(place)


def _state_path(env: Mapping[str, str]) -> Path | None:
    """The value is not repeated in errors: the URL of a store may hold a password."""
    scheme, _, place = (env.get("TOOLBOOTH_STATE") or "memory:").partition(":")
    if scheme == "memory" and not place:
        return None
    if scheme in ("redis", "rediss"):
        raise SettingsError(
            "TOOLBOOTH_STATE: this version has no Redis; use `memory:` or `sqlite:PATH`."
        )
    if scheme != "sqlite":
        raise SettingsError("TOOLBOOTH_STATE: expected `memory:` or `sqlite:PATH`.")
    if not place or place.startswith(":") or "?" in place or place.endswith("/"):
        raise SettingsError("TOOLBOOTH_STATE: `sqlite:` needs the path of a file.")
    if place.startswith("//") and not place.startswith("///"):
        raise SettingsError("TOOLBOOTH_STATE: write `sqlite:PATH`; it is a file, not a host.")
    return Path(place)


def _memory_soft_bytes(env: Mapping[str, str]) -> int | None:
    if not env.get("TOOLBOOTH_MEMORY_SOFT_MIB"):
        return None
    return int(_number(env, "TOOLBOOTH_MEMORY_SOFT_MIB", 0.0, highest=1e9) * 1024 * 1024)


def _ca_dir(env: Mapping[str, str]) -> Path | None:
    text = env.get("TOOLBOOTH_CA_DIR")
    return Path(text) if text else None


def _tracing(env: Mapping[str, str]) -> TracingSettings | None:
    """On where an endpoint is named, not at the SDK's default of localhost. The values are not
    repeated in errors: URLs and headers hold keys."""
    endpoint = env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not endpoint and (shared := env.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        endpoint = shared.removesuffix("/") + "/v1/traces"
    exporter = (env.get("OTEL_TRACES_EXPORTER") or "otlp").strip().lower()
    is_disabled = (env.get("OTEL_SDK_DISABLED") or "").strip().lower() == "true"
    if not endpoint or is_disabled or exporter == "none":
        return None
    if exporter != "otlp":
        raise SettingsError("OTEL_TRACES_EXPORTER: expected `otlp` or `none`.")
    if not _is_http_url(endpoint):
        raise SettingsError("OTEL_EXPORTER_OTLP_ENDPOINT: expected an http or https URL.")
    _check_otel(env)
    limit = _whole(env, "OTEL_BSP_MAX_QUEUE_SIZE", 2048, highest=1_000_000)
    batch = _whole(env, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(512, limit), highest=limit)
    delay_ms = _whole(env, "OTEL_BSP_SCHEDULE_DELAY", 5000, highest=3_600_000)
    return TracingSettings(endpoint, limit, batch, delay_ms / 1000)


def _is_http_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False


def _check_otel(env: Mapping[str, str]) -> None:
    """What the SDK would only warn of, and then do otherwise."""
    for name, known in _OTEL_CHOICES.items():
        value = env.get(name)
        if value and value.strip().lower() not in known:
            raise SettingsError(f"{name}: expected one of {', '.join(known)}.")
    propagators = env.get("OTEL_PROPAGATORS")
    if propagators and "tracecontext" not in [p.strip() for p in propagators.split(",")]:
        raise SettingsError("OTEL_PROPAGATORS: this version knows `tracecontext`, and needs it.")
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"):
        if any("=" not in pair for pair in env.get(name, "").split(",") if pair.strip()):
            raise SettingsError(f"{name}: expected NAME=VALUE, separated by commas.")
    _number(env, "OTEL_TRACES_SAMPLER_ARG", 1.0, highest=1.0)
    for name in ("OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"):
        _number(env, name, 10.0, highest=600.0)


def _whole(env: Mapping[str, str], name: str, default: int, *, highest: int) -> int:
    value = _number(env, name, float(default), highest=float(highest))
    if value < 1 or value != int(value):
        raise SettingsError(f"{name}: expected a whole number from 1 to {highest}.")
    return int(value)


def _listen(env: Mapping[str, str], name: str, default: str, *, unix: bool = True) -> ListenAddress:
    text = env.get(name) or default
    if unix and text.startswith("unix:"):
        if len(text) == len("unix:"):
            raise SettingsError(f"{name}: unix: needs a path.")
        return ListenAddress("unix", path=text.removeprefix("unix:"))
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise SettingsError(f"{name}: expected HOST:PORT, got {text!r}.")
    return ListenAddress("tcp", host=host, port=int(port))


def _secret(env: Mapping[str, str], name: str) -> str | None:
    """The variable, or the first line of the file that NAME_FILE names."""
    value = env.get(name)
    path = env.get(f"{name}_FILE")
    if value and path:
        raise SettingsError(f"Set {name} or {name}_FILE, not both.")
    if path:
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{name}_FILE cannot be read: {error.__class__.__name__}."
            ) from None
        value = lines[0].strip() if lines else ""
        if not value:
            raise SettingsError(f"{name}_FILE is empty.")
    return value or None


def _number(env: Mapping[str, str], name: str, default: float, *, highest: float) -> float:
    text = env.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= highest:
        raise SettingsError(f"{name}: expected a number from 0 to {highest:g}, got {text!r}.")
    return value
