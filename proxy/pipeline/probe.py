"""The probe host: what the sidecar answers in its own name.

A name that never resolves (RFC 6761 section 6.4) can only be reached through the sidecar, so an
answer from it proves that a client goes through. Nothing is dialled, no policy entry is needed and
no budget is touched; kill switches do not close it, for it opens nothing. Each request leaves its
record like any other.

    GET http[s]://toolbooth.invalid/probe/NONCE[/...]    who arrived here
    CONNECT NONCE.toolbooth.invalid:443                  a tunnel, noted under the nonce
    GET http://toolbooth.invalid/seen/NONCE              what was seen of a nonce
    GET http://toolbooth.invalid/ca.pem                  the CA that clients have to trust

TLS in such a tunnel ends here if the policy intercepts anything, with one certificate for all names
of the probe host, so that a flood of names costs no more than a flood of requests. Where nothing is
intercepted no client needs the CA, and the tunnel closes as soon as TLS begins.
"""

import json
import re
import ssl
from typing import NamedTuple

from proxy import __version__
from proxy.ca.authority import NoContextError
from proxy.model.call import PROBE_HOST, Mode, ToolCall
from proxy.model.errors import BadMessage, Refusal, Stopped
from proxy.model.reason import Reason
from proxy.pipeline.opening import opening_judge
from proxy.pipeline.reply import established
from proxy.pipeline.sightings import Sighting
from proxy.pipeline.visit import Visit
from proxy.telemetry.visible import visible_line

_CA_PATH = "/ca.pem"
_QUESTION = re.compile(r"/(probe|seen)/([a-z0-9]{8,63})(?:[/?].*)?", re.DOTALL)
_NONCE = re.compile(r"[a-z0-9]{8,63}")
_MAX_AGENT_CHARS = 100
_TLS_PORT = 443
_FULL = Refusal(
    Reason.BUSY, "Too many probes are under way; try again in two minutes.", "probe", 120_000
)


_NO_TLS = Refusal(Reason.TOOL_NOT_ALLOWED, "The policy intercepts nothing.", "probe")
_NEITHER = Refusal(
    Reason.TOOL_NOT_ALLOWED,
    "The tunnel was closed: the probe host speaks TLS and HTTP alone.",
    "tunnel.client_tls",
)
_NO_CERTIFICATE = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # no handshake can succeed with it


class Question(NamedTuple):
    """`kind` is `probe`, `seen` or `ca`, which has no nonce."""

    kind: str
    nonce: str


def read_question(method: str, path: str) -> Question:
    """Raises `BadMessage` for what is none. `path` may go on behind the nonce, for clients that
    add to it, as git does."""
    if method not in ("GET", "HEAD"):
        raise BadMessage("The probe host takes GET only.", status=405)
    if path == _CA_PATH:
        return Question("ca", "")
    match = _QUESTION.fullmatch(path)
    if match is None:
        raise BadMessage("The probe host knows /probe/NONCE, /seen/NONCE and /ca.pem.", status=404)
    return Question(match[1], match[2])


def nonce_of_tunnel(host: str, port: int) -> str | None:
    """The nonce in the name of a tunnel that is meant for TLS; None where there is none. A tunnel
    to another port is some client's way to send plain HTTP, and is judged by what is inside."""
    label = host.removesuffix(PROBE_HOST).removesuffix(".")
    return label if port == _TLS_PORT and _NONCE.fullmatch(label) else None


async def answer_probe(visit: Visit) -> None:
    """Answer a request to the probe host. Raises `BadMessage` or `Stopped`."""
    call = visit.call
    if call.mode is Mode.CONNECT:
        await _open(visit)
        return
    question = read_question(call.method, call.target.path)
    if question.kind == "ca":
        _respond(visit, b"application/x-pem-file", _certificate(visit))
        return
    if question.kind == "probe":
        _note(visit, question.nonce, "https" if call.mode is Mode.INTERCEPTED else "http")
        answer = _who(call, question.nonce, intercepts=visit.booth.authority.is_needed)
    else:
        answer = _seen(visit.booth.sightings.of(question.nonce))
    _respond(visit, b"application/json", json.dumps(answer).encode())


def _respond(visit: Visit, kind: bytes, content: bytes) -> None:
    visit.record.status, visit.record.response_bytes = 200, len(content)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nCache-Control: no-store\r\n%b"
    visit.exchange.respond(head % (kind, visit.exchange.date_line()), content)


async def _open(visit: Visit) -> None:
    """A tunnel that leads nowhere but here: what is inside is read as requests."""
    origin, booth = visit.call.target.origin, visit.booth
    nonce = nonce_of_tunnel(origin.host, origin.port)
    if nonce is not None:
        _note(visit, nonce, "tunnel")
    tls, judge = _NO_CERTIFICATE, opening_judge(origin.host, _NEITHER)
    if booth.authority.is_needed:
        try:
            tls = booth.authority.context_for(PROBE_HOST)
        except NoContextError as problem:
            raise Stopped(_no_certificate(problem)) from None

    def only_http(data: bytes) -> bool:
        is_tls = judge(data)
        if is_tls and tls is _NO_CERTIFICATE:
            raise Stopped(_NO_TLS)
        return is_tls

    visit.record.status = 200
    try:
        await visit.exchange.intercept(
            established(visit), only_http, lambda: tls, origin, visit.call.caller
        )
    except Stopped as stop:
        if stop.refusal is not _NO_TLS:
            raise
        # It came through the booth with its nonce, which is all there was to learn.


def _certificate(visit: Visit) -> bytes:
    """The public half of the CA."""
    try:
        view = visit.booth.authority.view()
    except NoContextError as problem:
        raise Stopped(_no_certificate(problem)) from None
    if view is None:
        raise BadMessage("The policy intercepts no TLS, so there is no CA to trust.", status=404)
    return view.pem.encode()


def _no_certificate(problem: NoContextError) -> Refusal:
    return Refusal(Reason.TOOL_NOT_ALLOWED, str(problem), "probe")


def _note(visit: Visit, nonce: str, way: str) -> None:
    agent = (visit.exchange.head.value(b"user-agent") or b"")[:_MAX_AGENT_CHARS]
    text = visible_line(agent.decode("latin-1"))
    if not visit.booth.sightings.note(nonce, way, visit.call.caller, text):
        raise Stopped(_FULL)


def _who(call: ToolCall, nonce: str, *, intercepts: bool) -> dict[str, object]:
    run_id, agent_id, run_given = call.caller
    return {
        "toolbooth": __version__,
        "run_id": run_id,
        "agent_id": agent_id,
        "run_given": run_given,
        "mode": call.mode.value,
        "nonce": nonce,
        "intercepts": intercepts,
    }


def _seen(sighting: Sighting) -> dict[str, object]:
    callers = sighting.callers
    return {
        "seen": {way: way in callers for way in ("http", "tunnel", "https")},
        "run_given": {way: caller.run_given for way, caller in callers.items()},
        "run_id": next((caller.run_id for caller in callers.values()), ""),
        "user_agent": sighting.user_agent,
    }
