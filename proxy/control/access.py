"""Who may use the control port.

The port that can switch off a fleet is worth attacking from where its operator sits: a web page
in the operator's browser can reach 127.0.0.1 as well. So each rule here answers an attack, and
they are judged in reading order, before the path is even looked up.

Pure: headers in, verdict out. It never sees a body and never logs; the secrets stay in here.
"""

import hmac
from enum import StrEnum
from ipaddress import ip_address
from typing import NamedTuple, Protocol

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from proxy.control.problem import Problem
from proxy.telemetry.visible import visible_line

Headers = CIMultiDictProxy[str] | CIMultiDict[str]

ACTOR_LIMIT_CHARS = 64
READING = frozenset(("GET", "HEAD"))
JSON_TYPE = "application/json"
YAML_TYPES = frozenset(("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"))

_LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "::1"))
_CHALLENGE = (("WWW-Authenticate", 'Bearer realm="toolbooth control"'),)


class Role(StrEnum):
    """`local`: no token is configured, so whoever reaches the port is the operator. `process`:
    the sidecar itself, on a signal or because its policy file changed; no request has this one."""

    ADMIN = "admin"
    VIEWER = "viewer"
    LOCAL = "local"
    PROCESS = "process"


class Visitor(NamedTuple):
    """Who was let in. `actor` is a name for the audit trail: what `Toolbooth-Actor` says, which
    nobody vouches for, else the role. `role` is what was proven."""

    role: Role
    actor: str


NOBODY = "unauthenticated"
VISITOR = web.RequestKey("visitor", Visitor)


class BoundAt(Protocol):
    """The part of a listening address that matters here: `kind` is `tcp` or `unix`."""

    @property
    def kind(self) -> str:
        """`tcp` or `unix`."""

    @property
    def host(self) -> str:
        """Name or address, without brackets; empty for `unix`."""


class Access:
    """The rules of the control listener bound at `bound_at`.

    Tokens are None where not configured; with neither, everyone is let in as `local`, which
    `settings` permits on loopback only. With only a viewer token nobody may change anything.
    `wrong_tokens` counts the attempts that failed.
    """

    def __init__(
        self, admin_token: str | None, viewer_token: str | None, bound_at: BoundAt
    ) -> None:
        if admin_token == "" or viewer_token == "":
            raise ValueError("an empty token protects nothing")
        if admin_token is not None and admin_token == viewer_token:
            raise ValueError("the viewer token must differ from the admin token")
        self._hosts = None if bound_at.kind == "unix" else hosts_of(bound_at.host)
        self._admin_token = _token_bytes(admin_token)
        self._viewer_token = _token_bytes(viewer_token)
        self.wrong_tokens = 0

    def judge(self, target: str, headers: Headers) -> Visitor | Problem:
        """The visitor, or the first rule in the way.

        1. The target is a path: somebody who set HTTP_PROXY to this port is told so.
        2. Host is a name of ours. Against DNS rebinding: a page of evil.example whose name turns
           into 127.0.0.1 is of our origin to the browser, but still says evil.example here.
        3. Origin, which browsers send, is our own. Against pages of other sites.
        4. A body is JSON or YAML. Against cross-site forms, which need no permission of the
           browser but cannot be of these types.
        5. The token, where one is configured. What it permits: `judge_role`.
        """
        return (
            _judge_target(target)
            or self._judge_host(headers)
            or _judge_origin(headers)
            or _judge_media_type(headers)
            or self._judge_token(headers)
        )

    def _judge_host(self, headers: Headers) -> Problem | None:
        values = headers.getall("Host", [])
        if len(values) != 1:
            return Problem(400, "bad_request", "Exactly one Host header is needed.")
        if self._hosts is None or _host_name(values[0]) in self._hosts:
            return None
        return Problem(
            403,
            "host_not_ours",
            "This Host is not an address the control port listens on; use the one it was given.",
        )

    def _judge_token(self, headers: Headers) -> Visitor | Problem:
        role = self._role_of(headers)
        if isinstance(role, Problem):
            return role
        return Visitor(role, _actor(headers) or role.value)

    def _role_of(self, headers: Headers) -> Role | Problem:
        if self._admin_token is None and self._viewer_token is None:
            return Role.LOCAL
        values = headers.getall("Authorization", [])
        scheme, _, presented_text = (values[0] if len(values) == 1 else "").partition(" ")
        if scheme.lower() != "bearer":
            detail = "This control port needs an `Authorization: Bearer TOKEN` header."
            return Problem(401, "token_required", detail, _CHALLENGE)
        presented = presented_text.strip().encode("utf-8", "surrogateescape")
        # Both comparisons, always, each in constant time: nothing is learnt from how long it took.
        is_admin = hmac.compare_digest(presented, self._admin_token or b"")
        is_viewer = hmac.compare_digest(presented, self._viewer_token or b"")
        if presented and is_admin:
            return Role.ADMIN
        if presented and is_viewer:
            return Role.VIEWER
        self.wrong_tokens += 1
        return Problem(
            401, "wrong_token", "This is not the token of this control port.", _CHALLENGE
        )


