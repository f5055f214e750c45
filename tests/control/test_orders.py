"""What operators ask for, read strictly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.control.orders import (
    LONGEST_TTL_S,
    CallQuery,
    RunQuery,
    SwitchOrder,
    read_call_query,
    read_name,
    read_run_query,
    read_switch_order,
    suggestion,
)
from proxy.control.problem import ProblemError
from proxy.model.reason import Reason


@pytest.mark.parametrize(
    ("body", "order"),
    [
        pytest.param(b'{"reason": "leak"}', SwitchOrder("leak", None), id="for good"),
        pytest.param(b'{"reason":"x","ttl_seconds":600}', SwitchOrder("x", 600), id="ten minutes"),
        pytest.param(
            b'{"reason":"x","ttl_seconds":0.5}', SwitchOrder("x", 0.5), id="half a second"
        ),
        pytest.param(
            b'{"reason":"x","ttl_seconds":%d}' % LONGEST_TTL_S,
            SwitchOrder("x", LONGEST_TTL_S),
            id="the longest time",
        ),
    ],
)
def test_good_orders(body: bytes, order: SwitchOrder) -> None:
    """A reason, and perhaps a time."""
    assert read_switch_order(body) == order


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="nothing"),
        pytest.param(b"reason=x", 400, id="a form"),
        pytest.param(b'{"reason": "\xff"}', 400, id="not UTF-8"),
        pytest.param(b'{"reason":"x","ttl_seconds":NaN}', 400, id="NaN is not JSON"),
        pytest.param(b"[" * 60_000, 400, id="nested without end"),
        pytest.param(b'["x"]', 422, id="not an object"),
        pytest.param(b"null", 422, id="null"),
        pytest.param(b"{}", 422, id="no reason"),
        pytest.param(b'{"reason": 5}', 422, id="a reason that is no text"),
        pytest.param(b'{"reason": null}', 422, id="a null reason"),
        pytest.param(b'{"reason":"x","ttl_second":5}', 422, id="a misspelt key"),
        pytest.param(b'{"reason":"x","ttl_seconds":"600"}', 422, id="time as text"),
        pytest.param(b'{"reason":"x","ttl_seconds":true}', 422, id="time as a boolean"),
        pytest.param(b'{"reason":"x","ttl_seconds":null}', 422, id="a null time is not for good"),
        pytest.param(b'{"reason":"x","ttl_seconds":0}', 422, id="no time"),
        pytest.param(b'{"reason":"x","ttl_seconds":-1}', 422, id="negative time"),
        pytest.param(b'{"reason":"x","ttl_seconds":1e308}', 422, id="longer than a date can be"),
        pytest.param(
            b'{"reason":"x","ttl_seconds":%d}' % (LONGEST_TTL_S + 1), 422, id="a second too long"
        ),
    ],
)
def test_bad_orders(body: bytes, status: int) -> None:
    """Nothing is guessed and nothing ignored."""
    with pytest.raises(ProblemError) as caught:
        read_switch_order(body)
    assert caught.value.problem.status == status


@given(st.binary(max_size=200))
def test_any_bytes_are_an_order_or_a_problem(body: bytes) -> None:
    """Never another exception."""
    status = 200
    try:
        read_switch_order(body)
    except ProblemError as error:
        status = error.problem.status
    assert status in (200, 400, 422)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        pytest.param("/v1/runs/r1", "r1", id="plain"),
        pytest.param("/v1/runs/a%2Fb%3Ac%40d", "a/b:c@d", id="encoded separators"),
        pytest.param("/v1/runs/a/b:c@d", "a/b:c@d", id="bare separators"),
        pytest.param("/v1/runs/100%2525", "100%25", id="decoded once"),
        pytest.param("/v1/runs/a+b?x=1", "a+b", id="a plus stays, the query goes"),
        pytest.param("/v1/runs/%C3%A9", "é", id="UTF-8"),
    ],
)
def test_names_are_taken_from_the_raw_path(path: str, name: str) -> None:
    """Ids may hold anything."""
    assert read_name(path, "/v1/runs/") == name


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/runs/", 404),
        ("/v1/%72uns/r1", 404),
        ("/v1/runs/%zz", 422),
        ("/v1/runs/%ff", 422),
        ("/v1/runs/a%", 422),
    ],
)
def test_paths_that_name_nothing(path: str, status: int) -> None:
    """A broken escape could be read in two ways."""
    with pytest.raises(ProblemError) as caught:
        read_name(path, "/v1/runs/")
    assert caught.value.problem.status == status


def test_call_queries() -> None:
    """Filters are optional, limits bounded."""
    assert read_call_query({}) == CallQuery(None, None, None, 100)
    full = {"tool": "a", "code": "timeout", "run": "r", "limit": "7"}
    assert read_call_query(full) == CallQuery("a", Reason.TIMEOUT, "r", 7)
    assert read_call_query({"limit": "999999"}).limit == 1000
    assert read_run_query({"limit": "1"}) == RunQuery(1, "last")
    assert read_run_query({"sort": "spend"}) == RunQuery(100, "spend")


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"too": "x"}, "too"),
        ({"code": "time_out"}, "timeout"),
        ({"limit": "0"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
    ],
)
def test_bad_queries_say_what_is_wrong(query: dict[str, str], word: str) -> None:
    """A misspelt filter must not list everything."""
    with pytest.raises(ProblemError) as caught:
        read_call_query(query)
    assert caught.value.problem.status == 422
    assert word in caught.value.problem.detail


def test_suggestions() -> None:
    """Close names are offered, far ones are not."""
    assert suggestion("search.raed", ["search.read", "mail"]) == " (did you mean search.read?)"
    assert suggestion("zzz", ["search.read"]) == ""
