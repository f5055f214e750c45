"""`docs/errors.md`, written from the table of reasons, so that the two cannot disagree.

`python -m tests.repo.write_docs` writes the page; `test_reasons.py` compares it.
"""

import json

from proxy.model.call import Caller
from proxy.model.errors import Refusal
from proxy.model.reason import MEANINGS, Meaning, Reason
from proxy.wire.problem import problem_body, problem_lines, status_line, status_of

_R = Reason

# What the agent should do, and what the operator can. One entry a reason; a test asks for all.
ADVICE: dict[Reason, tuple[str, str]] = {
    _R.OK: ("Go on.", "-"),
    _R.TOOL_UNKNOWN: (
        "Use a tool you were given.",
        "Add the destination to `tools.catalog`; `toolbooth explain METHOD URL` says what fits.",
    ),
    _R.TOOL_NOT_ALLOWED: (
        "Use another tool.",
        "Put the name on `tools.allowlist`. With rule `tunnel.server_name`: the client opened a "
        "tunnel to one host and spoke to another. With `....tunnel.raw`: it carried neither TLS "
        "nor HTTP. With `....intercept_tls`: the CA may not vouch for the host, see "
        "[interception.md](interception.md).",
    ),
    _R.ADDRESS_DENIED: (
        "Use a public host name.",
        "Open exactly the network needed with the tool's `allow_addresses`.",
    ),
    _R.TOOL_DISABLED: ("Go on without this tool.", "`toolbooth revive NAME`, or `tools.disabled`."),
    _R.WRITES_DISABLED: (
        "Only read.",
        "`toolbooth revive --writes`, or `tools.writes_disabled`.",
    ),
    _R.ALL_DISABLED: ("Stop and report.", "`toolbooth revive --all`."),
    _R.RUN_STOPPED: ("Stop.", "`toolbooth revive --run ID`."),
    _R.AGENT_DISABLED: ("Stop.", "`toolbooth revive --agent ID`."),
    _R.MAX_STEPS: ("Finish with what you have.", "`runtime.env.AGENT_MAX_STEPS`."),
    _R.MAX_TOOL_CALLS: ("Finish with what you have.", "`runtime.env.AGENT_MAX_TOOL_CALLS`."),
    _R.MAX_SECONDS: ("Finish with what you have.", "`runtime.env.AGENT_MAX_SECONDS`."),
    _R.MAX_SPEND_USD: ("Finish with what you have.", "`budgets.max_spend_usd`."),
    _R.MAX_TOKENS: ("Finish with what you have.", "`budgets.max_tokens`."),
    _R.MAX_BYTES: ("Finish with what you have.", "`budgets.max_bytes`."),
    _R.LOOP_DETECTED: (
        "Finish; the same call will not answer differently.",
        "`budgets.loop_limit`; look at the run's calls first.",
    ),
    _R.MAX_CALLS_PER_HOUR: (
        "Stop until the hour named in `detail`.",
        "`budgets.per_agent.max_calls_per_hour`.",
    ),
    _R.MAX_SPEND_USD_PER_DAY: (
        "Stop until the day named in `detail`.",
        "`budgets.per_agent.max_spend_usd_per_day`.",
    ),
    _R.RATE_LIMITED: (
        "Wait `retry_after_ms`.",
        "`tools.rate_limits`; `max_wait_ms` lets it queue.",
    ),
    _R.BUSY: (
        "Wait `retry_after_ms`.",
        "`tools.concurrency`, or `TOOLBOOTH_MAX_CONNECTIONS` if no tool is named.",
    ),
    _R.CIRCUIT_OPEN: (
        "Wait `retry_after_ms`, or go on without it.",
        "The upstream fails; the circuit closes by itself once a probe succeeds.",
    ),
    _R.STATE_UNAVAILABLE: (
        "Wait `retry_after_ms`.",
        "The table of runs or agents is full: `budgets.max_runs`, `run_retention_seconds`. "
        "Usually somebody invents run ids.",
    ),
    _R.DRAINING: ("Wait `retry_after_ms`.", "The sidecar is stopping."),
    _R.RUN_ID_REQUIRED: (
        "Report it.",
        "Put a run id into the proxy URL as its user name, or set `budgets.on_missing_run` to "
        "`shared`.",
    ),
    _R.BAD_REQUEST: (
        "Do not repeat it unchanged.",
        "A client bug or an attack; `detail` says what. With rule `tunnel.client_tls`: the client "
        "does not trust the CA, see [interception.md](interception.md).",
    ),
    _R.REQUEST_TOO_LARGE: (
        "Send less.",
        "A tunnel's `max_bytes`. Bodies have no limit of their own yet.",
    ),
    _R.HEADERS_TOO_LARGE: ("Send fewer or shorter headers.", "-"),
    _R.CLIENT_GONE: ("-", "Seen in records only: the client closed before its answer was there."),
    _R.TIMEOUT: (
        "Try a smaller call, or go on without it.",
        "`tools.timeouts_ms`, or a tunnel's `max_seconds`; for rule-less ones, the upstream fell "
        "silent (`idle`).",
    ),
    _R.UPSTREAM_DNS: ("Go on without it.", "The name did not resolve from where the sidecar runs."),
    _R.UPSTREAM_CONNECT: ("Go on without it.", "Nothing accepts connections there."),
    _R.UPSTREAM_TLS: (
        "Go on without it.",
        "Certificate or protocol of the upstream; a private CA goes into the tool's "
        "`trust_file`, or `SSL_CERT_FILE` for all.",
    ),
    _R.UPSTREAM_RESET: ("Go on without it.", "The upstream closed before its answer was whole."),
    _R.UPSTREAM_INVALID: ("Go on without it.", "The upstream's answer is not valid HTTP/1.1."),
    _R.INTERNAL_ERROR: ("Report it.", "A bug; the process log has a traceback. Nothing passed."),
}

