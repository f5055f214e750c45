import pytest

from proxy.guards.switches import Switch, Switches
from proxy.model.call import Caller, Effect
from proxy.model.reason import Reason
from proxy.policy.policy import Policy, ToolRule
from tests.fakes.clock import FakeClock
from tests.guards.rules import a_caller, a_policy, a_tool

READ_TOOL = (a_tool("search.read"),)


def reason_of(
    switches: Switches,
    policy: Policy | None = None,
    rules: tuple[ToolRule, ...] = READ_TOOL,
    effect: Effect = Effect.READ,
    caller: Caller | None = None,
    mcp_tools: tuple[str, ...] = (),
) -> Reason | None:
    refusal = switches.refuse(policy or a_policy(), rules, effect, caller or a_caller(), mcp_tools)
    return None if refusal is None else refusal.reason


@pytest.mark.parametrize(
    ("key", "effect", "expected"),
    [
        pytest.param("all", Effect.READ, Reason.ALL_DISABLED, id="all refuses a read"),
        pytest.param("writes", Effect.WRITE, Reason.WRITES_DISABLED, id="writes refuses a write"),
        pytest.param("writes", Effect.READ, None, id="writes lets a read pass"),
        pytest.param("tool:search.read", Effect.READ, Reason.TOOL_DISABLED, id="the tool is off"),
        pytest.param("tool:search", Effect.READ, None, id="a tool key is no prefix"),
        pytest.param("tool:SEARCH.READ", Effect.READ, None, id="a tool key is case-sensitive"),
        pytest.param("agent:agent-1", Effect.READ, Reason.AGENT_DISABLED, id="the agent is off"),
        pytest.param("agent:agent-2", Effect.READ, None, id="another agent is off"),
        pytest.param("run:run-1", Effect.READ, Reason.RUN_STOPPED, id="the run is stopped"),
        pytest.param("run:run-2", Effect.READ, None, id="another run is stopped"),
        pytest.param("run:agent-1", Effect.READ, None, id="a run key says nothing of agents"),
    ],
)
def test_a_switch_refuses_exactly_what_it_names(
    key: str, effect: Effect, expected: Reason | None
) -> None:
    switches = Switches(FakeClock())
    switches.engage(key, "incident 7", "ops")
    assert reason_of(switches, effect=effect) is expected


def test_nothing_engaged_lets_everything_pass() -> None:
    assert reason_of(Switches(FakeClock()), effect=Effect.WRITE) is None


def test_the_widest_switch_answers() -> None:
    switches = Switches(FakeClock())
    order = [
        ("writes", Reason.WRITES_DISABLED),
        ("tool:search.read", Reason.TOOL_DISABLED),
        ("run:run-1", Reason.RUN_STOPPED),
        ("agent:agent-1", Reason.AGENT_DISABLED),
        ("all", Reason.ALL_DISABLED),
    ]
    for key, expected in order:  # each wider one takes over from the one before
        switches.engage(key, "incident", "ops")
        assert reason_of(switches, effect=Effect.WRITE) is expected


def test_the_answer_shows_the_reason_and_the_switch() -> None:
    switches = Switches(FakeClock())
    switches.engage("tool:search.read", "  bad   answers\nsince noon ", "ops")
    refusal = switches.refuse(a_policy(), READ_TOOL, Effect.READ, a_caller())
    assert refusal is not None
    assert "bad answers since noon" in refusal.detail
    assert refusal.rule == "switch tool:search.read"
    assert refusal.retry_after_ms is None


@pytest.mark.parametrize(
    ("policy", "effect", "expected", "rule"),
    [
        pytest.param(
            a_policy(disabled=frozenset({"search.read"})),
            Effect.READ,
            Reason.TOOL_DISABLED,
            "tools.disabled",
            id="the file disables the tool",
        ),
        pytest.param(
            a_policy(writes_disabled=True),
            Effect.WRITE,
            Reason.WRITES_DISABLED,
            "tools.writes_disabled",
            id="the file disables writes",
        ),
    ],
)
def test_the_policy_file_switches_off_too(
    policy: Policy, effect: Effect, expected: Reason, rule: str
) -> None:
    refusal = Switches(FakeClock()).refuse(policy, READ_TOOL, effect, a_caller())
    assert refusal is not None
    assert (refusal.reason, refusal.rule) == (expected, rule)


