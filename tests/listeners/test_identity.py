from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.listeners.identity import SHARED, identify, trace_id_of
from proxy.model.call import Caller
from proxy.model.errors import BadMessage
from proxy.model.reason import Reason
from proxy.policy.policy import BudgetRule
from proxy.wire.head import RequestHead, parse_request_head

RULE = BudgetRule()
ADDRESS = "192.0.2.7"


def head_of(*lines: bytes) -> RequestHead:
    return parse_request_head(b"\r\n".join((b"GET http://h/ HTTP/1.1", *lines, b"", b"")))


def basic(user: bytes, password: bytes = b"x", *, scheme: bytes = b"Basic") -> bytes:
    return b"Proxy-Authorization: " + scheme + b" " + b64encode(user + b":" + password)


def run_of(*lines: bytes) -> str:
    return identify(head_of(*lines), RULE, ADDRESS).run_id


RUNS = [
    pytest.param((basic(b"r1"),), "r1", id="the user name of the proxy's URL"),
    pytest.param((basic(b"r1", scheme=b"bASIC"),), "r1", id="the scheme has no case"),
    pytest.param((basic(b"r1", b""),), "r1", id="an empty password"),
    pytest.param((basic(b"r1", b"a:b"),), "r1", id="a colon in the password"),
    pytest.param((b"Proxy-Authorization: Basic  " + b64encode(b"r1:"),), "r1", id="two blanks"),
    pytest.param((b"X-Agent-Run-Id: r2",), "r2", id="the run header"),
    pytest.param((b"x-agent-RUN-id:\tr2 ",), "r2", id="in any case and spacing"),
    pytest.param((b"baggage: agent.run_id=r3",), "r3", id="baggage"),
    pytest.param((b"baggage: a=1, agent.run_id = r3;p=1 ,b=2",), "r3", id="among other members"),
    pytest.param((b"baggage: a=1", b"baggage: agent.run_id=r3"), "r3", id="on its second line"),
    pytest.param((b"baggage: agent.run_id=r%2F3",), "r/3", id="percent-encoded"),
    pytest.param((b"baggage: agent.run_id=r3,agent.run_id=r4",), "r3", id="the first of two"),
    pytest.param(
        (b"baggage: agent.run_id=r3", b"X-Agent-Run-Id: r2", basic(b"r1")), "r1",
        id="the proxy's URL comes first",
    ),
    pytest.param(
        (b"baggage: agent.run_id=r3", b"X-Agent-Run-Id: r2"), "r2", id="the header before baggage"
    ),
    pytest.param((basic(b""), b"X-Agent-Run-Id: r2"), "r2", id="an empty user name says nothing"),
    pytest.param((b"X-Agent-Run-Id:", b"baggage: agent.run_id=r3"), "r3", id="nor an empty header"),
    pytest.param((b"X-Agent-Run-Id: " + b"r" * 128,), "r" * 128, id="the longest id"),
    pytest.param((b"X-Agent-Run-Id: 9._:@/+=~-z",), "9._:@/+=~-z", id="every sign an id may have"),
    pytest.param((b"X-Agent-Run-Id: sharedx",), "sharedx", id="a name that only begins alike"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "run_id"), RUNS)
def test_the_run_is_what_the_client_says(lines: tuple[bytes, ...], run_id: str) -> None:
    caller = identify(head_of(*lines), RULE, ADDRESS)
    assert caller == Caller(run_id, f"shared:{ADDRESS}", run_given=True)


SILENT = [
    pytest.param((), id="no carrier"),
    pytest.param((basic(b""),), id="an empty user name"),
    pytest.param((b"X-Agent-Run-Id: ",), id="an empty header"),
    pytest.param((b"baggage: a=1",), id="other baggage"),
    pytest.param((b"baggage: agent.run_id=",), id="an empty baggage member"),
    pytest.param((b"baggage: agent.run_idx=r",), id="a longer baggage key"),
    pytest.param((b"Authorization: Basic " + b64encode(b"r:x"),), id="credentials of the origin"),
    pytest.param(
        (b"X-Forwarded-For: 203.0.113.1", b"Forwarded: for=203.0.113.1"), id="further hops"
    ),
    pytest.param((b"X_Agent_Run_Id: r",), id="the header by another name"),
]


