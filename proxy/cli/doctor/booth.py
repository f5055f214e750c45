"""Asks a sidecar itself, through the probe host: is it one, and whom has it seen?

A plain request to the address a proxy variable names, with what its URL holds as credentials, the
way any client would send it. No other proxy is ever used.
"""

import contextlib
import http.client
import json
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from proxy.cli.doctor.variables import Endpoint
from proxy.cli.doctor.verdicts import Check, Group, Verdict
from proxy.model.call import PROBE_HOST
from proxy.telemetry.visible import visible_line

_TIMEOUT_S = 5.0  # for each answer as a whole
_LONGEST_ANSWER = 64 * 1024
_LONGEST_TEXT = 128  # characters of a value: as many as a run id may have


class Booth(NamedTuple):
    """A sidecar that answers. `run_given`: our own credentials named a run. `intercepts`: its
    policy opens TLS, so clients have to trust its CA."""

    endpoint: Endpoint
    version: str
    run_id: str
    run_given: bool
    intercepts: bool


class Seen(NamedTuple):
    """What arrived with one nonce: requests in the clear, a tunnel for TLS, a request inside one;
    and for each whether it named its run."""

    http: bool = False
    tunnel: bool = False
    https: bool = False
    run_given: Mapping[str, bool] = {}
    run_id: str = ""
    user_agent: str = ""


class NoBoothError(Exception):
    """`str()` says what is there instead; `verdict` what that means for clients."""

    def __init__(self, sentence: str, verdict: Verdict = Verdict.BROKEN) -> None:
        super().__init__(sentence)
        self.verdict = verdict


def meet(endpoint: Endpoint, nonce: str) -> Booth:
    """Who is there? Raises `NoBoothError`."""
    answer = _ask(endpoint, f"/probe/{nonce}", "toolbooth")
    return Booth(
        endpoint,
        _shown(answer["toolbooth"]),
        _shown(answer.get("run_id", "")),
        answer.get("run_given") is True,
        answer.get("intercepts") is True,
    )


def ask_seen(endpoint: Endpoint, nonce: str) -> Seen:
    """What has arrived with this nonce? Raises `NoBoothError`."""
    answer = _ask(endpoint, f"/seen/{nonce}", "seen")
    seen, given = answer["seen"], answer.get("run_given")
    if not isinstance(seen, dict):
        raise NoBoothError(f"What answers at {endpoint} is of another version.")
    return Seen(
        seen.get("http") is True,
        seen.get("tunnel") is True,
        seen.get("https") is True,
        run_given={k: v is True for k, v in given.items()} if isinstance(given, dict) else {},
        run_id=_shown(answer.get("run_id", "")),
        user_agent=_shown(answer.get("user_agent", "")),
    )


def check_booth(endpoint: Endpoint, names: list[str], nonce: str) -> tuple[Check, Booth | None]:
    """One endpoint that `names` point at: the check, and the sidecar if it is one."""
    name = f"{endpoint}"
    try:
        booth = meet(endpoint, nonce)
    except NoBoothError as error:
        return Check(Group.SIDECAR, name, error.verdict, f"{error} ({', '.join(names)})"), None
    if not booth.run_given:
        text = (
            f"Toolbooth {booth.version}, but no run id arrives: all calls share the budget of this "
            "address. Put the run into the proxy URL as its user name."
        )
        lines = (f"export HTTP_PROXY=http://RUN:x@{endpoint} HTTPS_PROXY=http://RUN:x@{endpoint}",)
        return Check(Group.SIDECAR, name, Verdict.WARNING, text, lines), booth
    tls = "opens TLS, so clients must trust its CA" if booth.intercepts else "opens no TLS"
    text = f"Toolbooth {booth.version}, run {booth.run_id}; its policy {tls}."
    return Check(Group.SIDECAR, name, Verdict.OK, text), booth


def _ask(endpoint: Endpoint, path: str, key: str) -> dict[str, object]:
    """The JSON object of an answer that has `key`."""
    answer, content = _answer_of(endpoint, path)
    code = answer.getheader("Toolbooth-Code")
    if code is not None:
        raise NoBoothError(_refused(endpoint, _shown(code)))
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if answer.status != 200 or not isinstance(document, dict) or key not in document:
        raise _stranger(endpoint)
    return document


def _answer_of(endpoint: Endpoint, path: str) -> tuple[http.client.HTTPResponse, bytes]:
    """What answers, as a whole within the time, however it drips. Raises `NoBoothError` only."""
    late = threading.Event()
    too_late = NoBoothError(f"{endpoint} does not answer in time.")
    connection, headers = _connected(endpoint), _headers(endpoint)
    try:
        with contextlib.closing(connection), _deadline(connection.sock, late):
            connection.request("GET", f"http://{PROBE_HOST}{path}", headers=headers)
            answer = connection.getresponse()
            content = answer.read(_LONGEST_ANSWER)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            raise too_late from None
        if isinstance(error, OSError):
            raise NoBoothError(f"{endpoint} is not reachable.") from None
        raise _stranger(endpoint) from None
    if late.is_set():
        raise too_late
    return answer, content


def _connected(endpoint: Endpoint) -> http.client.HTTPConnection:
    try:
        connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=_TIMEOUT_S)
        connection.connect()
    except OSError as error:
        what = "does not answer in time" if isinstance(error, TimeoutError) else "is not reachable"
        raise NoBoothError(f"{endpoint} {what}.") from None
    except (http.client.InvalidURL, ValueError):  # not even looked up
        raise NoBoothError(f"{endpoint} is no address.") from None
    return connection


@contextlib.contextmanager
def _deadline(sock: socket.socket, late: threading.Event) -> Iterator[None]:
    """End all reading from `sock` after the time. The socket's own timeout begins anew with every
    byte."""

    def end() -> None:
        late.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(_TIMEOUT_S, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _headers(endpoint: Endpoint) -> dict[str, str]:
    headers = {"Host": PROBE_HOST, "User-Agent": "toolbooth-doctor"}
    if endpoint.user is not None:
        named = f"{endpoint.user}:{endpoint.password}".encode(errors="replace")
        credentials = b64encode(named).decode()
        headers["Proxy-Authorization"] = f"Basic {credentials}"
    return headers


def _shown(value: object) -> str:
    """What somebody else says, fit to be printed."""
    text = str(value)
    return visible_line(text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "...")


def _stranger(endpoint: Endpoint) -> NoBoothError:
    return NoBoothError(f"{endpoint} answers, but is no Toolbooth.", Verdict.BYPASS)


def _refused(endpoint: Endpoint, code: str) -> str:
    if code == "run_id_required":
        return f"The sidecar wants a run id: use http://RUN:x@{endpoint}."
    if code == "tool_unknown":
        return f"The Toolbooth at {endpoint} is too old to be asked."
    return f"The sidecar at {endpoint} refuses to answer: {code}."