@pytest.mark.parametrize(
    ("policy", "effect"),
    [
        pytest.param(a_policy(disabled=frozenset({"other"})), Effect.WRITE, id="another tool"),
        pytest.param(a_policy(writes_disabled=True), Effect.READ, id="a read while writes are off"),
    ],
)
def test_the_policy_file_lets_the_rest_pass(policy: Policy, effect: Effect) -> None:
    assert reason_of(Switches(FakeClock()), policy, effect=effect) is None


@pytest.mark.parametrize("killed", ["first", "second"])
def test_a_tunnel_dies_with_any_tool_that_shares_its_host(killed: str) -> None:
    switches = Switches(FakeClock())
    switches.engage(f"tool:{killed}", "incident", "ops")
    assert reason_of(switches, rules=(a_tool("first"), a_tool("second"))) is Reason.TOOL_DISABLED
    assert reason_of(switches, rules=(a_tool("third"),)) is None


def test_one_mcp_tool_can_be_off_while_its_server_is_on() -> None:
    switches = Switches(FakeClock())
    server = (a_tool("files"),)
    switches.engage("tool:files.delete", "incident", "ops")
    assert reason_of(switches, rules=server, mcp_tools=("files.delete",)) is Reason.TOOL_DISABLED
    assert reason_of(switches, rules=server, mcp_tools=("files.read",)) is None
    switches.engage("tool:files", "incident", "ops")
    assert reason_of(switches, rules=server, mcp_tools=("files.read",)) is Reason.TOOL_DISABLED


def test_a_ttl_ends_to_the_instant_and_ignores_the_wall_clock() -> None:
    clock = FakeClock()
    switches = Switches(clock)
    switch = switches.engage("all", "drill", "ops", ttl_s=60)
    assert switch.expires_s == switch.since_s + 60 == clock.wall() + 60
    clock.jump_wall(3600)
    clock.advance(59.999)
    assert reason_of(switches) is Reason.ALL_DISABLED
    clock.advance(0.001)
    assert reason_of(switches) is None
    assert switches.active() == []
    assert not switches.release("all")


def test_engaging_again_replaces_reason_and_ttl() -> None:
    clock = FakeClock()
    switches = Switches(clock)
    switches.engage("all", "first", "ops", ttl_s=10)
    switches.engage("all", "second", "ops")
    clock.advance(11)
    assert [(switch.reason, switch.expires_s) for switch in switches.active()] == [("second", None)]


def test_release_opens_again_and_tells_whether_there_was_anything() -> None:
    switches = Switches(FakeClock())
    switches.engage("run:run-1", "incident", "ops")
    assert switches.release("run:run-1")
    assert not switches.release("run:run-1")
    assert not switches.release("no such key")
    assert reason_of(switches) is None


@pytest.mark.parametrize(
    ("key", "reason", "ttl_s", "complaint"),
    [
        pytest.param("tools:x", "r", None, "tool:NAME", id="an unknown kind of key"),
        pytest.param("tool:", "r", None, "tool:NAME", id="a key without a name"),
        pytest.param("", "r", None, "tool:NAME", id="an empty key"),
        pytest.param("ALL", "r", None, "tool:NAME", id="all in capitals"),
        pytest.param("run:a\nb", "r", None, "printable", id="a line break in a key"),
        pytest.param("run:" + "x" * 297, "r", None, "300", id="a key of 301 characters"),
        pytest.param("all", "", None, "reason", id="an empty reason"),
        pytest.param("all", " \n ", None, "reason", id="a blank reason"),
        pytest.param("all", "x" * 501, None, "500", id="a reason of 501 characters"),
        pytest.param("all", "a\x1b[2Jb", None, "printable", id="an escape sequence as reason"),
        pytest.param("all", "r", 0, "positive", id="a ttl of zero"),
        pytest.param("all", "r", -1, "positive", id="a negative ttl"),
        pytest.param("all", "r", float("nan"), "positive", id="a ttl that is no number"),
        pytest.param("all", "r", float("inf"), "positive", id="an endless ttl"),
    ],
)
def test_a_bad_switch_is_refused_with_a_sentence(
    key: str, reason: str, ttl_s: float | None, complaint: str
) -> None:
    switches = Switches(FakeClock())
    with pytest.raises(ValueError, match=complaint):
        switches.engage(key, reason, "ops", ttl_s)
    assert switches.active() == []


