"""How two policies differ, and what one means in short."""

import pytest

from proxy.control.policies import PolicyFailure
from proxy.control.policy_views import MOST_ERRORS, changes_view, effective_view, failure_view
from proxy.policy.compile import load_policy
from proxy.policy.problem import PolicyProblem
from tests.control.desk import POLICY

_A = "a: {match: [{host: a.example}]}"
_B = "b: {match: [{host: b.example}]}"


def _of(*entries: str, rest: str = "") -> str:
    return f"tools: {{allowlist: [a, b, c], catalog: {{{', '.join(entries)}}}}}\n{rest}"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(_of(_A), _of(_A), {}, id="the same"),
        pytest.param(_of(_A), _of(_A, _B), {"added": ["b"]}, id="a tool more"),
        pytest.param(_of(_A, _B), _of(_B), {"removed": ["a"]}, id="a tool less"),
        pytest.param(_of(_A, _B), _of(_B, _A), {"reordered": True}, id="another order"),
        pytest.param(
            _of(_A), _of(_A.replace("a.example", "x.example")), {"changed": ["a"]},
            id="another destination",
        ),
        pytest.param(
            _of(_A, _B), _of(_A, _B).replace("[a, b, c]", "[a, c]"),
            {"changed": ["b"], "sections": ["allowlist"]}, id="not allowed any more",
        ),
        pytest.param(
            _of(_A, _B), _of(_A, _B).replace("catalog", "timeouts_ms: {a: 9}, catalog"),
            {"changed": ["a"]}, id="another timeout",
        ),
        pytest.param(
            _of(_A), _of(_A, rest="budgets: {max_tokens: 1}"), {"sections": ["budgets"]},
            id="another budget",
        ),
    ],
)  # fmt: skip
def test_what_changes(before: str, after: str, expected: dict[str, object]) -> None:
    nothing = {"added": [], "removed": [], "changed": [], "reordered": False, "sections": []}
    assert changes_view(load_policy(before), load_policy(after)) == {**nothing, **expected}


def test_what_a_policy_means() -> None:
    """Defaults included; own patterns are counted, not shown: they say what is secret."""
    text = POLICY + "observability: {redact: {patterns: ['ACME-[0-9]{8}']}}\n"
    view = effective_view(load_policy(text))
    assert view["tools"] == ["search.read", "mail.send", "hidden"]
    assert (view["disabled"], view["writes_disabled"]) == (["mail.send"], False)
    assert "ACME" not in str(view)


def test_a_failure_shows_a_bounded_number_of_errors() -> None:
    assert failure_view(None) is None
    errors = tuple(PolicyProblem("a", line, "b") for line in range(MOST_ERRORS + 5))
    view = failure_view(PolicyFailure(0.0, "file", "why", errors))
    assert view is not None
    shown = view["errors"]
    assert isinstance(shown, list)
    assert (len(shown), shown[1]) == (MOST_ERRORS, {"path": "a", "line": 1, "message": "b"})
