"""What the configurable subjects are told: the same job, as far as each can do it by itself.

Every limit is there to be checked and too high to be reached.
"""

from dataclasses import dataclass
from pathlib import Path

_PLENTY = 10**9


@dataclass(frozen=True, slots=True)
class Setting:
    """Where one subject listens and what lies behind it. `spare_ports` are free for its use."""

    scratch: Path
    port: int
    spare_ports: tuple[int, int]
    upstream_port: int
    upstream_ca: Path | None = None  # the upstream speaks TLS, and this vouches for it
    is_opaque: bool = False  # for tunnels that nobody opens
    tools: int = 1  # entries of the catalogue, the one that is called the last

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.upstream_port}"


# What is shown of calls: nothing beyond the record, the defaults, and all there is.
OBSERVED = {
    "off": {"sampled_tool_results": False, "redact": {"pii": False}},
    "defaults": {
        "sampled_tool_results": True,
        "result_sample_rate": 0.01,
        "redact": {"pii": True},
    },
    "everything": {
        "sampled_tool_results": True,
        "result_sample_rate": 1.0,
        "max_result_bytes": 65_536,
        "slow_ms": 1000,
        "redact": {"pii": True},
    },
}


def toolbooth_policy(setting: Setting, observed: str = "defaults") -> dict[str, object]:
    """Everything a call can be asked is asked; `observed`: see `OBSERVED`."""
    run_limits = {
        "AGENT_MAX_STEPS": _PLENTY,
        "AGENT_MAX_TOOL_CALLS": _PLENTY,
        "AGENT_MAX_SECONDS": 86_400,
    }
    return {
        "runtime": {"env": run_limits},
        "tools": {
            "allowlist": ["search.read"],
            "timeouts_ms": {"default": 8000, "connect": 2000, "idle": 15_000},
            "retries": {"max": 2, "backoff_ms": [200, 800], "budget_percent": 20},
            "rate_limits": {"default": {"requests": _PLENTY, "per_seconds": 1, "scope": "run"}},
            "concurrency": {"default": 2048},
            "circuit_breaker": {"error_rate": 0.5, "min_requests": 20, "open_seconds": 10},
            "catalog": _other_entries(setting.tools) | {"search.read": _catalog_entry(setting)},
        },
        "budgets": {
            "max_spend_usd": 1_000_000,
            "max_tokens": 10**12,
            "max_bytes": 10**14,
            "per_agent": {"max_calls_per_hour": _PLENTY, "max_spend_usd_per_day": 1_000_000},
            "loop_limit": 10**6,  # the most the policy takes; a run makes far fewer calls
            "warn_at": [0.8, 0.95],
        },
        "observability": OBSERVED[observed],
    }


def _catalog_entry(setting: Setting) -> dict[str, object]:
    destination = {
        "host": "127.0.0.1",
        "ports": [setting.upstream_port],
        "methods": ["GET", "POST"],
        "paths": ["/v1/search", "/v1/search/**"],
    }
    if setting.is_opaque:  # a tunnel shows neither method nor path
        del destination["methods"], destination["paths"]
    entry: dict[str, object] = {
        "match": [destination],
        "cost_usd": 0.001,
        "allow_addresses": ["127.0.0.0/8"],
    }
    if setting.upstream_ca is not None:
        entry |= {"intercept_tls": True, "trust_file": str(setting.upstream_ca)}
    return entry


def _other_entries(tools: int) -> dict[str, object]:
    """All but one, on hosts of their own."""
    return {
        f"other.t{number}": {"match": [{"host": f"t{number}.example", "ports": [443]}]}
        for number in range(tools - 1)
    }


def _typed(name: str, type_path: str, **values: object) -> dict[str, object]:
    type_url = f"type.googleapis.com/envoy.extensions.{type_path}"
    return {"name": name, "typed_config": {"@type": type_url, **values}}


def envoy_config(setting: Setting) -> dict[str, object]:
    """What of the same job Envoy does out of the box: one allowed destination, a token bucket and
    a line of JSON for each call."""
    dns_cache = {"dns_cache_config": {"name": "upstreams", "dns_lookup_family": "V4_ONLY"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "upstreams", "timeout": "8s"}}
    connect = {"upgrade_type": "CONNECT", "connect_config": {}}
    tunnel = {
        "match": {"connect_matcher": {}},
        "route": {"cluster": "upstreams", "timeout": "0s", "upgrade_configs": [connect]},
    }
    manager = _typed(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="forward",
        upgrade_configs=[{"upgrade_type": "CONNECT"}],
        access_log=[_access_log(setting.scratch / "envoy.jsonl")],
        http_filters=_envoy_filters(setting.authority, dns_cache),
        route_config={
            "name": "all",
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [tunnel, route]}],
        },
    )
    listener = {
        "name": "proxy",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": setting.port}},
        "filter_chains": [{"filters": [manager]}],
    }
    cluster = {
        "name": "upstreams",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "2s",
        "cluster_type": _typed(
            "envoy.clusters.dynamic_forward_proxy",
            "clusters.dynamic_forward_proxy.v3.ClusterConfig",
            **dns_cache,
        ),
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _envoy_filters(authority: str, dns_cache: dict[str, object]) -> list[dict[str, object]]:
    """In the order in which a request meets them."""
    exactly = {"name": ":authority", "string_match": {"exact": authority}}
    allowed = {"permissions": [{"header": exactly}], "principals": [{"any": True}]}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return [
        _typed(
            "envoy.filters.http.rbac",
            "filters.http.rbac.v3.RBAC",
            rules={"action": "ALLOW", "policies": {"upstream": allowed}},
        ),
        _typed(
            "envoy.filters.http.local_ratelimit",
            "filters.http.local_ratelimit.v3.LocalRateLimit",
            stat_prefix="calls",
            token_bucket={
                "max_tokens": _PLENTY,
                "tokens_per_fill": _PLENTY,
                "fill_interval": "1s",
            },
            filter_enabled={"runtime_key": "limit_enabled", **always},
            filter_enforced={"runtime_key": "limit_enforced", **always},
        ),
        _typed(
            "envoy.filters.http.dynamic_forward_proxy",
            "filters.http.dynamic_forward_proxy.v3.FilterConfig",
            **dns_cache,
        ),
        _typed("envoy.filters.http.router", "filters.http.router.v3.Router"),
    ]


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