def test_the_longest_key_and_reason_are_accepted() -> None:
    switches = Switches(FakeClock())
    switches.engage("run:" + "x" * 296, "x" * 500, "ops")
    assert len(switches.active()) == 1


def test_a_full_table_refuses_new_names_but_never_the_emergency_brake() -> None:
    clock = FakeClock()
    switches = Switches(clock, limit=2)
    switches.engage("run:1", "r", "ops")
    switches.engage("run:2", "r", "ops", ttl_s=5)
    with pytest.raises(ValueError, match="2 switches"):
        switches.engage("run:3", "r", "ops")
    switches.engage("run:1", "again", "ops")
    switches.engage("all", "r", "ops")
    switches.engage("writes", "r", "ops")
    switches.release("all")
    switches.release("writes")
    clock.advance(5)
    switches.engage("run:3", "the expired one made room", "ops")
    assert [switch.key for switch in switches.active()] == ["run:1", "run:3"]


def test_subscribers_hear_of_every_change_after_it_took_hold() -> None:
    switches = Switches(FakeClock())
    seen: list[list[str]] = []
    switches.subscribe(lambda: seen.append([switch.key for switch in switches.active()]))
    switches.engage("all", "r", "ops")
    switches.release("all")
    switches.release("all")
    assert seen == [["all"], []]


def test_a_failing_subscriber_neither_undoes_the_kill_nor_hides_it_from_the_others() -> None:
    switches = Switches(FakeClock())
    heard: list[str] = []

    def fail() -> None:
        raise RuntimeError("bug")

    switches.subscribe(lambda: heard.append("first"))
    switches.subscribe(fail)
    switches.subscribe(lambda: heard.append("second"))
    with pytest.raises(RuntimeError):
        switches.engage("all", "r", "ops")
    assert heard == ["first", "second"]
    assert reason_of(switches) is Reason.ALL_DISABLED


def test_a_kept_switch_comes_back_with_the_time_it_has_left() -> None:
    clock = FakeClock()
    kept = Switches(clock).engage("all", "r", "ops", ttl_s=60)
    clock.advance(40)
    restarted = Switches(clock)
    assert restarted.restore(kept)
    assert restarted.active() == [kept]
    clock.advance(19.999)
    assert reason_of(restarted) is Reason.ALL_DISABLED
    clock.advance(0.001)
    assert reason_of(restarted) is None


def test_a_kept_switch_without_ttl_comes_back_and_an_expired_one_does_not() -> None:
    clock = FakeClock()
    switches = Switches(clock)
    assert switches.restore(Switch("all", "r", "ops", clock.wall() - 10**6, None))
    assert not switches.restore(Switch("writes", "r", "ops", 0.0, clock.wall()))
    assert [switch.key for switch in switches.active()] == ["all"]
    with pytest.raises(ValueError, match="tool:NAME"):
        switches.restore(Switch("bad", "r", "ops", 0.0, None))


def test_a_wall_clock_set_back_makes_no_switch_longer_than_it_was_ordered() -> None:
    """A minute is at most a minute after a restart, not a minute and the year between."""
    clock = FakeClock()
    kept = Switches(clock).engage("all", "r", "ops", ttl_s=60)
    clock.jump_wall(-365 * 86_400)
    restarted = Switches(clock)
    assert restarted.restore(kept)
    clock.advance(59.9)
    assert reason_of(restarted) is Reason.ALL_DISABLED
    clock.advance(0.1)
    assert reason_of(restarted) is None


def test_a_switch_that_ends_by_itself_is_told_once() -> None:
    """Whoever finds it first: a call, a list, or the same switch engaged anew. A release is not."""
    clock = FakeClock()
    switches = Switches(clock)
    told: list[tuple[str, str]] = []
    switches.tell_expired(lambda switch: told.append((switch.key, switch.reason)))
    switches.engage("all", "one", "alice", 5)
    switches.engage("tool:a", "two", "alice", 5)
    switches.engage("run:a", "three", "alice", 5)
    switches.engage("run:b", "four", "alice", 5)
    assert switches.release("run:b")
    clock.advance(6)
    assert told == []
    assert not switches.release("all")
    switches.engage("tool:a", "five", "alice", 5)
    assert told == [("all", "one"), ("tool:a", "two")]
    assert [switch.reason for switch in switches.active()] == ["five"]
    switches.active()
    assert told == [("all", "one"), ("tool:a", "two"), ("run:a", "three")]
