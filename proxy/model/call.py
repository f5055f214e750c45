"""What is asked, by whom, and how it reached us.

These are values: made once by a listener, never changed by the walk.
"""

from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

# The name the sidecar itself answers for, and every name below it. RFC 6761 section 6.4: `.invalid`
# never resolves, so only a client that really goes through the sidecar gets an answer from it.
PROBE_HOST: Final = "toolbooth.invalid"


def is_probe_host(host: str) -> bool:
    """Is this canonical host the sidecar's own?"""
    return host.endswith(PROBE_HOST) and (
        len(host) == len(PROBE_HOST) or host[-len(PROBE_HOST) - 1] == "."
    )


class Mode(StrEnum):
    """The way in (`mode` of the call record)."""

    ABSOLUTE = "absolute"  # GET http://host/path, what HTTP_PROXY makes clients send
    CONNECT = "connect"  # CONNECT host:port, a tunnel whose content is not ours to see
    TUNNEL_HTTP = "tunnel_http"  # plain HTTP found inside a tunnel: a call of its own
    INTERCEPTED = "intercepted"  # read inside a tunnel whose TLS ends here: a call of its own
    GATEWAY = "gateway"  # /tools/{tool}/..., reverse proxying to the tool's `upstream`


class Effect(StrEnum):
    """Does the call change the world? `writes_disabled` refuses the ones that may."""

    READ = "read"
    WRITE = "write"


class Kind(StrEnum):
    """What the tool is; a call of a model is a step of the run, the rest are tool calls."""

    TOOL = "tool"
    MODEL = "model"
    MCP = "mcp"


class Origin(NamedTuple):
    """Scheme, canonical host and port (RFC 6454): what a connection is opened to.

    `host` is lower case, without trailing dot or brackets: a name in A-label form, or an IP
    address in its canonical spelling.
    """

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """`host[:port]` as a Host field carries it: default port left out, IPv6 in brackets."""
        return _authority(*self)


@lru_cache(maxsize=1024)
def _authority(scheme: str, host: str, port: int) -> str:
    host = f"[{host}]" if ":" in host else host
    return host if port == (443 if scheme == "https" else 80) else f"{host}:{port}"


class Target(NamedTuple):
    """Where a request goes: an origin, and the raw request target the origin will read.

    `path` is the path and query exactly as received (RFC 9110 section 7.7: a proxy must not
    rewrite them); `*` for a server-wide OPTIONS; empty for a tunnel.
    """

    origin: Origin
    path: str


class Caller(NamedTuple):
    """Who asks. Budgets, switches and limits are keyed by these.

    `run_id` is what the agent said, or `shared:ADDRESS` where it said nothing; the prefix is
    reserved, so an agent cannot name itself into somebody else's shared budget. `agent_id` falls
    back to the same, so that leaving the header out does not step around per-agent limits.
    """

    run_id: str
    agent_id: str
    run_given: bool


class ToolCall:
    """One question put to the booth. `started_s` is monotonic. A plain class: compiled, making one
    costs a tenth of what a NamedTuple does, and nobody compares two."""

    __slots__ = ("call_id", "caller", "method", "mode", "started_s", "target")

    def __init__(
        self, call_id: str, mode: Mode, method: str, target: Target, caller: Caller,
        started_s: float,
    ) -> None:  # fmt: skip
        self.call_id = call_id
        self.mode = mode
        self.method = method
        self.target = target
        self.caller = caller
        self.started_s = started_s