@pytest.mark.parametrize("lines", SILENT)
def test_who_says_nothing_shares_the_budget_of_its_address(lines: tuple[bytes, ...]) -> None:
    shared = f"shared:{ADDRESS}"
    assert identify(head_of(*lines), RULE, ADDRESS) == Caller(shared, shared, run_given=False)


@pytest.mark.parametrize("lines", SILENT)
def test_who_says_nothing_is_asked_where_the_policy_wants_a_run(lines: tuple[bytes, ...]) -> None:
    with pytest.raises(BadMessage) as caught:
        identify(head_of(*lines), BudgetRule(reject_missing_run=True), ADDRESS)
    assert caught.value.reason is Reason.RUN_ID_REQUIRED


UNREADABLE = [
    pytest.param(b"Proxy-Authorization: Bearer abc", id="another scheme"),
    pytest.param(b"Proxy-Authorization: Basic", id="a scheme alone"),
    pytest.param(b"Proxy-Authorization:", id="no scheme"),
    pytest.param(b"Proxy-Authorization: Basic r1", id="no base64"),
    pytest.param(b"Proxy-Authorization: Basic cjE6\xff", id="bytes that base64 has not"),
    pytest.param(b"Proxy-Authorization: Basic cjE6 cjI6", id="two of them"),
    pytest.param(b"Proxy-Authorization: Basic " + b64encode(b"r1"), id="no colon"),
    pytest.param(basic(b"r 1"), id="a blank in the user name"),
    pytest.param(basic(b"r\n1"), id="a line end in the user name"),
    pytest.param(basic(b"r\x00"), id="a NUL in the user name"),
    pytest.param(basic(b"shared:192.0.2.1"[:6]) + b"OnNoYXJlZA==", id="padding in the middle"),
    pytest.param(basic(b"\xc3\xa9"), id="a user name beyond ASCII"),
    pytest.param(b"X-Agent-Run-Id: shared:192.0.2.9", id="somebody else's shared budget"),
    pytest.param(b"X-Agent-Run-Id: shared:", id="the reserved prefix alone"),
    pytest.param(b"baggage: agent.run_id=shared%3A192.0.2.9", id="the prefix percent-encoded"),
    pytest.param(b"baggage: agent.run_id=r%0a", id="an encoded line end"),
    pytest.param(b"baggage: agent.run_id=r 1", id="a blank in the baggage"),
    pytest.param(b"X-Agent-Run-Id: " + b"r" * 129, id="an id too long"),
    pytest.param(b"X-Agent-Run-Id: -r", id="an id that begins with a sign"),
    pytest.param(b"X-Agent-Run-Id: r, s", id="a list"),
    pytest.param(b'X-Agent-Run-Id: "r"', id="a quoted id"),
    pytest.param(b"X-Agent-Run-Id: r\xe9", id="an id beyond ASCII"),
    pytest.param(b"X-Agent-Run-Id: {r}", id="an id with brackets"),
    pytest.param(b"X-Agent-Id: a b", id="an agent with a blank"),
    pytest.param(b"X-Agent-Id: shared:192.0.2.9", id="an agent with the reserved prefix"),
]


@pytest.mark.parametrize("line", UNREADABLE)
def test_what_cannot_be_read_is_a_bad_request_and_never_no_run(line: bytes) -> None:
    """Otherwise a typo, or a trick, would move a call into another budget."""
    with pytest.raises(BadMessage) as caught:
        identify(head_of(line), RULE, ADDRESS)
    assert caught.value.reason is Reason.BAD_REQUEST
    assert "192.0.2.9" not in str(caught.value)


def test_a_run_header_is_not_looked_at_where_the_url_has_named_the_run() -> None:
    assert run_of(basic(b"r1"), b"X-Agent-Run-Id: not an id") == "r1"


