"""The policy in force, and how it is replaced while calls go on.

A new policy comes from the file (looked at every two seconds), from SIGHUP (which re-reads the file
whatever it says) or from the control API. It is compiled whole, in a thread, and swapped in one
step of the event loop; calls under way keep the rules they were let through with, except that
those which the new policy would refuse are ended, tunnels and streams included. Whatever is wrong
with a new policy, the last good one stays in force and the failure is shown until the next
success: a typing error must neither open nor close the booth.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from proxy.app.policy_source import SourceError, read_source
from proxy.control.access import Role, Visitor
from proxy.control.audit import Audit, Entry, audit_entry
from proxy.control.policies import (
    KeeperBusyError,
    PolicyEvent,
    PolicyFailure,
    PolicyState,
    VersionMismatchError,
)
from proxy.model.clock import Clock
from proxy.policy.compile import load_policy
from proxy.policy.policy import Policy
from proxy.policy.problem import PolicyError, PolicyProblem
from proxy.telemetry.redact import Redactor

LOOK_EVERY_S = 2.0
SETTLE_S = 0.25
MOST_WAITING = 8
_MOST_LOOKS = 20
_ERRORS_KEPT = 500  # a document of 1 MiB can have a hundred thousand
_ERRORS_LOGGED = 20

_LOG = logging.getLogger("toolbooth")


class Loaded(NamedTuple):
    """A policy that compiled, with what is derived from it."""

    policy: Policy
    redactor: Redactor
    text: bytes


class Tempo(NamedTuple):
    """How often the file is looked at, and how long between the two looks that must agree before
    a changed file counts as written to its end."""

    look_every_s: float = LOOK_EVERY_S
    settle_s: float = SETTLE_S


class PolicyKeeper:
    """Keeps one policy in force; `Policies` for the control API.

    `adopt` swaps the policy in; it is called on the event loop, must not wait and must not fail.
    `overrides` are the AGENT_MAX_* variables, which win over every document. `results` counts
    attempts: `ok`, `unchanged`, `failed`.
    """

    def __init__(
        self,
        path: Path,
        overrides: Mapping[str, str],
        first: Loaded,
        *,
        redactor_of: Callable[[Policy], Redactor],
        adopt: Callable[[Policy, Redactor], None],
        clock: Clock,
        audit: Audit,
        tempo: Tempo | None = None,
    ) -> None:
        self._path = path
        self._overrides = overrides
        self._redactor_of = redactor_of
        self._adopt = adopt
        self._clock = clock
        self._audit = audit
        self._tempo = tempo or Tempo()
        self._lock = asyncio.Lock()
        self._waiting = 0
        self._asked = asyncio.Event()
        self._seen = _digest(first.text)  # of the file's content that was last tried
        self._seen_failure: PolicyFailure | None = None  # what was wrong with that content
        self._file_trouble = ""  # why the file could not be read at the last look
        self._callbacks: list[Callable[[PolicyEvent], None]] = []
        self._state = PolicyState(
            first.policy, _shown(first.text), "file", clock.wall(), last_error=None
        )
        self.results = {"ok": 0, "unchanged": 0, "failed": 0}

    @property
    def state(self) -> PolicyState:
        """What is in force now."""
        return self._state

    def subscribe(self, callback: Callable[[PolicyEvent], None]) -> None:
        """See `Policies`."""
        self._callbacks.append(callback)

    def ask(self) -> None:
        """Re-read the file soon (SIGHUP). However often it is asked meanwhile, it is one reload."""
        self._asked.set()

    async def watch(self) -> None:
        """Follow the file and what was asked for, for ever."""
        while True:
            try:
                async with asyncio.timeout(self._tempo.look_every_s):
                    await self._asked.wait()
            except TimeoutError:
                await self.look()
                continue
            self._asked.clear()
            await self.reload()

    async def look(self) -> None:
        """Load the file if its content is not what it was at the last look, and stands still."""
        text = await self._read("file")
        if text is None:
            return
        recovered, self._file_trouble = self._file_trouble, ""
        if _digest(text) == self._seen:
            if recovered:
                self._state = self._state._replace(last_error=self._seen_failure)
            return
        settled = await self._settled(text)
        if settled is not None:
            await self._load_file(settled, "file")

    async def reload(self) -> None:
        """Load the file whatever it holds, also over a policy that the API has put in force."""
        text = await self._read("signal")
        if text is not None:
            self._file_trouble = ""
            await self._load_file(text, "signal")

    async def compile(self, text: bytes) -> Policy:
        """See `Policies`."""
        async with self._turn():
            return (await self._compiled(text)).policy

    async def put(
        self,
        text: bytes,
        expected: Callable[[str], bool],
        before: Callable[[Policy], Awaitable[None]] | None = None,
    ) -> Policy:
        """See `Policies`."""
        async with self._turn():
            if not expected(self._state.policy.version):
                raise VersionMismatchError
            try:
                loaded = await self._compiled(text)
            except PolicyError as error:
                self._fail("api", _sentence(error), tuple(error.errors))
                raise
            if before is not None:
                await before(loaded.policy)
            self._swap(loaded, "api")
            return loaded.policy

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One caller's turn at the compiler; few may wait, since each brings up to 1 MiB."""
        if self._waiting >= MOST_WAITING:
            raise KeeperBusyError
        self._waiting += 1
        try:
            async with self._lock:
                yield
        finally:
            self._waiting -= 1

    async def _read(self, source: str) -> bytes | None:
        """The file's content, or None and a failure, which is told once for each cause. A second
        look decides: a file that is being replaced is gone or empty for a moment."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(None, read_source, self._path)
        except SourceError:
            await asyncio.sleep(self._tempo.settle_s)
        try:
            return await loop.run_in_executor(None, read_source, self._path)
        except SourceError as error:
            trouble = str(error)
        if trouble != self._file_trouble or source == "signal":
            self._file_trouble = trouble
            self._fail(source, f"The policy file was not loaded: {trouble}.")
        return None

    async def _settled(self, text: bytes) -> bytes | None:
        """The content once two looks agree on it: the beginning of a YAML file is often a valid
        file too, and one without its last rules."""
        for _ in range(_MOST_LOOKS):
            await asyncio.sleep(self._tempo.settle_s)
            again = await self._read("file")
            if again is None or again == text:
                return again
            text = again
        return None

    async def _load_file(self, text: bytes, source: str) -> None:
        self._seen, self._seen_failure = _digest(text), None
        async with self._lock:
            try:
                loaded = await self._compiled(text)
            except PolicyError as error:
                self._fail(source, _sentence(error), tuple(error.errors))
                self._seen_failure = self._state.last_error
                return
            before = self._state.policy.version
            self._swap(loaded, source)
        if loaded.policy.version != before:
            self._audit(self._entry(source, loaded.policy.version, "done", previous=before))

    def _entry(self, source: str, key: str, outcome: str, **more: object) -> Entry:
        visitor = Visitor(Role.PROCESS, source)
        entry = audit_entry(self._clock.wall(), visitor, "policy.load", key, "", outcome)
        return {**entry, **more}

    async def _compiled(self, text: bytes) -> Loaded:
        """In a thread: a large catalog takes a second, in which calls go on. Whatever goes wrong
        in there is a problem of the document: no document may end the keeping of policies."""
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, self._compile_now, text)
        except PolicyError:
            raise
        except Exception as bug:  # noqa: BLE001 - see above
            _LOG.error("a bug: %s", type(bug).__name__, exc_info=bug)
            problem = PolicyProblem(
                "", 0, f"the sidecar failed to compile it ({type(bug).__name__})"
            )
            raise PolicyError([problem]) from None

    def _compile_now(self, text: bytes) -> Loaded:
        policy = load_policy(text, env=self._overrides)
        return Loaded(policy, self._redactor_of(policy), text)

    def _swap(self, loaded: Loaded, source: str) -> None:
        before, policy = self._state.policy, loaded.policy
        is_new = policy.version != before.version
        if is_new:
            self._adopt(policy, loaded.redactor)
        else:
            policy = before  # what is idle in the pool stays judged
        where = "api" if source == "api" else "file"
        self._state = PolicyState(policy, _shown(loaded.text), where, self._clock.wall(), None)
        self.results["ok" if is_new else "unchanged"] += 1
        if not is_new:
            _LOG.info("policy %s stays: the new document means the same", policy.version)
            return
        _LOG.info("policy %s replaces %s (%s)", policy.version, before.version, source)
        for warning in policy.warnings:
            _LOG.warning("policy: %s", warning)
        self._tell({"action": "loaded", "version": policy.version, "previous": before.version,
                    "source": source})  # fmt: skip

    def _fail(self, source: str, detail: str, errors: tuple[PolicyProblem, ...] = ()) -> None:
        failure = PolicyFailure(self._clock.wall(), source, detail, errors[:_ERRORS_KEPT])
        self._state = self._state._replace(last_error=failure)
        self.results["failed"] += 1
        _LOG.error("%s Policy %s stays in force.", detail, self._state.policy.version)
        for error in errors[:_ERRORS_LOGGED]:
            _LOG.error("policy: %s", error)
        if source != "api":  # the edge of the API tells its own refusals
            self._audit(self._entry(source, "", "failed", detail=detail))
        self._tell({"action": "failed", "version": self._state.policy.version, "source": source,
                    "detail": detail})  # fmt: skip

    def _tell(self, event: PolicyEvent) -> None:
        for callback in self._callbacks:
            callback(event)


def _digest(text: bytes) -> bytes:
    return sha256(text).digest()


def _shown(text: bytes) -> str:
    return text.decode("utf-8-sig")


def _sentence(error: PolicyError) -> str:
    count = len(error.errors)
    return f"The new policy has {count} error{'s' if count != 1 else ''} and was not loaded."
