import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model.clock import SystemClock, parse_timestamp, utc_date, utc_timestamp

NEW_YEAR_S = 1_767_225_600  # 2026-01-01T00:00:00Z
MOMENTS = [
    pytest.param(0, "1970-01-01T00:00:00.000Z", id="the beginning"),
    pytest.param(NEW_YEAR_S, "2026-01-01T00:00:00.000Z", id="a whole second"),
    pytest.param(NEW_YEAR_S + 0.0015, "2026-01-01T00:00:00.001Z", id="a millisecond and a half"),
    pytest.param(NEW_YEAR_S + 0.0009, "2026-01-01T00:00:00.000Z", id="less is cut off"),
    pytest.param(NEW_YEAR_S + 0.25, "2026-01-01T00:00:00.250Z", id="milliseconds have 3 digits"),
    pytest.param(NEW_YEAR_S - 0.5, "2025-12-31T23:59:59.500Z", id="the last moment of a year"),
    pytest.param(NEW_YEAR_S - 0.0001, "2025-12-31T23:59:59.999Z", id="never 1000 milliseconds"),
    pytest.param(1_709_164_800, "2024-02-29T00:00:00.000Z", id="a leap day"),
]


@pytest.mark.parametrize(("wall_s", "text"), MOMENTS)
def test_timestamps_are_utc_with_milliseconds(wall_s: float, text: str) -> None:
    assert utc_timestamp(wall_s) == text
    assert utc_date(wall_s) == text[:10]


def test_local_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daily budget must not begin when the machine's midnight comes, or move with its clocks."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        assert utc_date(NEW_YEAR_S - 1) == "2025-12-31"
        assert utc_timestamp(NEW_YEAR_S) == "2026-01-01T00:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


@given(wall_s=st.floats(0, 4e9))
def test_a_timestamp_reads_back_as_its_moment(wall_s: float) -> None:
    read = datetime.fromisoformat(utc_timestamp(wall_s))
    assert read.tzinfo == UTC
    assert -0.00001 <= wall_s - read.timestamp() < 0.00101


def test_the_system_clock_moves_on() -> None:
    clock = SystemClock()
    first = clock.monotonic()
    assert clock.monotonic() >= first
    assert utc_date(clock.wall()) >= "2026"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86_400), ("1970-01-01T01:00:00Z", 3600), ("1970-01-01T01:00:00", 3600),
        ("1970-01-01T01:00:00+01:00", 0), ("1970-01-01T00:00:00.5Z", 0.5), ("soon", None),
        ("", None), ("12:00", None),
    ],
)  # fmt: skip
def test_a_time_is_read_back(text: str, seconds: float | None) -> None:
    assert parse_timestamp(text) == seconds
