"""The last calls and the live tails."""

import pytest

from proxy.model.call import Caller
from proxy.model.reason import Reason
from proxy.policy.policy import RedactRule
from proxy.telemetry.recent import RecentCalls
from proxy.telemetry.redact import Redactor
from tests.telemetry.records import make_record, make_sampled

REDACTOR = Redactor(RedactRule())


def ids(views: list[dict[str, object]]) -> list[object]:
    return [view["call_id"] for view in views]


@pytest.fixture
def recent() -> RecentCalls:
    ring = RecentCalls(limit=4)
    ring.add(make_record(1, tool="a", code=Reason.OK), REDACTOR)
    ring.add(make_record(2, tool="b", code=Reason.TIMEOUT), REDACTOR)
    ring.add(make_record(3, tool="a", code=Reason.TIMEOUT), REDACTOR)
    ring.add(make_record(4, tool="b", caller=Caller("run-2", "x", True)), REDACTOR)
    return ring


class TestFind:
    def test_the_newest_comes_first(self, recent: RecentCalls) -> None:
        assert ids(recent.find()) == ["call-4", "call-3", "call-2", "call-1"]

    def test_the_oldest_leaves_when_the_ring_is_full(self, recent: RecentCalls) -> None:
        recent.add(make_record(5), REDACTOR)
        assert ids(recent.find()) == ["call-5", "call-4", "call-3", "call-2"]

    def test_every_criterion_counts(self, recent: RecentCalls) -> None:
        assert ids(recent.find(tool="a")) == ["call-3", "call-1"]
        assert ids(recent.find(code=Reason.TIMEOUT)) == ["call-3", "call-2"]
        assert ids(recent.find(run="run-2")) == ["call-4"]
        assert ids(recent.find(tool="b", code=Reason.TIMEOUT, run="run-1")) == ["call-2"]
        assert recent.find(tool="c") == []

    @pytest.mark.parametrize(("limit", "count"), [(-1, 0), (0, 0), (1, 1), (4, 4), (99, 4)])
    def test_the_limit_holds(self, recent: RecentCalls, limit: int, count: int) -> None:
        assert len(recent.find(limit=limit)) == count

    def test_a_call_without_caller_matches_no_run(self, recent: RecentCalls) -> None:
        recent.add(make_record(5, caller=None), REDACTOR)
        assert ids(recent.find(run="run-1")) == ["call-3", "call-2"]

    def test_what_is_shown_is_redacted(self, recent: RecentCalls) -> None:
        recent.add(make_record(5, path="/x?token=hunter2"), REDACTOR)
        assert recent.find(limit=1)[0]["path"] == "/x?token=[redacted]"


class TestMemory:
    def test_bodies_are_not_kept_and_the_recorder_still_has_them(self) -> None:
        recent, record = RecentCalls(), make_sampled()
        recent.add(record, REDACTOR)
        kept = recent._ring[0][0]
        assert (kept.request, kept.result) == (None, None)
        assert record.request is not None
        view = recent.find()[0]
        assert (view["sampled"], view["call_id"], view["tool"]) == (True, "call-1", "search.read")
        assert "request" not in view

    def test_an_ordinary_record_is_not_copied(self) -> None:
        recent, record = RecentCalls(), make_record()
        recent.add(record, REDACTOR)
        assert recent._ring[0][0] is record

    def test_a_long_path_is_cut_before_the_half_segment(self) -> None:
        recent = RecentCalls()
        recent.add(make_record(1, path="/a/" + "s" * 3000), REDACTOR)
        recent.add(make_record(2, path="/a?b=1&c=" + "s" * 3000), REDACTOR)
        assert [view["path"] for view in recent.find()] == ["/a?b=[redacted]", "/a"]


class TestTail:
    async def test_it_receives_calls_from_now_on_redacted(self, recent: RecentCalls) -> None:
        tail = recent.subscribe()
        assert tail is not None
        recent.add(make_sampled(5), REDACTOR)
        view = await tail.next()
        assert view["call_id"] == "call-5"
        assert view["path"] == "/v1/search?q=[redacted]"
        assert "request" not in view

    async def test_a_slow_reader_loses_records_and_knows_how_many(self) -> None:
        recent = RecentCalls()
        slow, fast = recent.subscribe(limit=2), recent.subscribe(limit=5)
        assert slow is not None
        assert fast is not None
        for number in range(5):
            recent.add(make_record(number), REDACTOR)
        assert (slow.dropped, fast.dropped, recent.dropped()) == (3, 0, 3)
        assert (await slow.next())["call_id"] == "call-0"
        slow.close()
        assert recent.dropped() == 3  # a counter does not go down

    def test_a_closed_tail_receives_nothing_more(self) -> None:
        recent = RecentCalls()
        tail = recent.subscribe(limit=1)
        assert tail is not None
        tail.close()
        tail.close()
        recent.add(make_record(1), REDACTOR)
        recent.add(make_record(2), REDACTOR)
        assert (tail.dropped, recent.dropped()) == (0, 0)

    def test_there_are_at_most_32(self) -> None:
        recent = RecentCalls()
        tails = [recent.subscribe() for _ in range(32)]
        assert None not in tails
        assert recent.subscribe() is None
        assert recent.turned_away == 1
        assert tails[0] is not None
        tails[0].close()
        assert recent.subscribe() is not None
