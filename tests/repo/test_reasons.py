"""The closed vocabulary of outcomes and its page."""

import json
import re

import pytest

from proxy.model.reason import MEANINGS, Reason
from tests.repo.error_page import ADVICE, error_page, example_document
from tests.repo.tree import ROOT

# RFC 9209 section 2.3, and the registry it opened.
_PROXY_ERRORS_TEXT = """
    dns_timeout dns_error destination_not_found destination_unavailable
    destination_ip_prohibited destination_ip_unroutable connection_refused connection_terminated
    connection_timeout connection_read_timeout connection_write_timeout connection_limit_reached
    tls_protocol_error tls_certificate_error tls_alert_received http_request_error
    http_request_denied http_response_incomplete http_response_header_section_size
    http_response_header_size http_response_body_size http_response_trailer_section_size
    http_response_trailer_size http_response_transfer_coding http_response_content_coding
    http_response_timeout http_upgrade_failed http_protocol_error proxy_internal_response
    proxy_internal_error proxy_configuration_error proxy_loop_detected
"""
_PROXY_ERRORS = frozenset(_PROXY_ERRORS_TEXT.split())


def test_the_page_on_disk_is_the_page_of_the_table() -> None:
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == error_page()


def test_every_reason_has_a_meaning_and_advice() -> None:
    assert set(MEANINGS) == set(Reason)
    assert set(ADVICE) == set(Reason)


def test_the_example_on_the_page_is_what_the_sidecar_writes() -> None:
    block = error_page().partition("```json\n")[2].partition("```")[0]
    assert json.loads(block) == example_document()


@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.OK])
def test_a_reason_says_the_same_thing_everywhere(reason: Reason) -> None:
    meaning = MEANINGS[reason]
    assert re.fullmatch(r"[a-z][a-z_]*", reason)
    assert meaning.proxy_error in _PROXY_ERRORS
    assert 400 <= meaning.status <= 599
    assert not (meaning.retryable and meaning.stops_run), "an ended run cannot be tried again"
    assert not meaning.retryable or meaning.status in (429, 503), "clients retry these two"
    assert not meaning.stops_run or meaning.status == 403


def test_407_is_sent_for_a_missing_run_id_and_nothing_else() -> None:
    assert [r for r in Reason if MEANINGS[r].status == 407] == [Reason.RUN_ID_REQUIRED]
