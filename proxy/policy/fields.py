"""The types of single values in a policy document: what each may be, in one place.

Bounds are generous, and there so that a slip (seconds for milliseconds, a hundred for a ratio) or
an absurd number is told to the author instead of becoming a rule. Messages never repeat the value.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import re2
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from proxy.model.call import Origin
from proxy.policy.host_pattern import check_host_pattern
from proxy.policy.path_glob import MAX_GLOB_CHARS, check_glob, is_ambiguous_path

_DAY_MS = 86_400_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
_LISTED_NAME = re.compile(r"\*|[A-Za-z0-9_][A-Za-z0-9_/-]*(?:\.[A-Za-z0-9_/-]+)*(?:\.\*)?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_NAME_CHARS = 128
MCP_TOOL_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}")  # of the MCP specification, and `/`
_MAX_PATTERN_CHARS = 1000

# Words that stand beside tool names in the same mapping; a tool of that name could not be told.
RESERVED_NAMES = frozenset({"default", "connect", "idle", "max", "backoff_ms", "budget_percent"})
# Fields that frame or authenticate a message; consumed as a run header they would go missing.
_UNFIT_IDENTITY_HEADERS = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "expect",
        "host",
        "proxy-connection",
    }
    | {"proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)


def _tool_name(name: str) -> str:
    if len(name) > _MAX_NAME_CHARS or not _NAME.fullmatch(name):
        raise ValueError(
            f"is not a tool name: up to {_MAX_NAME_CHARS} letters, digits, '_' and '-', in parts "
            "divided by single dots"
        )
    if name in RESERVED_NAMES:
        raise ValueError("is a reserved word, so no tool can be called that")
    return name


def _listed_name(name: str) -> str:
    if len(name) > _MAX_NAME_CHARS or not _LISTED_NAME.fullmatch(name):
        raise ValueError("must be a tool name, 'PREFIX.*' or '*'")
    return name


def _header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("is not a header name")
    return name.lower()


def _identity_header(name: str) -> str:
    lowered = _header_name(name)
    if lowered in _UNFIT_IDENTITY_HEADERS:
        raise ValueError("is a header that HTTP itself needs; choose another")
    return lowered


def _method(method: str) -> str:
    if not _TOKEN.fullmatch(method):
        raise ValueError("is not an HTTP method")
    if method != method.upper():
        raise ValueError("methods are case-sensitive; write it in capitals")
    if method == "CONNECT":
        raise ValueError("tunnels are not restricted by method; leave CONNECT out")
    return method


def _port(value: Any) -> Any:
    if value == "*" or (type(value) is int and 1 <= value <= 65535):
        return value
    raise ValueError("must be a port from 1 to 65535, or '*' for any")


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        pass
    try:
        hint = f"; did you mean {ip_network(text, strict=False)}?"
    except ValueError:
        hint = ""
    raise ValueError(f"must be a CIDR such as 10.1.0.0/16, host bits zero{hint}")


def _pattern(text: str) -> str:
    if len(text) > _MAX_PATTERN_CHARS:
        raise ValueError(f"may have at most {_MAX_PATTERN_CHARS} characters")
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(text, options)
    except re2.error:
        raise ValueError("is not a regular expression RE2 can read (no look-around)") from None
    if compiled.fullmatch("") is not None:
        raise ValueError("matches the empty text, so it would redact everywhere")
    return text


def _variable(name: str) -> str:
    if not _VARIABLE.fullmatch(name):
        raise ValueError("must be the name of an environment variable, never the secret itself")
    return name


def _secret_format(text: str) -> str:
    if text.count("{secret}") != 1 or not text.isascii() or not text.isprintable():
        raise ValueError("must be one line of ASCII with '{secret}' in it once")
    return text


def _secret_placeholder(text: str) -> str:
    """Long and odd enough that it stands nowhere by chance."""
    if len(text) < 8 or len(text) > 200 or not re.fullmatch(r"[A-Za-z0-9_.~-]+", text):
        raise ValueError("must be 8 to 200 letters, digits and _ . ~ -")
    return text


def _query_name(name: str) -> str:
    """As it stands in the query: only what needs no escape is the same for every reader."""
    if len(name) > 64 or not re.fullmatch(r"[A-Za-z0-9_.~-]+", name):
        raise ValueError("must be 1 to 64 letters, digits and _ . ~ -")
    return name


def _credential_header(name: str) -> str:
    lowered = _header_name(name)
    if lowered in _UNFIT_IDENTITY_HEADERS - {"authorization", "cookie"}:
        raise ValueError("is a header that HTTP itself needs; choose another")
    return lowered


def _mcp_tool_name(name: str) -> str:
    if not MCP_TOOL_NAME.fullmatch(name):
        raise ValueError("must be 1 to 128 letters, digits and _ - . /")
    return name


class Upstream(NamedTuple):
    """`upstream`, taken apart. `path` has no trailing slash."""

    origin: Origin
    path: str


def split_upstream(url: str) -> Upstream:
    """An `http` or `https` URL of host, port and path alone; raises `ValueError` otherwise."""
    problem = "must be http(s)://host[:port][/path], without user, query and fragment"
    if not url.isascii() or not url.isprintable() or "\\" in url or " " in url:
        raise ValueError(problem)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # whose text may repeat the URL
        raise ValueError(problem) from None
    if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc:
        raise ValueError(problem)
    if "?" in url or "#" in url or parts.netloc.endswith(":") or port == 0:
        raise ValueError(problem)
    host = check_host_pattern(host)
    if "*" in host:
        raise ValueError("must name one host")
    path = parts.path.removesuffix("/")
    if is_ambiguous_path(path):
        raise ValueError("has a path that servers may read in two ways; write it plainly")
    default_port = 443 if parts.scheme == "https" else 80
    return Upstream(Origin(parts.scheme, host, port or default_port), path)


def _upstream(url: str) -> str:
    split_upstream(url)
    return url


def _from_environment(value: Any) -> Any:
    """Environment variables are text, and manifests quote them; digits are read as a number."""
    if isinstance(value, str) and len(value) <= 16:
        if re.fullmatch(r"[0-9]+", value):
            return int(value)
        if re.fullmatch(r"[0-9]+\.[0-9]+", value):
            return float(value)
    return value


def network_of(text: str) -> IPv4Network | IPv6Network:
    """A checked CIDR as a network."""
    return ip_network(text)


ToolName = Annotated[str, AfterValidator(_tool_name)]
ListedName = Annotated[str, AfterValidator(_listed_name)]
HeaderName = Annotated[str, AfterValidator(_header_name)]
IdentityHeader = Annotated[str, AfterValidator(_identity_header)]
Method = Annotated[str, AfterValidator(_method)]
HostPattern = Annotated[str, AfterValidator(check_host_pattern)]
PathGlob = Annotated[str, AfterValidator(check_glob), Field(max_length=MAX_GLOB_CHARS)]
Port = Annotated[
    Any,
    BeforeValidator(_port),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"const": "*"}]}
    ),
]
Cidr = Annotated[str, AfterValidator(_network)]
RedactPattern = Annotated[str, AfterValidator(_pattern)]
VariableName = Annotated[str, AfterValidator(_variable)]
SecretFormat = Annotated[str, AfterValidator(_secret_format)]
SecretPlaceholder = Annotated[str, AfterValidator(_secret_placeholder)]
QueryName = Annotated[str, AfterValidator(_query_name)]
CredentialHeader = Annotated[str, AfterValidator(_credential_header)]
McpToolName = Annotated[str, AfterValidator(_mcp_tool_name)]
UpstreamUrl = Annotated[str, AfterValidator(_upstream)]

Millis = Annotated[int, Field(ge=1, le=_DAY_MS)]
MillisOrNone = Annotated[int, Field(ge=0, le=_DAY_MS)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]
Count = Annotated[int, Field(ge=0, le=10**15)]
PositiveCount = Annotated[int, Field(ge=1, le=10**9)]
Usd = Annotated[float, Field(ge=0, le=10**9)]
Ratio = Annotated[float, Field(ge=0, le=1)]
PositiveRatio = Annotated[float, Field(gt=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
EnvCount = Annotated[Count, BeforeValidator(_from_environment)]
EnvSeconds = Annotated[Seconds, BeforeValidator(_from_environment)]
Scope = Literal["tool", "run", "agent"]
