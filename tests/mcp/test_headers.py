"""Headers that repeat the message, against it."""

import base64

import pytest

from proxy.mcp.headers import check_content, check_headers, is_modern, protocol_version
from proxy.mcp.message import HEADER_MISMATCH, BadJsonRpc, Message
from proxy.wire.head import RequestHead, parse_request_head

CALL = Message("tools/call", 1, "search")
PING = Message("ping", 1)
NEW, OLD = "MCP-Protocol-Version: 2026-07-28", "MCP-Protocol-Version: 2025-11-25"
METHOD, NAME = "Mcp-Method: tools/call", "Mcp-Name: search"


def head(*lines: str) -> RequestHead:
    text = "".join(f"{line}\r\n" for line in lines)
    return parse_request_head(f"POST /mcp HTTP/1.1\r\nHost: a\r\n{text}\r\n".encode())


def check(message: Message, *lines: str) -> None:
    asked = head(*lines)
    check_headers(asked, protocol_version(asked), (message,), is_batch=False)


def encoded(text: str) -> str:
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        pytest.param(CALL, (NEW, METHOD, NAME), id="modern, both agree"),
        pytest.param(CALL, (NEW, METHOD, f"Mcp-Name: {encoded('search')}"), id="encoded"),
        pytest.param(
            Message("tools/call", 1, "größe"), (NEW, METHOD, f"Mcp-Name: {encoded('größe')}"),
            id="encoded since it must be",
        ),
        pytest.param(PING, (NEW, "Mcp-Method: ping"), id="no name, none needed"),
        pytest.param(CALL, (OLD,), id="legacy, no headers"),
        pytest.param(CALL, (), id="no version"),
        pytest.param(CALL, (OLD, METHOD, NAME), id="legacy, both agree"),
        pytest.param(CALL, (NEW, METHOD, NAME, "Mcp-Param-Q: x"), id="parameters are not ours"),
        pytest.param(Message("notifications/x", None), (NEW,), id="a notification promises none"),
        pytest.param(Message("", 1), (NEW,), id="a response promises none"),
        pytest.param(
            Message("resources/read", 1, "docs://a"),
            (NEW, "Mcp-Method: resources/read", "Mcp-Name: docs://a"), id="a resource's URI",
        ),
    ],
)  # fmt: skip
def test_headers_that_agree_pass(message: Message, lines: tuple[str, ...]) -> None:
    check(message, *lines)


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        pytest.param(CALL, (NEW, NAME), id="modern without its method"),
        pytest.param(CALL, (NEW, METHOD), id="modern without its name"),
        pytest.param(CALL, (NEW, METHOD, "Mcp-Name: delete"), id="another name"),
        pytest.param(CALL, (NEW, METHOD, "Mcp-Name: Search"), id="another case"),
        pytest.param(CALL, (NEW, "Mcp-Method: tools/list", NAME), id="another method"),
        pytest.param(CALL, (OLD, "Mcp-Method: tools/list"), id="legacy, another method"),
        pytest.param(CALL, ("Mcp-Name: list",), id="no version, another name"),
        pytest.param(CALL, (NEW, METHOD, NAME, NAME), id="the name twice"),
        pytest.param(CALL, (NEW, OLD, METHOD, NAME), id="the version twice"),
        pytest.param(CALL, (NEW, METHOD, NAME, "Mcp_Name: delete"), id="misspelt for CGI"),
        pytest.param(CALL, (NEW, METHOD, "Mcp-Name: =?base64?c2VhcmNo=?="), id="bad base64"),
        pytest.param(CALL, (NEW, METHOD, "Mcp-Name: =?base64?c2VhcmNp?="), id="another text"),
        pytest.param(
            Message("tools/call", 1, "a"), (NEW, METHOD, "Mcp-Name: =?base64?YR==?="),
            id="base64 that is not canonical",
        ),
        pytest.param(CALL, (NEW, METHOD, "Mcp-Name: s\xe9arch"), id="not ASCII"),
        pytest.param(Message("", 1), ("Mcp-Method: tools/call",), id="a response with a method"),
        pytest.param(
            Message("prompts/get", 1, None), (NEW, "Mcp-Method: prompts/get", NAME),
            id="a name where the message has none",
        ),
    ],
)  # fmt: skip
def test_headers_that_disagree_are_told(message: Message, lines: tuple[str, ...]) -> None:
    with pytest.raises(BadJsonRpc) as caught:
        check(message, *lines)
    assert caught.value.rpc_code == HEADER_MISMATCH


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        ("MCP-Protocol-Version: 2025-03-26", True),
        ("X: no version", True),
        ("MCP-Protocol-Version: 2025-06-18", False),
        (NEW, False),
        (NAME, False),
        (METHOD, False),
    ],
)
def test_batches_are_of_the_old_protocol(line: str, passes: bool) -> None:
    asked = head(line)
    if passes:
        check_headers(asked, protocol_version(asked), (PING, CALL), is_batch=True)
    else:
        with pytest.raises(BadJsonRpc):
            check_headers(asked, protocol_version(asked), (PING, CALL), is_batch=True)


@pytest.mark.parametrize(
    ("version", "modern"),
    [
        ("2026-07-28", True),
        ("2027-01-01", True),
        ("2026-07-27", False),
        ("", False),
        ("zzz", False),
    ],
)
def test_modern_is_a_date_from_then_on(version: str, modern: bool) -> None:
    assert is_modern(version) is modern


@pytest.mark.parametrize(
    ("lines", "passes"),
    [
        (("Content-Type: application/json",), True),
        (("Content-Type: Application/JSON; charset=UTF-8",), True),
        (('Content-Type: application/json;charset="utf-8"', "Content-Encoding: identity"), True),
        ((), False),
        (("Content-Type: text/plain",), False),
        (("Content-Type: application/json; charset=utf-16",), False),
        (("Content-Type: application/json, text/plain",), False),
        (("Content-Type: application/json; charset=utf-8; charset=utf-7",), False),
        (("Content-Type: application/json", "Content-Encoding: gzip"), False),
    ],
)
def test_content_is_plain_json(lines: tuple[str, ...], passes: bool) -> None:
    if passes:
        check_content(head(*lines))
    else:
        with pytest.raises(BadJsonRpc) as caught:
            check_content(head(*lines))
        assert caught.value.refusal.status == 415


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(("Content-Encoding: identity", "Content-Encoding: gzip"), id="codings"),
        pytest.param(("Content-Encoding: gzip", "Content-Encoding: identity"), id="the other way"),
        pytest.param(("Content_Encoding: gzip",), id="a coding for CGI"),
        pytest.param(("Content-Type: text/plain",), id="types"),
        pytest.param(("Content_Type: text/plain; charset=utf-16",), id="a type for CGI"),
        pytest.param(("Connection: close, Content-Type",), id="the type for this hop"),
        pytest.param(
            ("Connection: close", "Connection: x,\tmcp-NAME "), id="the name for this hop"
        ),
        pytest.param(("Connection: Mcp-Protocol-Version",), id="the version for this hop"),
    ],
)
def test_what_counts_stands_there_once_and_reaches_the_server(lines: tuple[str, ...]) -> None:
    asked = head("Content-Type: application/json", *lines)
    for check_it in (check_content, protocol_version):
        with pytest.raises(BadJsonRpc) as caught:
            check_it(asked)
        assert caught.value.rpc_code == HEADER_MISMATCH


def test_other_headers_for_this_hop_are_no_matter() -> None:
    check_content(head("Content-Type: application/json", "Connection: keep-alive, X-Mcp-Name"))
