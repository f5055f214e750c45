"""Kill switches: an operator says no, and the very next call hears it.

A switch is engaged by a person (or an alarm) through the control port, ends by itself if it was
given a time to live, and outlives every policy. What the policy file itself switches off
(`tools.disabled`, `tools.writes_disabled`) is judged here too, so that there is one place where
"off" is decided.

Never evicted, never sampled, never guessed: a key matches exactly or not at all.
"""

from collections.abc import Callable
from contextlib import ExitStack
from math import isfinite
from typing import NamedTuple

from proxy.model.call import Caller, Effect
from proxy.model.clock import Clock
from proxy.model.errors import Refusal
from proxy.model.reason import Reason
from proxy.policy.policy import Policy, ToolRule

KEY_LIMIT_CHARS = 300
REASON_LIMIT_CHARS = 500

_ALL = "all"
_WRITES = "writes"
_NAMED = ("tool:", "agent:", "run:")


class Switch(NamedTuple):
    """One engaged switch, as an operator sees it.

    `since_s` and `expires_s` are wall-clock seconds, for display and for the disk; the time to
    live itself runs on the monotonic clock. `reason` is shown to the agent.
    """

    key: str
    reason: str
    actor: str
    since_s: float
    expires_s: float | None


class _Engaged(NamedTuple):
    switch: Switch
    deadline_s: float | None  # monotonic


