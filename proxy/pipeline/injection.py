"""A secret that the agent never held, put into its request on the way to the one origin it is for.

Only through the gateway, or inside of a tunnel whose TLS ends here, and only to the origin of the
tool's `upstream`: anywhere else the same tool may lead to a server that must not learn it. A
placeholder is replaced where a key is expected and nowhere else: an agent that could paste the
secret into a URL to fetch, a cookie or a message would have it sent wherever it likes. The record
keeps what the agent sent.
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
_ECHOING = frozenset(("TRACE", "TRACK"))
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
    return _with_secret(head, path, rule, secret)


def _may_carry(visit: Visit) -> bool:
    """TRACE is answered with the request itself (RFC 9110 section 9.3.8), and so is what some
    servers call TRACK; methods in another case are others by the RFC, and the same to a few."""
    call = visit.call
    is_visible = call.mode is Mode.GATEWAY or call.mode is Mode.INTERCEPTED
    is_ours = is_visible and call.target.origin == visit.rule.upstream
    return is_ours and call.method.upper() not in _ECHOING


def _with_secret(
    head: RequestHead, path: str, rule: CredentialRule, secret: Secret
) -> tuple[RequestHead, str]:
    fields = [
        replaced
        for field in head.fields
        if (replaced := _without_key(field, rule.placeholder, secret)) is not None
    ]
    if rule.placeholder_query and rule.placeholder is not None:
        path, question, query = path.partition("?")
        query = _query_with(query, rule.placeholder_query, rule.placeholder, secret.text)
        path += question + query
    return head.with_fields(fields), path


def _without_key(field: Field, placeholder: str | None, secret: Secret) -> Field | None:
    """The field itself; None if it would say who calls, beside what we say. Where its value is the
    placeholder, alone or behind a scheme, it says the same."""
    name, line = field
    if name.replace(b"_", b"-") not in _KEYS:
        return field
    before, _, key = line[len(name) + 1 :].strip(b" \t").rpartition(b" ")
    if placeholder is None or key != placeholder.encode() or b" " in before:
        return None
    space = b" " if before else b""
    return name, line[: len(name) + 1] + b" " + before + space + secret.text.encode("latin-1")


def _query_with(query: str, names: frozenset[str], placeholder: str, secret: str) -> str:
    """Only as the whole value of a parameter that the policy names, spelt as it is there."""
    pairs = query.split("&")
    for place, pair in enumerate(pairs):
        name, _, value = pair.partition("=")
        if value == placeholder and name in names:
            pairs[place] = f"{name}={quote(secret, safe='')}"
    return "&".join(pairs)


def _missing(tool: str) -> Refusal:
    return Refusal(
        Reason.STATE_UNAVAILABLE,
        f"The secret of tool '{tool}' cannot be read, so the call was not made; tell the operator "
        "or go on without this tool.",
        f"tools.catalog.{tool}.credentials",
        _RETRY_AFTER_MS,
    )
