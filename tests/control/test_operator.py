"""The operator without HTTP: what the routes rely on."""

import pytest

from proxy.control.access import Role, Visitor
from proxy.control.problem import ProblemError
from tests.control.desk import Desk


@pytest.mark.parametrize(
    ("name", "is_known"),
    [
        pytest.param("search.read", True, id="a tool of the catalog"),
        pytest.param("search.read.sub.tool", True, id="below one"),
        pytest.param("search", False, id="the head of a name"),
        pytest.param("search.readx", False, id="a longer name"),
    ],
)
def test_which_tools_are_known(name: str, is_known: bool) -> None:
    refused = False
    try:
        Desk().operator.check_tool_known(name)
    except ProblemError as error:
        refused = error.problem.code == "tool_unknown"
    assert refused is not is_known


async def test_an_act_is_told_with_who_when_and_what_else() -> None:
    desk = Desk()
    alice = Visitor(Role.ADMIN, "alice")
    await desk.operator.audit_first(alice, "run.limit", "run:r", changes={"a": 1})
    assert desk.audited == [
        {
            "ts": "2027-01-15T08:00:00.000Z", "event": "admin", "actor": "alice", "role": "admin",
            "action": "run.limit", "key": "run:r", "reason": "", "outcome": "done",
            "changes": {"a": 1},
        }
    ]  # fmt: skip
