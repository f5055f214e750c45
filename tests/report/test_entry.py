import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.reason import Reason
from proxy.report.entry import LONGEST_TEXT, is_remainder, read_entry
from proxy.telemetry.line import minimal_line, record_line
from tests.report.records import NOON_S, REDACTOR, line
from tests.telemetry.records import make_record, make_sampled

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def test_a_line_of_the_recorder_is_read() -> None:
    record = make_record(
        ts=NOON_S, code=Reason.TIMEOUT, attempts=3, total_ms=8000.5, request_bytes=5,
        response_bytes=7, cost_micros=1500, tokens=9, status=504, detail="Too slow.",
    )  # fmt: skip
    entry = read_entry(record_line(record, REDACTOR))
    assert entry is not None
    assert entry._asdict() == {
        "at_s": NOON_S, "run_id": "run-1", "tool": "search.read", "code": "timeout",
        "mode": "absolute", "method": "GET", "place": "api.search.example/v1/search?q=[redacted]",
        "call_id": "call-1", "status": 504, "attempts": 3, "total_ms": 8000.5, "sent_bytes": 5,
        "received_bytes": 7, "cost_usd": 0.0015, "tokens": 9, "detail": "Too slow.",
    }  # fmt: skip


def test_a_line_with_bodies_is_read_like_any_other() -> None:
    assert read_entry(record_line(make_sampled(), REDACTOR)) is not None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"ts": "2026-01-01T00:00:00Z", "code": "o', id="cut off"),
        pytest.param(b"2026-01-01 ERROR something else", id="of another program"),
        pytest.param(b"[1]", id="no object"),
        pytest.param(b'{"code": "ok"}', id="without a time"),
        pytest.param(b'{"ts": "yesterday", "code": "ok"}', id="a time that is none"),
        pytest.param(b'{"ts": "9999-01-01", "code": "ok"}', id="a time out of all proportion"),
        pytest.param(b'{"ts": "2026-01-01T00:00:00Z"}', id="without a code"),
        pytest.param(b'{"ts": "2026-01-01T00:00:00Z", "code": 5}', id="a code that is none"),
        pytest.param(b"\xff\xfe{", id="no UTF-8"),
        pytest.param(b"[" * 100_000, id="a pit of brackets"),
    ],
)
def test_what_is_no_record_is_none(text: bytes) -> None:
    assert read_entry(text) is None


@given(st.dictionaries(st.sampled_from(sorted(orjson.loads(line()))), JSON))
def test_fields_of_any_type_do_no_harm(fields: dict[str, object]) -> None:
    try:
        entry = read_entry(line(**fields))
    except TypeError:  # orjson cannot write what it is given: no line of ours
        return
    if entry is not None:
        assert all(v >= 0 for v in entry if isinstance(v, int | float))
        assert all(len(v) <= LONGEST_TEXT for v in entry if isinstance(v, str))


def test_a_negative_or_absurd_amount_is_nothing() -> None:
    entry = read_entry(line(cost_usd=-5, tokens=1e300, total_ms=True, attempts="2"))
    assert entry is not None
    assert (entry.cost_usd, entry.tokens, entry.total_ms, entry.attempts) == (0, 0, 0, 0)


def test_what_is_left_of_a_record_that_could_not_be_formatted_is_known() -> None:
    left = minimal_line(make_record())
    assert read_entry(left) is None
    assert is_remainder(left)
    assert not is_remainder(line())
