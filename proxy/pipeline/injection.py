"""A secret that the agent never held, put into its request on the way to the one origin it is for.

Only through the gateway, or inside of a tunnel whose TLS ends here, and only to the origin of the
tool's `upstream`: anywhere else the same tool may lead to a server that must not learn it. The
record keeps what the agent sent.
"""

from urllib.parse import quote

from proxy.model.call import Mode
from proxy.model.errors import Refusal, Stopped
from proxy.model.reason import Reason
from proxy.pipeline.visit import Visit
from proxy.policy.policy import CredentialRule
from proxy.upstream.credentials import Secret
from proxy.wire.head import Field, RequestHead

# An agent's own key beside the injected one could win, and take what it sends to an account of
# somebody else at the same maker. SDKs also send the key they were made with in two of them.
_KEYS = frozenset((b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"))
_RETRY_AFTER_MS = 2000  # by then a secret that is being replaced has been looked for again


def inject(
    visit: Visit, rule: CredentialRule, replace: dict[bytes, bytes]
) -> tuple[RequestHead, str]:
    """The request's head and path with the secret in place of the placeholder, and `replace` with
    the line that carries it. Raises `Stopped` if there is no secret: without it the call could
    only fail, or succeed as somebody else."""
    head, path = visit.exchange.head, visit.call.target.path
    if not _may_carry(visit):
        return head, path
    secret = visit.booth.secrets.read(rule)
    if secret is None:
        raise Stopped(_missing(visit.live.rules[0].name))
    # CGI and its like read `_` and `-` as the same: the agent's own must not come beside ours.
    replace[rule.header.replace(b"_", b"-")] = b""
    replace[rule.header] = rule.header.title() + b": " + secret.value
    return _with_secret(head, path, rule.placeholder, secret)


def _may_carry(visit: Visit) -> bool:
    """TRACE is answered with the request itself (RFC 9110 section 9.3.8), so it goes without."""
    call = visit.call
    is_visible = call.mode is Mode.GATEWAY or call.mode is Mode.INTERCEPTED
    return is_visible and call.target.origin == visit.rule.upstream and call.method != "TRACE"


def _with_secret(
    head: RequestHead, path: str, placeholder: str | None, secret: Secret
) -> tuple[RequestHead, str]:
    if placeholder is None:
        return head._replace(fields=[field for field in head.fields if not _is_key(field)]), path
    stand_in, text = placeholder.encode(), secret.text.encode("latin-1")
    fields = [
        _field_with(field, stand_in, text)
        for field in head.fields
        if stand_in in field[1] or not _is_key(field)
    ]
    path, question, query = path.partition("?")
    query = query.replace(placeholder, quote(secret.text, safe=""))
    return head._replace(fields=fields), path + question + query


def _is_key(field: Field) -> bool:
    """Would it say who calls, beside what we say?"""
    return field[0].replace(b"_", b"-") in _KEYS


def _field_with(field: Field, stand_in: bytes, text: bytes) -> Field:
    name, line = field
    if stand_in not in line:
        return field
    start = len(name) + 1
    return name, line[:start] + line[start:].replace(stand_in, text)


def _missing(tool: str) -> Refusal:
    return Refusal(
        Reason.STATE_UNAVAILABLE,
        f"The secret of tool '{tool}' cannot be read, so the call was not made; tell the operator "
        "or go on without this tool.",
        f"tools.catalog.{tool}.credentials",
        _RETRY_AFTER_MS,
    )
