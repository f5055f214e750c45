import pytest

from proxy.model.reason import MEANINGS, Reason

# The promise to users, row by row: code to status.
PROMISED = {
    403: (
        "tool_unknown", "tool_not_allowed", "address_denied",
        "tool_disabled", "writes_disabled", "all_disabled", "run_stopped", "agent_disabled",
        "max_steps", "max_tool_calls", "max_seconds", "max_spend_usd", "max_tokens", "max_bytes",
        "loop_detected", "max_calls_per_hour", "max_spend_usd_per_day",
    ),
    407: ("run_id_required",),
    400: ("bad_request",),
    413: ("request_too_large",),
    431: ("headers_too_large",),
    429: ("rate_limited",),
    503: ("busy", "circuit_open", "state_unavailable", "draining"),
    504: ("timeout",),
    502: (
        "upstream_dns", "upstream_connect", "upstream_tls", "upstream_reset", "upstream_invalid",
    ),
}  # fmt: skip
OURS = {"ok": 200, "client_gone": 499, "internal_error": 500}
STATUSES = {code: status for status, codes in PROMISED.items() for code in codes} | OURS

BUDGETS = ("max_", "loop_detected")
# RFC 9209 section 2.3.
PROXY_ERRORS = {
    "dns_timeout", "dns_error", "destination_not_found", "destination_unavailable",
    "destination_ip_prohibited", "destination_ip_unroutable", "connection_refused",
    "connection_terminated", "connection_timeout", "connection_read_timeout",
    "connection_write_timeout", "connection_limit_reached", "tls_protocol_error",
    "tls_certificate_error", "tls_alert_received", "http_request_error", "http_request_denied",
    "http_response_incomplete", "http_response_header_section_size",
    "http_response_header_size", "http_response_body_size", "http_response_trailer_section_size",
    "http_response_trailer_size", "http_response_transfer_coding",
    "http_response_content_coding", "http_response_timeout", "http_upgrade_failed",
    "http_protocol_error", "proxy_internal_response", "proxy_internal_error",
    "proxy_configuration_error", "proxy_loop_detected",
}  # fmt: skip


def test_every_reason_has_a_meaning_and_none_is_left_over() -> None:
    assert set(MEANINGS) == set(Reason)


def test_the_codes_are_exactly_the_promised_ones() -> None:
    assert {reason.value for reason in Reason} == set(STATUSES)
    assert len(STATUSES) == sum(map(len, PROMISED.values())) + len(OURS), "a code stands twice"


@pytest.mark.parametrize(("code", "status"), STATUSES.items())
def test_every_code_has_its_promised_status(code: str, status: int) -> None:
    assert MEANINGS[Reason(code)].status == status
    assert f"{Reason(code)}" == code


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OK])
def test_every_refusal_can_be_told(reason: Reason) -> None:
    meaning = MEANINGS[reason]
    assert meaning.proxy_error in PROXY_ERRORS
    assert meaning.title
    assert meaning.title[0].isupper()
    assert not meaning.title.endswith(".")
    assert meaning.title.isascii()


def test_only_refusals_of_the_moment_invite_a_retry() -> None:
    retryable = {reason for reason, meaning in MEANINGS.items() if meaning.retryable}
    assert retryable == {reason for reason in Reason if MEANINGS[reason].status in (429, 503)}


def test_what_ends_the_run_is_a_used_up_budget_or_a_switch_against_it() -> None:
    stops = {reason for reason, meaning in MEANINGS.items() if meaning.stops_run}
    budgets = {reason for reason in Reason if reason.value.startswith(BUDGETS)}
    assert stops == budgets | {Reason.RUN_STOPPED, Reason.AGENT_DISABLED}


def test_titles_tell_reasons_apart() -> None:
    titles = [meaning.title for meaning in MEANINGS.values()]
    assert len(set(titles)) == len(titles)
