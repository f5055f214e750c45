"""The probe host: what the sidecar answers in its own name.

A name that never resolves (RFC 6761 section 6.4) can only be reached through the sidecar, so an
answer from it proves that a client goes through. Nothing is dialled, no policy entry is needed and
no budget is touched; kill switches do not close it, for it opens nothing. Each request leaves its
record like any other.

    GET http://toolbooth.invalid/probe/NONCE[/...]    who arrived here
    CONNECT NONCE.toolbooth.invalid:443               a tunnel, noted under the nonce
    GET http://toolbooth.invalid/seen/NONCE           what was seen of a nonce
"""

import json
import re
from typing import NamedTuple

from proxy import __version__
from proxy.model.call import PROBE_HOST, Mode, ToolCall
from proxy.model.errors import BadMessage, Refusal, Stopped
from proxy.model.reason import Reason
from proxy.pipeline.sightings import Sighting
from proxy.pipeline.visit import Visit
from proxy.policy.policy import Policy
from proxy.telemetry.visible import visible_line

_QUESTION = re.compile(r"/(probe|seen)/([a-z0-9]{8,63})(?:[/?].*)?", re.DOTALL)
_NONCE = re.compile(r"[a-z0-9]{8,63}")
_MAX_AGENT_CHARS = 100
_TLS_PORT = 443
_FULL = Refusal(
    Reason.BUSY, "Too many probes are under way; try again in two minutes.", "probe", 120_000
)


class Question(NamedTuple):
    """`kind` is `probe` or `seen`."""

    kind: str
    nonce: str


def read_question(method: str, path: str) -> Question:
    """Raises `BadMessage` for what is none. `path` may go on behind the nonce, for clients that
    add to it, as git does."""
    if method not in ("GET", "HEAD"):
        raise BadMessage("The probe host takes GET only.", status=405)
    match = _QUESTION.fullmatch(path)
    if match is None:
        raise BadMessage("The probe host knows /probe/NONCE and /seen/NONCE.", status=404)
    return Question(match[1], match[2])


def nonce_of_tunnel(host: str, port: int) -> str | None:
    """The nonce in the name of a tunnel that is meant for TLS; None where there is none. A tunnel
    to another port is some client's way to send plain HTTP, and is judged by what is inside."""
    label = host.removesuffix(PROBE_HOST).removesuffix(".")
    return label if port == _TLS_PORT and _NONCE.fullmatch(label) else None


def answer_probe(visit: Visit) -> None:
    """Answer a request to the probe host. Raises `BadMessage` or `Stopped`."""
    call, record = visit.call, visit.record
    if call.mode is Mode.CONNECT:
        _open(visit)
        return
    question = read_question(call.method, call.target.path)
    if question.kind == "probe":
        _note(visit, question.nonce, "https" if call.mode is Mode.INTERCEPTED else "http")
        answer = _who(call, question.nonce, visit.policy)
    else:
        answer = _seen(visit.booth.sightings.of(question.nonce))
    content = json.dumps(answer).encode()
    record.status, record.response_bytes = 200, len(content)
    lines = [b"Content-Type: application/json", b"Cache-Control: no-store"]
    lines.append(visit.exchange.date_line())
    visit.exchange.respond(b"HTTP/1.1 200 OK", lines, content)


def _open(visit: Visit) -> None:
    """A tunnel that leads nowhere but here: what is inside is read as requests."""
    origin = visit.call.target.origin
    nonce = nonce_of_tunnel(origin.host, origin.port)
    if nonce is not None:
        _note(visit, nonce, "tunnel")
    visit.record.status = 200
    head = f"HTTP/1.1 200 Connection established\r\nToolbooth-Call-Id: {visit.record.call_id}"
    client, early = visit.exchange.open_tunnel(head.encode() + b"\r\n\r\n")
    visit.exchange.govern_inside(client, early, origin._replace(scheme="http"))


def _note(visit: Visit, nonce: str, way: str) -> None:
    agent = (visit.exchange.head.value(b"user-agent") or b"")[:_MAX_AGENT_CHARS]
    text = visible_line(agent.decode("latin-1"))
    if not visit.booth.sightings.note(nonce, way, visit.call.caller, text):
        raise Stopped(_FULL)


def _who(call: ToolCall, nonce: str, policy: Policy) -> dict[str, object]:
    run_id, agent_id, run_given = call.caller
    return {
        "toolbooth": __version__,
        "run_id": run_id,
        "agent_id": agent_id,
        "run_given": run_given,
        "mode": call.mode.value,
        "nonce": nonce,
        "intercepts": any(rule.intercept_tls for rule in policy.tools.values()),
    }


def _seen(sighting: Sighting) -> dict[str, object]:
    callers = sighting.callers
    return {
        "seen": {way: way in callers for way in ("http", "tunnel", "https")},
        "run_given": {way: caller.run_given for way, caller in callers.items()},
        "run_id": next((caller.run_id for caller in callers.values()), ""),
        "user_agent": sighting.user_agent,
    }
