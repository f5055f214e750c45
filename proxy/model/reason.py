"""The closed vocabulary of outcomes.

`Reason` is the one word that stands in the answer's body, the `Toolbooth-Code` header, the call
record, the metric label and the docs. One table says what each means on the wire, so that a
reason cannot exist without an answer. Names and statuses are promises to users.
"""

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a call ended the way it did (`code`)."""

    OK = "ok"
    # The policy says no.
    TOOL_UNKNOWN = "tool_unknown"
    TOOL_NOT_ALLOWED = "tool_not_allowed"
    ADDRESS_DENIED = "address_denied"
    # An operator says no.
    TOOL_DISABLED = "tool_disabled"
    WRITES_DISABLED = "writes_disabled"
    ALL_DISABLED = "all_disabled"
    RUN_STOPPED = "run_stopped"
    AGENT_DISABLED = "agent_disabled"
    # The run or the agent has used what it had.
    MAX_STEPS = "max_steps"
    MAX_TOOL_CALLS = "max_tool_calls"
    MAX_SECONDS = "max_seconds"
    MAX_SPEND_USD = "max_spend_usd"
    MAX_TOKENS = "max_tokens"
    MAX_BYTES = "max_bytes"
    LOOP_DETECTED = "loop_detected"
    MAX_CALLS_PER_HOUR = "max_calls_per_hour"
    MAX_SPEND_USD_PER_DAY = "max_spend_usd_per_day"
    # Not now.
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    CIRCUIT_OPEN = "circuit_open"
    STATE_UNAVAILABLE = "state_unavailable"
    DRAINING = "draining"
    # The client's fault.
    RUN_ID_REQUIRED = "run_id_required"
    BAD_REQUEST = "bad_request"
    REQUEST_TOO_LARGE = "request_too_large"
    HEADERS_TOO_LARGE = "headers_too_large"
    CLIENT_GONE = "client_gone"
    # The upstream's fault.
    TIMEOUT = "timeout"
    UPSTREAM_DNS = "upstream_dns"
    UPSTREAM_CONNECT = "upstream_connect"
    UPSTREAM_TLS = "upstream_tls"
    UPSTREAM_RESET = "upstream_reset"
    UPSTREAM_INVALID = "upstream_invalid"
    # Ours.
    INTERNAL_ERROR = "internal_error"


class Meaning(NamedTuple):
    """What a reason is on the wire.

    `status`: HTTP status. `proxy_error`: RFC 9209 error type. `retryable`: may the very same call
    succeed later without anybody changing anything? `stops_run`: repeated as `stop_reason`, since
    no further call of this run (or agent) can succeed.
    """

    status: int
    title: str
    proxy_error: str
    retryable: bool = False
    stops_run: bool = False


_DENIED = "http_request_denied"

MEANINGS: dict[Reason, Meaning] = {
    Reason.OK: Meaning(200, "Allowed", ""),
    Reason.TOOL_UNKNOWN: Meaning(403, "No tool has this destination", _DENIED),
    Reason.TOOL_NOT_ALLOWED: Meaning(403, "Tool not on the allowlist", _DENIED),
    Reason.ADDRESS_DENIED: Meaning(403, "Address not allowed", "destination_ip_prohibited"),
    Reason.TOOL_DISABLED: Meaning(403, "Tool switched off", _DENIED),
    Reason.WRITES_DISABLED: Meaning(403, "Writes switched off", _DENIED),
    Reason.ALL_DISABLED: Meaning(403, "All calls switched off", _DENIED),
    Reason.RUN_STOPPED: Meaning(403, "Run stopped", _DENIED, stops_run=True),
    Reason.AGENT_DISABLED: Meaning(403, "Agent switched off", _DENIED, stops_run=True),
    Reason.MAX_STEPS: Meaning(403, "Step budget used up", _DENIED, stops_run=True),
    Reason.MAX_TOOL_CALLS: Meaning(403, "Tool-call budget used up", _DENIED, stops_run=True),
    Reason.MAX_SECONDS: Meaning(403, "Time budget used up", _DENIED, stops_run=True),
    Reason.MAX_SPEND_USD: Meaning(403, "Spend budget used up", _DENIED, stops_run=True),
    Reason.MAX_TOKENS: Meaning(403, "Token budget used up", _DENIED, stops_run=True),
    Reason.MAX_BYTES: Meaning(403, "Byte budget used up", _DENIED, stops_run=True),
    Reason.LOOP_DETECTED: Meaning(403, "The same call again and again", _DENIED, stops_run=True),
    Reason.MAX_CALLS_PER_HOUR: Meaning(403, "Hourly calls used up", _DENIED, stops_run=True),
    Reason.MAX_SPEND_USD_PER_DAY: Meaning(403, "Daily spend used up", _DENIED, stops_run=True),
    Reason.RATE_LIMITED: Meaning(429, "Rate limited", _DENIED, retryable=True),
    Reason.BUSY: Meaning(503, "Too many calls at once", "connection_limit_reached", retryable=True),
    Reason.CIRCUIT_OPEN: Meaning(
        503, "Upstream failing", "destination_unavailable", retryable=True
    ),
    Reason.STATE_UNAVAILABLE: Meaning(
        503, "State unavailable", "proxy_internal_error", retryable=True
    ),
    Reason.DRAINING: Meaning(503, "Shutting down", "proxy_internal_response", retryable=True),
    Reason.RUN_ID_REQUIRED: Meaning(407, "Run id required", _DENIED),
    Reason.BAD_REQUEST: Meaning(400, "Bad request", "http_request_error"),
    Reason.REQUEST_TOO_LARGE: Meaning(413, "Request too large", "http_request_error"),
    Reason.HEADERS_TOO_LARGE: Meaning(431, "Header section too large", "http_request_error"),
    Reason.CLIENT_GONE: Meaning(499, "Client went away", "http_request_error"),
    Reason.TIMEOUT: Meaning(504, "Timed out", "http_response_timeout"),
    Reason.UPSTREAM_DNS: Meaning(502, "Name did not resolve", "dns_error"),
    Reason.UPSTREAM_CONNECT: Meaning(502, "Could not connect", "connection_refused"),
    Reason.UPSTREAM_TLS: Meaning(502, "TLS failed", "tls_protocol_error"),
    Reason.UPSTREAM_RESET: Meaning(502, "Upstream hung up", "connection_terminated"),
    Reason.UPSTREAM_INVALID: Meaning(502, "Upstream spoke invalid HTTP", "http_protocol_error"),
    Reason.INTERNAL_ERROR: Meaning(500, "Internal error", "proxy_internal_error"),
}