EXAMPLE_CALL_ID = "1f6e0a3b-2a"
_EXAMPLE = Refusal(
    Reason.TOOL_NOT_ALLOWED,
    "Tool 'mail.send' is not on the allowlist; do not retry, ask the operator to allow it or use "
    "another tool.",
    "tools.allowlist",
)


def example_document() -> dict[str, object]:
    """The body of a refusal, as the sidecar writes it."""
    caller = Caller("run-42", "researcher", True)
    raw = problem_body(_EXAMPLE, call_id=EXAMPLE_CALL_ID, tool="mail.send", caller=caller)
    document: dict[str, object] = json.loads(raw)
    return document


def _example_lines() -> list[str]:
    start = status_line(status_of(_EXAMPLE))
    lines = problem_lines(_EXAMPLE, call_id=EXAMPLE_CALL_ID, tool="mail.send")
    return [line.decode() for line in (start, *lines)]


def _row(reason: Reason, meaning: Meaning) -> str:
    agent, operator = ADVICE[reason]
    again = "yes" if meaning.retryable else "no"
    ends = "yes" if meaning.stops_run else ""
    status = "-" if reason is Reason.CLIENT_GONE else str(meaning.status)
    return (
        f"| `{reason}` | {status} | {meaning.title} | {again} | {ends} | "
        f"{f'`{meaning.proxy_error}`' if meaning.proxy_error else '-'} | {agent} | {operator} |"
    )


_HEAD = """\
# Outcome codes

<!-- Generated from proxy/model/reason.py: `python -m tests.repo.write_docs`. -->

One closed list. The same word stands in the answer's `code`, in the `Toolbooth-Code` header, in
the call record, in the label `code` of `toolbooth_calls_total` and in the reason phrase of a
refused `CONNECT`. Nothing else is ever said for the same thing.

## What a refusal looks like

```http
{lines}
```

```json
{body}
```

- `detail` is a sentence the model can act on; show it to the model. It holds no secrets.
- `stop_reason` repeats the code where no further call of this run (or agent) can succeed.
- `retryable` says whether the very same call may succeed later without anybody changing anything.
  `retry_after_ms` and `Retry-After` are there only where waiting helps.
- `X-Should-Retry: false` makes the SDKs of model vendors stop at once instead of trying again.
- `error` repeats code and detail in the shape those SDKs print.
- `Proxy-Status` (RFC 9209) tells an answer of the sidecar from one of the tool. What an upstream
  sends under `Toolbooth-*`, or as our member of `Proxy-Status`, is removed on its way through.
- On `CONNECT`, clients show nothing but the status line, so code and tool stand in the reason
  phrase: `HTTP/1.1 403 tool_not_allowed mail.send`.
- After the answer's head has been relayed a refusal can no longer be told: the connection is cut
  so that the client sees an incomplete message, and the record has the code.

A few `bad_request` answers have a more exact status than 400: 408 (the head took too long), 414
(target too long), 417 (`Expect`), 501 (method or transfer coding), 505 (HTTP version).

## The codes

| code | HTTP | title | same call again? | ends the run | `Proxy-Status` error | agent | operator |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def error_page() -> str:
    """The whole page."""
    body = json.dumps(example_document(), indent=2)
    rows = "\n".join(_row(reason, meaning) for reason, meaning in MEANINGS.items())
    return _HEAD.format(lines="\n".join(_example_lines()), body=body) + rows + "\n"
