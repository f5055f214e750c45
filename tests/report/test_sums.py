from proxy.report.entry import Entry, read_entry
from proxy.report.outcome import Outcome
from proxy.report.sums import Sums
from tests.report.records import NOON_S, at, line


def entry(**values: object) -> Entry:
    found = read_entry(line(**values))
    assert found is not None
    return found


def test_calls_add_up() -> None:
    sums = Sums()
    sums.add(entry(attempts=3, cost_usd=0.1, tokens=5), Outcome.OK, "ok")
    sums.add(entry(ts=at(5), attempts=1, cost_usd=0.2, request_bytes=7), Outcome.FAILED, "timeout")
    sums.add(entry(ts=at(-5), attempts=0, response_bytes=9), Outcome.REFUSED, "busy")
    assert (sums.calls, sums.retries, sums.tokens) == (3, 2, 5)
    assert (sums.sent_bytes, sums.received_bytes) == (7, 9)
    assert sums.cost_micros == 301_000  # the third has the cost of any record here
    assert sums.codes == {"timeout": 1, "busy": 1}
    assert (sums.first_s, sums.last_s) == (NOON_S - 5, NOON_S + 5)
    assert sums.by_outcome[Outcome.OK] == 1


def test_a_million_small_amounts_add_up_exactly() -> None:
    sums = Sums()
    one = entry(cost_usd=0.1)
    for _ in range(1000):
        sums.add(one, Outcome.OK, "ok")
    assert sums.cost_usd == 100.0


def test_times_leave_out_tunnels_and_what_was_never_sent() -> None:
    sums = Sums()
    sums.add(entry(mode="connect", total_ms=9e6), Outcome.OK, "ok")
    sums.add(entry(attempts=0, total_ms=0.1), Outcome.REFUSED, "busy")
    assert (sums.durations.count, sums.tunnels) == (0, 1)
    sums.add(entry(attempts=0, total_ms=8000), Outcome.FAILED, "timeout")
    assert sums.durations.count == 1
