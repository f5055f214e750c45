import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.guards.amount import NO_ESTIMATE, Estimate
from proxy.guards.budget import Ledger, Reservation
from proxy.guards.meter import (
    ASSUMED_OUTPUT_TOKENS,
    Meter,
    guess_usage,
    price_micros,
    readable_coding,
)
from proxy.guards.usage import Usage
from proxy.model.call import Caller, Kind
from proxy.policy.policy import BudgetRule, Pricing
from proxy.wire.head import parse_request_head, parse_response_head
from tests.fakes.clock import FakeClock

PRICING = Pricing(3_000_000, 15_000_000)  # 3 and 15 dollars a million
CALLER = Caller("r", "a", True)

PRICES = [
    pytest.param(None, Usage(1000, 1000), 0, id="without a price it is free"),
    pytest.param(PRICING, Usage(0, 0), 0, id="nothing used"),
    pytest.param(PRICING, Usage(1000, 100), 4500, id="in and out"),
    pytest.param(Pricing(50_000, 0), Usage(1, 0), 1, id="a begun micro is a micro"),
    pytest.param(Pricing(500_000, 500_000), Usage(1, 1), 1, id="rounded once, not twice"),
    pytest.param(Pricing(0, 0), Usage(10**9, 10**9), 0, id="a price of nothing"),
]


@pytest.mark.parametrize(("pricing", "usage", "expected"), PRICES)
def test_price(pricing: Pricing | None, usage: Usage, expected: int) -> None:
    assert price_micros(pricing, usage) == expected


def body(**keys: object) -> bytes:
    return orjson.dumps(keys)


