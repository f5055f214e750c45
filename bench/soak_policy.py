"""The policy of a soak: a tool for each way a call can go."""

import json

RUN_CALLS = 500  # the budget of a run
_RETENTION_S = 20  # runs come and go, so that their table has a size
STALL_MS = 400

# A tool of the HTTP upstream: its paths, and what else its catalog entry says.
_PATHS = {
    "steady": ["/ok/**", "/large/**", "/post/**", "/events/**", "/socket/**"],
    "killed": ["/ok-killed/**"],
    "reloaded": ["/ok-reloaded/**"],
    "slow": ["/slow/**"],
    "faults.reset": ["/reset/**"],
    "faults.stall": ["/stall/**"],
    "faults.cut": ["/cut/**"],
    "faults.busy": ["/busy/**"],
    "secret": ["/secret/**"],
}


def soak_policy(web: int, echo: int, closed: int, *, reloaded: bool) -> str:
    """`web`, `echo` and `closed` are ports of 127.0.0.1; behind the last there is nothing.
    `reloaded`: is the tool of that name allowed?"""
    catalog: dict[str, object] = {
        name: {"match": [_at(web, paths)], "allow_addresses": ["127.0.0.0/8"]}
        for name, paths in _PATHS.items()
    }
    catalog["steady"]["upstream"] = f"http://127.0.0.1:{web}"  # type: ignore[index]
    catalog["faults.refused"] = {"match": [_at(closed)], "allow_addresses": ["127.0.0.0/8"]}
    catalog["echo"] = {
        "match": [_at(echo)],
        "allow_addresses": ["127.0.0.0/8"],
        "tunnel": {"raw": True},
    }
    catalog["docs"] = {
        "match": [_at(web, ["/mcp"])],
        "kind": "mcp",
        "allow_addresses": ["127.0.0.0/8"],
    }
    allowed = [name for name in catalog if name not in ("secret", "reloaded", "docs")]
    allowed += ["docs.search"] + ["reloaded"] * reloaded
    document = {
        "runtime": {"env": {"AGENT_MAX_TOOL_CALLS": RUN_CALLS, "AGENT_MAX_STEPS": RUN_CALLS}},
        "tools": {
            "allowlist": allowed,
            "timeouts_ms": {"default": 20_000, "faults.stall": STALL_MS},
            "retries": {"max": 1, "backoff_ms": [5, 10]},
            "catalog": catalog,
        },
        "budgets": {"run_retention_seconds": _RETENTION_S},
        "observability": {"sampled_tool_results": True, "result_sample_rate": 0.01},
    }
    return json.dumps(document, indent=1)  # JSON is YAML


def _at(port: int, paths: list[str] | None = None) -> dict[str, object]:
    place: dict[str, object] = {"host": "127.0.0.1", "ports": [port]}
    return place | ({"paths": paths} if paths else {})
