"""What is shown of things."""

import pytest

from proxy.control.views import destination_text, run_view
from proxy.policy.policy import Destination
from tests.control.desk import Desk


@pytest.mark.parametrize(
    ("destination", "text"),
    [
        (Destination("a.example", None, None, None), "a.example"),
        (Destination("::1", frozenset({443, 80}), None, None), "[::1]:80,443"),
        (
            Destination("*", None, frozenset({"GET", "HEAD"}), ("/a", "/b/**")),
            "GET,HEAD * /a /b/**",
        ),
    ],
)
def test_destinations_in_words(destination: Destination, text: str) -> None:
    assert destination_text(destination) == text


def test_limits_of_a_run_are_shown_in_dollars() -> None:
    desk = Desk()
    desk.start_run("r").settle(0)
    desk.ledger.limit("r", {"max_spend_micros": 1_500_000, "max_steps": 3})
    run = desk.ledger.run_view(desk.policy.budgets, "r")
    assert run is not None
    assert run_view(run, None)["limits"] == {"max_spend_usd": 1.5, "max_steps": 3}
