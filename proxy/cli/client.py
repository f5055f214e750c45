"""Talks to a running sidecar over its control port, TCP or Unix socket.

Only the standard library: this must start quickly and work when everything else is broken. It
never goes through a proxy, and it sends the token to the address the operator named, nowhere else.
"""

import contextlib
import http.client
import json
import os
import pwd
import socket
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

from proxy.cli.exit_codes import CommandError
from proxy.settings import ListenAddress
from proxy.telemetry.visible import visible_line

View = dict[str, object]

_TIMEOUT_S = 10.0
_SILENCE_S = 45.0  # three heartbeats of an event stream
_LONGEST_LINE = 1024 * 1024
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - listened on, never dialled


class RefusedError(CommandError):
    """The sidecar refused; `code` is its word for why, `document` all it said."""

    def __init__(self, detail: str, code: str, document: View) -> None:
        super().__init__(visible_line(detail))
        self.code = code
        self.document = document


class Event(NamedTuple):
    """One event of the stream: `call`, `switch`, `policy` or `dropped`, and what it says."""

    name: str
    data: View


class ControlClient:
    """Requests to one control port. Every failure is a `CommandError` with a sentence."""

    def __init__(self, address: ListenAddress, token: str | None) -> None:
        self._address = address
        self._token = token

    def get(self, path: str, **query: str | int | None) -> View:
        """A JSON object from `path`; parameters that are None are left out."""
        return self._ask("GET", _target(path, query))

    def run(self, run_id: str) -> View:
        """One run."""
        return self._ask("GET", f"/v1/runs/{quote(run_id, safe='')}")

    def limit_run(self, run_id: str, changes: View) -> View:
        """Set limits of one run; the run as it now is."""
        return self._ask("PATCH", f"/v1/runs/{quote(run_id, safe='')}", changes)

    def forget_run(self, run_id: str) -> View:
        """Let a run begin anew; the run as it was."""
        return self._ask("DELETE", f"/v1/runs/{quote(run_id, safe='')}")

    def put_policy(self, source: bytes, version: str, *, dry_run: bool) -> View:
        """Put a policy in force in place of `version`, or say what it would change."""
        target = _target("/v1/policy", {"dry_run": 1 if dry_run else None})
        headers = {"Content-Type": "application/yaml", "If-Match": f'"{version}"'}
        return self._answer(*self._send("PUT", target, source, _TIMEOUT_S, headers))

    def engage(self, key: str, reason: str, ttl_s: int | None, *, force: bool = False) -> View:
        """Switch `key` off; the switch as it now is."""
        order: View = {"reason": reason}
        if ttl_s is not None:
            order["ttl_seconds"] = ttl_s
        path = f"/v1/switches/{quote(key, safe='')}"
        return self._ask("PUT", _target(path, {"force": 1 if force else None}), order)

    def release(self, key: str) -> View:
        """Switch `key` on again; the switch as it was."""
        return self._ask("DELETE", f"/v1/switches/{quote(key, safe='')}")

    @contextlib.contextmanager
    def events(self) -> Iterator[Iterator[Event]]:
        """Events from entering the context until the sidecar ends the stream, or the context.

        Connected on entering, not at the first `next`, so that what is asked for afterwards leaves
        no gap; and closed by the context, since the iterator's end never comes if nobody begins it.
        """
        connection, response = self._send("GET", "/v1/events", None, _SILENCE_S, {})
        with contextlib.closing(connection), contextlib.closing(response):
            if response.status != 200:
                raise self._problem(response)
            yield self._read_events(response)

    def _ask(self, method: str, target: str, body: View | None = None) -> View:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        return self._answer(*self._send(method, target, content, _TIMEOUT_S, headers))

    def _answer(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> View:
        with contextlib.closing(connection):
            if response.status != 200:
                raise self._problem(response)
            return self._object(self._content(response))

    def _send(
        self,
        method: str,
        target: str,
        content: bytes | None,
        timeout_s: float,
        more_headers: Mapping[str, str],
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = open_connection(self._address, timeout_s)
        headers: dict[str, str | bytes] = {"Toolbooth-Actor": _actor(), **more_headers}
        if self._token is not None:
            headers["Authorization"] = b"Bearer " + self._token.encode("utf-8", "surrogateescape")
        try:
            connection.request(method, target, content, headers)
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from None
        except ValueError:
            connection.close()
            raise CommandError("The control token holds what no HTTP header can carry.") from None

    def _content(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None

    def _object(self, content: bytes) -> View:
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self._stranger()
        return document

    def _problem(self, response: http.client.HTTPResponse) -> CommandError:
        if response.getheader("Content-Type", "") != "application/problem+json":
            return self._stranger()
        problem = self._object(self._content(response))
        detail, code = str(problem.get("detail", "")), str(problem.get("code", ""))
        if response.status == 401:
            given = "was refused" if self._token is not None else "is needed"
            detail = (
                f"A control token {given} by {self._address}; set TOOLBOOTH_CONTROL_TOKEN or "
                "TOOLBOOTH_CONTROL_TOKEN_FILE, or use --token-file."
            )
        return RefusedError(detail, code, problem)

    def _unreachable(self, error: Exception) -> CommandError:
        if isinstance(error, TimeoutError):
            return CommandError(f"The sidecar at {self._address} does not answer in time.")
        if isinstance(error, PermissionError):
            return CommandError(f"No permission to connect to {self._address}.")
        if isinstance(error, http.client.HTTPException) and not isinstance(error, ConnectionError):
            return self._stranger()
        return CommandError(
            f"No sidecar answers at {self._address}; is it running? (toolbooth run)"
        )

    def _stranger(self) -> CommandError:
        return CommandError(
            f"What answers at {self._address} is not the control port of a sidecar; "
            "check TOOLBOOTH_CONTROL_LISTEN or --control."
        )

    def _read_events(self, response: http.client.HTTPResponse) -> Iterator[Event]:
        name, data = "", b""
        while True:
            try:
                line = response.readline(_LONGEST_LINE)
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from None
            if not line:
                return
            field, _, value = line.rstrip(b"\r\n").partition(b": ")
            if field == b"event":
                name = value.decode("utf-8", "replace")
            elif field == b"data":
                data = value
            elif not line.strip() and data:
                yield Event(name, self._object(data))
                name, data = "", b""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket; `Host` says localhost."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def open_connection(address: ListenAddress, timeout_s: float) -> http.client.HTTPConnection:
    """A connection, not yet made, to a listener of a sidecar on this host."""
    if address.kind == "unix":
        return _UnixConnection(address.path, timeout_s)
    host = _ANY_ADDRESS.get(address.host, address.host)
    return http.client.HTTPConnection(host, address.port, timeout=timeout_s)


def _target(path: str, query: Mapping[str, str | int | None]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def _actor() -> str:
    """The user's name, for the audit trail."""
    uid = os.getuid()
    try:
        return quote(pwd.getpwuid(uid).pw_name, safe="@.+-_ ")
    except KeyError:  # containers run as users that nobody named
        return f"uid {uid}"