def judge_role(visitor: Visitor, method: str) -> Problem | None:
    """A viewer only reads: its token hangs on dashboards and must not switch anything."""
    if visitor.role is not Role.VIEWER or method in READING:
        return None
    return Problem(403, "read_only", "The viewer token only reads; this needs the admin token.")


def hosts_of(listen_host: str) -> frozenset[str] | None:
    """The names under which a listener bound to `listen_host` may be addressed.

    None, any name, for a wildcard address: it has as many names as the network gives it, and off
    loopback `settings` demands the token that no browser sends by itself. (A Unix socket takes
    any name too, as no browser reaches it.)
    """
    name = _host_name(f"[{listen_host}]" if ":" in listen_host else listen_host)
    try:
        address = ip_address(name)
    except ValueError:
        return _LOOPBACK_NAMES | {name}
    return None if address.is_unspecified else _LOOPBACK_NAMES | {str(address)}


def _host_name(authority: str) -> str:
    """The host of a Host header, lower case, without port, brackets and final dot. The port is
    not compared: port forwarding changes it, and rebinding does not need to."""
    if authority.startswith("["):
        name, bracket, _ = authority[1:].partition("]")
        try:
            return str(ip_address(name)) if bracket else authority
        except ValueError:
            return authority
    return authority.partition(":")[0].lower().removesuffix(".")


def _judge_target(target: str) -> Problem | None:
    if target.startswith("/"):
        return None
    return Problem(
        400,
        "not_a_proxy",
        "This is the control port; calls of tools go through the proxy port.",
    )


def _judge_origin(headers: Headers) -> Problem | None:
    origins = headers.getall("Origin", [])
    if not origins:
        return None
    host = headers["Host"].lower()
    if len(origins) == 1 and origins[0].lower() in (f"http://{host}", f"https://{host}"):
        return None
    return Problem(403, "origin_not_ours", "Pages of other origins may not use the control port.")


def _judge_media_type(headers: Headers) -> Problem | None:
    if headers.get("Content-Length", "0") == "0" and "Transfer-Encoding" not in headers:
        return None
    media_types = headers.getall("Content-Type", [])
    if len(media_types) == 1:
        essence = media_types[0].partition(";")[0].strip().lower()
        if essence == JSON_TYPE or essence in YAML_TYPES:
            return None
    return Problem(
        415,
        "unsupported_media_type",
        "Send the body as `Content-Type: application/json` (a policy as application/yaml).",
    )


def _actor(headers: Headers) -> str:
    """Who the visitor says it is: visible characters, on one line, cut."""
    text = " ".join(visible_line(headers.get("Toolbooth-Actor", "")).split())
    return text[:ACTOR_LIMIT_CHARS]


def _token_bytes(token: str | None) -> bytes | None:
    return None if token is None else token.encode("utf-8", "surrogateescape")
