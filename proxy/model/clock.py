"""Time, as an argument.

Everything that measures or waits takes a `Clock`, so that tests move time by hand. Durations and
deadlines use the monotonic clock (a jump of the wall clock must neither refund a budget nor end a
call); only timestamps in records and the UTC date of daily budgets read the wall clock.
"""

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

# Final: compiled code then has no need to look them up, a dozen times a call.
_monotonic: Final = time.monotonic  # noqa: TID251
_wall: Final = time.time  # noqa: TID251


class Clock:
    """The two clocks a decision may read. A class to be extended, not a protocol: compiled, calling
    it costs a tenth of that, and it is read a dozen times a call."""

    def monotonic(self) -> float:
        """Seconds that only ever grow; the origin means nothing."""
        raise NotImplementedError

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        raise NotImplementedError


class SystemClock(Clock):
    """The real clocks. The only place in the project that reads them."""

    def monotonic(self) -> float:
        """See `Clock`."""
        return _monotonic()

    def wall(self) -> float:
        """See `Clock`."""
        return _wall()


def utc_timestamp(wall_s: float) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-01-31T23:59:59.123Z`."""
    second = int(wall_s // 1)
    return f"{_to_the_second(second)}.{int((wall_s - second) * 1000):03d}Z"


def parse_timestamp(text: str) -> float | None:
    """Seconds since 1970-01-01 UTC of an RFC 3339 time, or of a date at its midnight; without a
    zone it is UTC. None for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@lru_cache(maxsize=8)
def _to_the_second(second: int) -> str:
    """Formatting a date costs more than the rest of a log line; calls come many a second."""
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"


def utc_date(wall_s: float) -> str:
    """The UTC calendar date a daily budget belongs to: `2026-01-31`."""
    return f"{datetime.fromtimestamp(wall_s, UTC):%Y-%m-%d}"