ASSUMED = ASSUMED_OUTPUT_TOKENS
GUESSES = [
    pytest.param(b"", 0, Usage(0, ASSUMED), id="nothing"),
    pytest.param(b"", 4000, Usage(1000, ASSUMED), id="a body that was not kept"),
    pytest.param(body(max_tokens=50), 16, Usage(4, 50), id="chat, the old name"),
    pytest.param(body(max_completion_tokens=50), 16, Usage(4, 50), id="chat, the new"),
    pytest.param(body(max_output_tokens=50), 16, Usage(4, 50), id="responses"),
    pytest.param(body(generationConfig={"maxOutputTokens": 50}), 16, Usage(4, 50), id="Gemini"),
    pytest.param(body(options={"num_predict": 50}), 16, Usage(4, 50), id="Ollama"),
    pytest.param(body(messages=[]), 16, Usage(4, ASSUMED), id="it does not say"),
    pytest.param(body(max_tokens=-50), 16, Usage(4, ASSUMED), id="a negative limit is none"),
    pytest.param(body(max_tokens=0), 16, Usage(4, ASSUMED), id="nor is zero"),
    pytest.param(body(max_tokens="50"), 16, Usage(4, ASSUMED), id="nor is a text"),
    pytest.param(body(max_tokens=1e300), 16, Usage(4, 1_000_000_000), id="an absurd one is cut"),
    pytest.param(b"[1]", 3, Usage(1, ASSUMED), id="a list"),
    pytest.param(b"{" * 9999, 9999, Usage(2500, ASSUMED), id="broken"),
    pytest.param(b'{"max_tokens":9000,"m":"\\ud800"}', 4, Usage(1, 9000), id="half a surrogate"),
    pytest.param(b'\xef\xbb\xbf{"max_tokens":9000}', 4, Usage(1, 9000), id="a byte order mark"),
    pytest.param(b'{"max_tokens":9000,"t":NaN}', 4, Usage(1, 9000), id="a number that is none"),
    pytest.param('{"max_tokens":9000}'.encode("utf-16"), 4, Usage(1, 9000), id="UTF-16"),
    pytest.param(b'{"max_tokens":NaN}', 4, Usage(1, ASSUMED), id="no number as limit"),
    pytest.param(
        b'{"max_tokens":9,"m":[' + b"[]," * 87_000 + b"0]}", 4, Usage(1, ASSUMED),
        id="more lists than are parsed",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("content", "size", "expected"), GUESSES)
def test_guess(content: bytes, size: int, expected: Usage) -> None:
    assert guess_usage(content, size) == expected


HOLDS = [
    pytest.param(PRICING, None, NO_ESTIMATE, id="nothing depends on it"),
    pytest.param(PRICING, Usage(0, 0), Estimate(1, 0), id="a priced call holds at least a micro"),
    pytest.param(PRICING, Usage(1000, 0), Estimate(3000, 1000), id="tokens and their price"),
    pytest.param(None, Usage(4, 50), Estimate(0, 54), id="without a price"),
]


@pytest.mark.parametrize(("pricing", "guess", "expected"), HOLDS)
def test_what_is_held(pricing: Pricing | None, guess: Usage | None, expected: Estimate) -> None:
    assert Meter(pricing, guess).estimate == expected


CODINGS = [
    pytest.param([], b"identity", id="not said"),
    pytest.param(["gzip, deflate, br, zstd"], b"gzip", id="what SDKs say"),
    pytest.param(["br", "GZIP;q=0.5"], b"gzip", id="in two lines"),
    pytest.param(["*"], b"gzip", id="any"),
    pytest.param(["gzip;q=0, *"], b"identity", id="any but gzip"),
    pytest.param(["gzip; q=0.000"], b"identity", id="refused"),
    pytest.param(["br, zstd"], b"identity", id="only others"),
    pytest.param(["identity"], b"identity", id="none"),
]


@pytest.mark.parametrize(("values", "expected"), CODINGS)
def test_readable_coding(values: list[str], expected: bytes) -> None:
    lines = "".join(f"Accept-Encoding: {value}\r\n" for value in values)
    head = parse_request_head(f"GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode())
    assert readable_coding(head) == b"Accept-Encoding: " + expected


ANSWER = b'{"usage":{"prompt_tokens":1000,"completion_tokens":100}}'
START = b'data: {"message":{"usage":{"input_tokens":1000,"output_tokens":100}}}\n\n'
EVENT = b'data: {"delta":"a"}\n\n'
GUESS = Usage(500, 400)
HELD = Estimate(7500, 900)
JSON, EVENTS = "application/json", "text/event-stream"
LONG = b"x" * 4000
TOO_LARGE = b'data: {"delta":"usage' + b"x" * (5 << 20) + b'"}\n\n'
LISTS = b'{"usage":{"completion_tokens":1},"m":[' + b"[]," * 50_000 + b"0]}"
SURROGATE = b'{"m":"\\ud800","usage":{"prompt_tokens":1000,"completion_tokens":100}}'
SAID = Estimate(4500, 1100)
USES = [
    pytest.param(0, JSON, b"", False, HELD, False, id="no answer came: the guess"),
    pytest.param(500, JSON, ANSWER, True, NO_ESTIMATE, False, id="an error uses nothing"),
    pytest.param(302, JSON, b"", True, NO_ESTIMATE, False, id="nor does a redirect"),
    pytest.param(204, JSON, b"", True, NO_ESTIMATE, False, id="nor an answer without content"),
    pytest.param(200, JSON, ANSWER, True, SAID, False, id="what it says"),
    pytest.param(200, JSON, SURROGATE, True, SAID, False, id="in whatever its client can read"),
    pytest.param(200, JSON, b"{}", True, HELD, True, id="it does not say: the guess"),
    pytest.param(200, JSON, LONG, True, Estimate(16500, 1500), True, id="or its text, if longer"),
    pytest.param(200, JSON, LISTS, True, Estimate(564_165, 38_011), True, id="too much to parse"),
    pytest.param(200, "audio/mpeg", LONG, True, HELD, True, id="a sound is no text"),
    pytest.param(200, JSON, ANSWER, False, HELD, False, id="it broke off before it could say"),
    pytest.param(200, JSON, LONG, False, Estimate(16500, 1500), False, id="after much text"),
    pytest.param(
        200, EVENTS, START, False, Estimate(9000, 1400), False, id="broken off: whichever is more"
    ),
    pytest.param(200, EVENTS, START, True, SAID, False, id="a whole stream"),
    pytest.param(
        200, EVENTS, EVENT * 10, True, Estimate(1650, 510), True, id="that says nothing: its events"
    ),
    pytest.param(200, EVENTS, b"", True, Estimate(1515, 501), True, id="one at least"),
    pytest.param(
        200, EVENTS, EVENT * 1000, False, Estimate(16500, 1500), False, id="left after many events"
    ),
    pytest.param(200, EVENTS, EVENT, False, HELD, False, id="left after few"),
    pytest.param(
        200, EVENTS, START + TOO_LARGE, True, Estimate(9000, 1400), True, id="given up midway"
    ),
    pytest.param(
        200, EVENTS, START + TOO_LARGE + EVENT * 1000, True, Estimate(18_030, 2002), True,
        id="and events counted on",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("status", "kind", "content", "whole", "used", "unread"), USES)
def test_what_a_call_is_charged(
    status: int, kind: str, content: bytes, whole: bool, used: Estimate, unread: bool
) -> None:
    meter = Meter(PRICING, GUESS)
    if status:
        raw = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n\r\n"
        reader = meter.filter_for(parse_response_head(raw.encode()))
        if reader is not None:
            for at in range(0, len(content), 65536):
                reader.feed(content[at : at + 65536])
        if reader is not None and whole:
            reader.finish()
    assert meter.estimate == HELD
    assert (meter.used, meter.is_unread) == (used, unread)


def test_without_a_guess_only_what_is_said_counts() -> None:
    for content, used in ((LONG, NO_ESTIMATE), (ANSWER, Estimate(0, 1100))):
        meter = Meter(None)
        reader = meter.filter_for(parse_response_head(b"HTTP/1.1 200 OK\r\n\r\n"))
        assert reader is not None
        reader.feed(content)
        reader.finish()
        assert meter.used == used


def test_a_hundred_calls_at_once_cannot_all_count_on_the_same_rest() -> None:
    """Each says it may use 100 tokens: of 1,000 that are left, ten pass. One that does not say
    holds all of it."""
    estimate = Meter(None, guess_usage(body(max_tokens=96), 16)).estimate
    ledger, rule = Ledger(FakeClock()), BudgetRule(max_tokens=1000)
    verdicts = [
        ledger.reserve(rule, CALLER, Kind.MODEL, 0, None, estimate=estimate) for _ in range(100)
    ]
    assert sum(isinstance(verdict, Reservation) for verdict in verdicts) == 10
    ledger, silent = Ledger(FakeClock()), Meter(None, guess_usage(body(messages=[]), 16)).estimate
    verdicts = [
        ledger.reserve(rule, CALLER, Kind.MODEL, 0, None, estimate=silent) for _ in range(100)
    ]
    assert sum(isinstance(verdict, Reservation) for verdict in verdicts) == 1


NUMBER = st.integers(-(2**70), 2**70) | st.floats() | st.booleans() | st.text(max_size=2)
USAGES = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"]), NUMBER
)
CALLS = st.lists(
    st.tuples(st.sampled_from([0, 200, 500]), USAGES, st.booleans(), st.integers(-9, 10**12)),
    max_size=12,
)


@given(CALLS)
def test_spend_never_goes_back_and_is_the_sum_of_what_was_charged(
    calls: list[tuple[int, dict[str, object], bool, int]],
) -> None:
    """Whatever upstreams answer and agents ask for."""
    ledger, rule = Ledger(FakeClock()), BudgetRule()
    micros = tokens = 0
    for status, usage, whole, limit in calls:
        meter = Meter(PRICING, guess_usage(body(max_tokens=limit), 8))
        held = ledger.reserve(rule, CALLER, Kind.MODEL, 7, None, estimate=meter.estimate)
        assert isinstance(held, Reservation)
        if status:
            head = parse_response_head(f"HTTP/1.1 {status} X\r\n\r\n".encode())
            reader = meter.filter_for(head)
            if reader is not None:
                reader.feed(orjson.dumps({"usage": usage}, option=orjson.OPT_NON_STR_KEYS)
                            if _is_writable(usage) else b'{"usage":1}')  # fmt: skip
            if reader is not None and whole:
                reader.finish()
        used = meter.used
        assert used.micros >= 0
        assert used.tokens >= 0
        held.settle(7 + used.micros, used.tokens)
        micros, tokens = micros + 7 + used.micros, tokens + used.tokens
        view = ledger.run_view(rule, "r")
        assert view is not None
        assert (view.used.spend_micros, view.used.tokens) == (micros, tokens)


def _is_writable(usage: dict[str, object]) -> bool:
    """orjson writes integers of 64 bits only."""
    return all(not isinstance(n, int) or -(2**63) <= n < 2**63 for n in usage.values())