class Switches:
    """Every engaged switch, by key: `tool:NAME`, `agent:ID`, `run:ID`, `writes`, `all`.

    `limit` bounds the named ones. `all` and `writes` are always accepted: an emergency brake must
    not fail because somebody filled the table.
    """

    def __init__(self, clock: Clock, limit: int = 10_000) -> None:
        self._clock = clock
        self._limit = limit
        self._engaged: dict[str, _Engaged] = {}
        self._subscribers: list[Callable[[], None]] = []
        self._on_expired: Callable[[Switch], None] | None = None

    def engage(self, key: str, reason: str, actor: str, ttl_s: float | None = None) -> Switch:
        """Switch `key` off from now on, for `ttl_s` seconds or until released.

        Engaging again replaces reason, actor and time to live. Raises ValueError, with a sentence
        for the operator, for a bad key, an empty reason, a time to live that is not positive, or
        a full table.
        """
        if ttl_s is not None and not (ttl_s > 0 and isfinite(ttl_s)):
            raise ValueError("a time to live must be a positive number of seconds")
        now_s = self._clock.wall()
        expires_s = None if ttl_s is None else now_s + ttl_s
        switch = Switch(_checked_key(key), _checked_reason(reason), actor, now_s, expires_s)
        self._put(switch, ttl_s)
        return switch

    def restore(self, switch: Switch) -> bool:
        """Put back a switch that was kept across a restart; False if its time is over.

        What is left of its time is read off the wall clock, the only one that survives a restart;
        never more than it was given, in case that clock was set back. Raises ValueError as
        `engage` does.
        """
        ttl_s = None
        if switch.expires_s is not None:
            expires_s = switch.expires_s
            ttl_s = min(expires_s - self._clock.wall(), expires_s - switch.since_s)
            if ttl_s <= 0:
                return False
        _checked_key(switch.key)
        self._put(switch._replace(reason=_checked_reason(switch.reason)), ttl_s)
        return True

    def release(self, key: str) -> bool:
        """Switch `key` on again; False if it was not engaged. What the policy file disables stays
        disabled."""
        if self._find(key) is None:
            return False
        del self._engaged[key]
        self._tell()
        return True

    def active(self) -> list[Switch]:
        """Every engaged switch, in the order they were engaged; the expired are dropped here."""
        self._drop_expired()
        return [engaged.switch for engaged in self._engaged.values()]

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after every change, so that open tunnels and streams can be
        judged again. One per part of the process, at start: there is no way to unsubscribe. An
        expiry is not told, since it only lets more through."""
        self._subscribers.append(callback)

    def tell_expired(self, callback: Callable[[Switch], None]) -> None:
        """Have `callback` told of each switch whose time is over, when that is found: at the
        latest when somebody asks what is active."""
        self._on_expired = callback

    def refuse(
        self,
        policy: Policy,
        rules: tuple[ToolRule, ...],
        effect: Effect,
        caller: Caller,
        mcp_tools: tuple[str, ...] = (),
    ) -> Refusal | None:
        """The refusal of the widest switch that holds this call, or None.

        `rules` is the tool of the call; for an opaque tunnel every tool that shares its host and
        port, since inside a tunnel they cannot be told apart and one dead tool must stay dead.
        `mcp_tools` are the `NAME.TOOLNAME` of an MCP call, which may be switched off one by one.

        Order: all, agent, run, tool, writes. From wide to narrow, because the answer is read by a
        model: told that one tool is off it tries the next one, told that its run is stopped it
        ends. And what stops a run for good must win over what it could work around.
        """
        if not self._engaged and not policy.disabled and not policy.writes_disabled:
            return None
        refusal = self._refuse_caller(caller)
        if refusal is None:
            refusal = self._refuse_tools(policy, rules, mcp_tools)
        if refusal is None and effect is Effect.WRITE:
            refusal = self._refuse_write(policy)
        return refusal

    def _refuse_caller(self, caller: Caller) -> Refusal | None:
        if (switch := self._find(_ALL)) is not None:
            return Refusal(
                Reason.ALL_DISABLED,
                f"An operator has switched off all calls ({switch.reason}); stop here and report"
                " it.",
                "switch all",
            )
        if (switch := self._find("agent:" + caller.agent_id)) is not None:
            return Refusal(
                Reason.AGENT_DISABLED,
                f"An operator has switched off this agent ({switch.reason}); stop calling tools.",
                "switch " + switch.key,
            )
        if (switch := self._find("run:" + caller.run_id)) is not None:
            return Refusal(
                Reason.RUN_STOPPED,
                f"An operator has stopped this run ({switch.reason}); stop calling tools.",
                "switch " + switch.key,
            )
        return None

    def _refuse_tools(
        self, policy: Policy, rules: tuple[ToolRule, ...], mcp_tools: tuple[str, ...]
    ) -> Refusal | None:
        for name in (*[rule.name for rule in rules], *mcp_tools):
            if (switch := self._find("tool:" + name)) is not None:
                return Refusal(
                    Reason.TOOL_DISABLED,
                    f"An operator has switched off the tool {name} ({switch.reason}); do not call"
                    " it again, go on without it.",
                    "switch " + switch.key,
                )
            if name in policy.disabled:
                return Refusal(
                    Reason.TOOL_DISABLED,
                    f"The tool {name} is switched off by policy; do not call it again, go on"
                    " without it.",
                    "tools.disabled",
                )
        return None

    def _refuse_write(self, policy: Policy) -> Refusal | None:
        if (switch := self._find(_WRITES)) is not None:
            return Refusal(
                Reason.WRITES_DISABLED,
                f"An operator has switched off calls that change things ({switch.reason}); only"
                " read for now.",
                "switch writes",
            )
        if policy.writes_disabled:
            return Refusal(
                Reason.WRITES_DISABLED,
                "Calls that change things are switched off by policy; only read.",
                "tools.writes_disabled",
            )
        return None

    def _find(self, key: str) -> Switch | None:
        engaged = self._engaged.get(key)
        if engaged is None:
            return None
        if engaged.deadline_s is not None and self._clock.monotonic() >= engaged.deadline_s:
            self._expire(key)
            return None
        return engaged.switch

    def _expire(self, key: str) -> None:
        switch = self._engaged.pop(key).switch
        if self._on_expired is not None:
            self._on_expired(switch)

    def _put(self, switch: Switch, ttl_s: float | None) -> None:
        if self._find(switch.key) is None and switch.key not in (_ALL, _WRITES):
            if len(self._engaged) >= self._limit:
                self._drop_expired()
            if len(self._engaged) >= self._limit:
                raise ValueError(f"{self._limit} switches are engaged already; release some first")
        deadline_s = None if ttl_s is None else self._clock.monotonic() + ttl_s
        self._engaged[switch.key] = _Engaged(switch, deadline_s)
        self._tell()

    def _drop_expired(self) -> None:
        """In place: a switch engaged meanwhile must never be lost to a copy."""
        now_s = self._clock.monotonic()
        for key, engaged in list(self._engaged.items()):
            if engaged.deadline_s is not None and now_s >= engaged.deadline_s:
                self._expire(key)

    def _tell(self) -> None:
        # ExitStack: one subscriber that fails must not keep the others from hearing of a kill.
        with ExitStack() as stack:
            for callback in reversed(self._subscribers):
                stack.callback(callback)


def _checked_key(key: str) -> str:
    if len(key) > KEY_LIMIT_CHARS or not key.isprintable():
        raise ValueError(f"a key is at most {KEY_LIMIT_CHARS} printable characters")
    if key not in (_ALL, _WRITES) and not any(
        key.startswith(kind) and len(key) > len(kind) for kind in _NAMED
    ):
        raise ValueError("a key is tool:NAME, agent:ID, run:ID, writes or all")
    return key


def _checked_reason(reason: str) -> str:
    """The reason on one line; it ends up in answers and reason phrases, where a line break or a
    control character would be an injection."""
    text = " ".join(reason.split())
    if not text:
        raise ValueError("a reason is required: the agent and the next operator will read it")
    if len(text) > REASON_LIMIT_CHARS or not text.isprintable():
        raise ValueError(f"a reason is at most {REASON_LIMIT_CHARS} printable characters")
    return text