def test_header_names_come_from_the_policy() -> None:
    rule = BudgetRule(run_header=b"x-job", agent_header=b"x-bot")
    head = head_of(b"X-Job: j", b"X-Bot: b", b"X-Agent-Run-Id: r", b"X-Agent-Id: a")
    assert identify(head, rule, ADDRESS) == Caller("j", "b", run_given=True)


def test_the_agent_is_its_own_header_or_its_address() -> None:
    """Leaving it out must not step around limits per agent."""
    given_both = identify(head_of(b"X-Agent-Id: a1", b"X-Agent-Run-Id: r1"), RULE, ADDRESS)
    assert given_both == Caller("r1", "a1", run_given=True)
    only_agent = identify(head_of(b"X-Agent-Id: a1"), RULE, ADDRESS)
    assert only_agent == Caller(f"shared:{ADDRESS}", "a1", run_given=False)
    empty = identify(head_of(b"X-Agent-Id:", b"X-Agent-Run-Id: r1"), RULE, ADDRESS)
    assert empty.agent_id == f"shared:{ADDRESS}"


OUTER = Caller("outer-run", "outer-agent", run_given=True)


def test_inside_a_tunnel_its_opener_is_who_calls() -> None:
    assert identify(head_of(), RULE, ADDRESS, OUTER) == OUTER
    strict = BudgetRule(reject_missing_run=True)
    assert identify(head_of(), strict, ADDRESS, OUTER) == OUTER


def test_inside_a_tunnel_the_request_s_own_word_comes_first() -> None:
    own = identify(head_of(b"X-Agent-Run-Id: r", b"X-Agent-Id: a"), RULE, ADDRESS, OUTER)
    assert own == Caller("r", "a", run_given=True)
    mixed = identify(head_of(b"X-Agent-Run-Id: r"), RULE, ADDRESS, OUTER)
    assert mixed == Caller("r", "outer-agent", run_given=True)


def test_a_tunnel_without_a_run_gives_none() -> None:
    outer = Caller(f"shared:{ADDRESS}", "a", run_given=False)
    assert identify(head_of(), RULE, ADDRESS, outer) == outer
    with pytest.raises(BadMessage):
        identify(head_of(), BudgetRule(reject_missing_run=True), ADDRESS, outer)


@given(value=st.binary(max_size=40).map(lambda b: bytes(c for c in b if c >= 32 and c != 127)))
@settings(max_examples=300, deadline=None)
def test_any_value_is_an_id_or_a_bad_message(value: bytes) -> None:
    """And no value makes an id that could be taken for a shared one or break a record."""
    for line in (
        b"X-Agent-Run-Id: " + value, basic(value), b"Proxy-Authorization: " + value,
        b"Proxy-Authorization: Basic " + value, b"baggage: agent.run_id=" + value,
    ):  # fmt: skip
        try:
            caller = identify(head_of(line), RULE, ADDRESS)
        except BadMessage:
            continue
        assert caller.run_given is not caller.run_id.startswith(SHARED)
        assert len(caller.run_id) <= 128
        assert caller.run_id.isascii()
        assert caller.run_id.isprintable()
        assert " " not in caller.run_id


TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACES = [
    pytest.param(f"00-{TRACE_ID}-b7ad6b7169203331-01", TRACE_ID, id="version 00"),
    pytest.param(f"01-{TRACE_ID}-b7ad6b7169203331-01-more", TRACE_ID, id="a later version"),
    pytest.param(f"00-{TRACE_ID.upper()}-b7ad6b7169203331-01", "", id="capitals are not allowed"),
    pytest.param(f"00-{TRACE_ID[1:]}-b7ad6b7169203331-01", "", id="a digit short"),
    pytest.param(f"00-{TRACE_ID}0-b7ad6b7169203331-01", "", id="a digit long"),
    pytest.param(TRACE_ID, "", id="the id alone"),
    pytest.param("", "", id="nothing"),
]


@pytest.mark.parametrize(("value", "trace_id"), TRACES)
def test_the_trace_id_is_read_or_there_is_none(value: str, trace_id: str) -> None:
    assert trace_id_of(head_of(b"Traceparent: " + value.encode())) == trace_id
    assert trace_id_of(head_of()) == ""
