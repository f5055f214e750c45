"""Who is calling? The run and the agent, from what the client sent.

The run id is, in this order: the user name of `Proxy-Authorization: Basic` (the one carrier that
every client sends, over CONNECT too, when its proxy URL has one), the policy's run header, and W3C
baggage `agent.run_id`. None of them proves anything: the agent container is trusted to name its
own run, and no header a further hop could have added is looked at. What cannot be read is a bad
request, never "no run".
"""

import binascii
import re
from urllib.parse import unquote_to_bytes

from proxy.model.call import Caller
from proxy.model.errors import BadMessage
from proxy.model.reason import Reason
from proxy.policy.policy import BudgetRule
from proxy.wire.forward import BAGGAGE_RUN
from proxy.wire.head import RequestHead, Section, field_values
from proxy.wire.trace_context import context_of

SHARED = "shared:"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+=~-]{0,127}")


def identify(
    head: RequestHead, rule: BudgetRule, client_address: str, outer: Caller | None = None
) -> Caller:
    """The caller. `outer` is who opened the tunnel this request came through, if any; what the
    request says itself comes first. Raises `BadMessage`."""
    section = head.section
    known = section.sender
    if known is not None and known[0] is rule and known[1] == client_address and known[2] is outer:
        return known[3]
    caller = _identify(section, rule, client_address, outer)
    section.sender = (rule, client_address, outer, caller)
    return caller


def _identify(head: Section, rule: BudgetRule, client_address: str, outer: Caller | None) -> Caller:
    named, run_header, agent_header = head.named, rule.run_header, rule.agent_header
    run_id: str | None = None
    if b"proxy-authorization" in named:
        run_id = _basic_user(head.value(b"proxy-authorization") or b"")
    if run_id is None and run_header in named:
        run_id = _checked(head.value(run_header) or b"", "run id")
    if run_id is None and b"baggage" in named:
        run_id = _baggage_run(head)
    if run_id is None and outer is not None and outer.run_given:
        run_id = outer.run_id
    if run_id is None and rule.reject_missing_run:
        raise BadMessage(
            "This sidecar wants a run id: put one into the proxy URL as its user name.",
            Reason.RUN_ID_REQUIRED,
        )
    agent_id: str | None = None
    if agent_header in named:
        agent_id = _checked(head.value(agent_header) or b"", "agent id")
    shared = SHARED + client_address
    if agent_id is None:
        agent_id = outer.agent_id if outer is not None else shared
    return Caller(run_id or shared, agent_id, run_id is not None)


def _checked(raw: bytes, what: str) -> str | None:
    """An id as it may appear in records and switches; empty means absent."""
    if not raw:
        return None
    text = raw.decode("latin-1")
    if not _ID.fullmatch(text) or text.startswith(SHARED):
        raise BadMessage(
            f"The {what} must be 1 to 128 letters, digits and . _ : @ / + = ~ -, beginning with "
            f"a letter or digit, and not begin with `{SHARED}`."
        )
    return text


def _basic_user(value: bytes) -> str | None:
    """The user name of RFC 7617 credentials; the password is nobody's business."""
    scheme, _, credentials = value.partition(b" ")
    if scheme.lower() != b"basic":
        raise BadMessage("Proxy-Authorization must be Basic, with the run id as user name.")
    try:
        decoded = binascii.a2b_base64(credentials.strip(), strict_mode=True)
    except (binascii.Error, ValueError):
        raise BadMessage("Proxy-Authorization is not base64.") from None
    user, colon, _ = decoded.partition(b":")
    if not colon:
        raise BadMessage("Proxy-Authorization has no colon after the user name.")
    return _checked(user, "run id")


def _baggage_run(head: Section) -> str | None:
    """`agent.run_id` of W3C baggage; the first one counts."""
    for value in field_values(head, b"baggage"):
        for member in value.split(b","):
            key, _, rest = member.partition(b"=")
            if key.strip() == BAGGAGE_RUN:
                return _checked(unquote_to_bytes(rest.partition(b";")[0].strip()), "run id")
    return None


def trace_id_of(head: RequestHead) -> str:
    """The trace id of a W3C traceparent, or empty."""
    if b"traceparent" not in head.named:
        return ""
    context = context_of(head)
    return f"{context.trace_id:032x}" if context is not None else ""
