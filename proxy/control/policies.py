"""What the operator's side needs of whoever keeps the policy in force.

Only words: the keeper itself reads files and runs threads, which is the business of `app`.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from proxy.policy.policy import Policy
from proxy.policy.problem import PolicyProblem

PolicyEvent = dict[str, object]


class PolicyFailure(NamedTuple):
    """A policy that was offered and not taken; the one before it stays in force. `source` is
    `file`, `signal` or `api`."""

    wall_s: float
    source: str
    detail: str
    errors: tuple[PolicyProblem, ...] = ()


class PolicyState(NamedTuple):
    """What is in force, the text it came from, and what last went wrong; `last_error` None: the
    last attempt succeeded."""

    policy: Policy
    text: str
    source: str
    loaded_wall_s: float
    last_error: PolicyFailure | None


class VersionMismatchError(Exception):
    """Another policy is in force than the one that was to be replaced."""


class KeeperBusyError(Exception):
    """As many policies wait to be compiled as may wait."""


class Policies(Protocol):
    """The keeper of the policy in force."""

    @property
    def state(self) -> PolicyState:
        """As it is now."""

    async def compile(self, text: bytes) -> Policy:
        """What `text` would be, without putting it in force. Raises `PolicyError` with every
        problem, `KeeperBusyError`."""

    async def put(
        self,
        text: bytes,
        expected: Callable[[str], bool],
        before: Callable[[Policy], Awaitable[None]] | None = None,
    ) -> Policy:
        """Put `text` in force until the file changes or the process ends; `expected` is asked
        about the version it replaces, `before` is awaited last and may raise. Raises
        `VersionMismatchError`, `PolicyError`, `KeeperBusyError`; whatever is raised, nothing has
        changed."""

    def subscribe(self, callback: Callable[[PolicyEvent], None]) -> None:
        """Have `callback` told of every policy that is loaded or refused. There is no way to
        unsubscribe."""
