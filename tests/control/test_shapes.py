"""The shapes themselves: requests are closed, ranges are the ones that are judged by."""

import pytest

from proxy.control.orders import read_limit_order, read_look_order, read_switch_order
from proxy.control.shapes import SHAPES
from tests.control.json_schema import misfits


def test_requests_are_closed_and_answers_are_open() -> None:
    """A misspelt key in a request is an error; answers may gain fields."""
    for name, shape in SHAPES.items():
        assert (shape.get("additionalProperties") is False) == name.endswith("Order"), name


_READERS = {
    "SwitchOrder": read_switch_order,
    "LimitOrder": read_limit_order,
    "ObservabilityOrder": read_look_order,
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SwitchOrder", {"reason": "x", "ttl_seconds": 366 * 86_400}),
        ("LimitOrder", {"max_steps": 0, "max_seconds": 0.001, "max_spend_usd": 10**9}),
        ("LimitOrder", {"max_bytes": None}),
        ("ObservabilityOrder", {"ttl_seconds": 3600, "result_sample_rate": 1}),
        ("ObservabilityOrder", {"ttl_seconds": 0.1, "max_result_bytes": 1024 * 1024, "run": "r"}),
    ],
)
def test_what_is_at_the_edge_is_taken(name: str, value: dict[str, object]) -> None:
    """By the shape and by the reader alike. (That what is beyond is refused by both: the tests of
    the description.)"""
    import json

    assert misfits(value, SHAPES[name]) == []
    assert _READERS[name](json.dumps(value).encode())
