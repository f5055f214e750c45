"""Where audit entries go: the process log always, and the chained file if there is one."""

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

import orjson

from proxy import __version__
from proxy.control.access import Role, Visitor
from proxy.control.audit import Entry, audit_entry
from proxy.guards.switches import Switch, Switches
from proxy.model.clock import Clock, utc_timestamp
from proxy.store.audit_chain import Head
from proxy.store.audit_file import AuditFile
from proxy.store.audit_log import AuditLog
from proxy.telemetry.metrics import Figures
from proxy.telemetry.visible import visible_json

_LOG = logging.getLogger("toolbooth")
_FLUSH_S = 10.0
_LOOK_EVERY_S = 1.0
_PROCESS = Visitor(Role.PROCESS, "process")


class AuditTrail:
    """`Trail` for the control API, and what the process itself has to say. `log` None: there is
    only the process log, which takes everything."""

    def __init__(self, clock: Clock, log: AuditLog | None = None) -> None:
        self._clock = clock
        self._log = log

    def note(self, entry: Entry) -> None:
        """See `Trail`."""
        _say(entry)
        if self._log is not None:
            self._log.note(entry)

    def offer(self, entry: Entry) -> None:
        """See `Trail`."""
        _say(entry)
        if self._log is not None:
            self._log.offer(entry)

    async def require(self, entry: Entry) -> None:
        """See `Trail`."""
        if self._log is not None:
            await self._log.require(entry)
        _say(entry)

    async def settle(self) -> bool:
        """See `Trail`."""
        return self._log is None or await self._log.settle()

    async def started(self, version: str, switches: int) -> None:
        """The process begins, with this policy and so many switches engaged. Raises
        `StoreError`: what cannot be audited from its first moment does not start."""
        entry = self._entry("process.start", version)
        await self.require({**entry, "toolbooth": __version__, "switches": switches})

    def says(self, action: str, key: str = "") -> None:
        """Something else happens to the process."""
        self.note(self._entry(action, key))

    def tell_expired(self, switch: Switch) -> None:
        """A switch has ended by itself."""
        entry = audit_entry(
            self._clock.wall(), _PROCESS, "switch.expire", switch.key, switch.reason, "done"
        )
        expires = None if switch.expires_s is None else utc_timestamp(switch.expires_s)
        self.note({**entry, "expires": expires})

    async def watch(self, switches: Switches, expired: Iterable[Switch] = ()) -> None:
        """Tell of switches that end by themselves, those that did while nothing ran first."""
        for switch in expired:
            self.tell_expired(switch)
        switches.tell_expired(self.tell_expired)
        while True:
            switches.active()
            await asyncio.sleep(_LOOK_EVERY_S)

    def show(self, figures: Figures) -> None:
        """Have the metrics read."""
        log = self._log
        if log is not None:
            figures.watch("toolbooth_audit_entries_total", lambda: log.written)
            figures.watch("toolbooth_audit_lost_total", lambda: log.lost)
            figures.watch("toolbooth_audit_write_errors_total", lambda: log.errors)
            figures.watch("toolbooth_audit_pending", lambda: log.pending)

    def close(self) -> bool:
        """The process ends. False, and said, if not all of it could be written."""
        self.says("process.stop")
        if self._log is None or self._log.stop(_FLUSH_S):
            return True
        _LOG.error("the audit log was not written to its end")
        return False

    def _entry(self, action: str, key: str) -> dict[str, object]:
        entry = audit_entry(self._clock.wall(), _PROCESS, action, key, "", "done")
        return {**entry, "event": "process"}


def open_trail(path: Path | None, key: bytes | None, clock: Clock) -> AuditTrail:
    """The trail with its file checked, locked and ready. Raises `StoreError` rather than go on with
    a file that is not as it was left."""
    if path is None:
        return AuditTrail(clock)
    file = AuditFile(path, key, clock)
    _LOG.info("audit log in %s, from seq %d on", path, file.head.seq + 1)
    log = AuditLog(file, clock, _LOG.error, _anchor)
    log.start()
    return AuditTrail(clock, log)


def _anchor(head: Head) -> None:
    """In another log than the one it is about: whoever cuts that one does not reach this."""
    _LOG.info("audit log checkpoint: seq %d, head %s", head.seq, head.hash)


def _say(entry: Entry) -> None:
    _LOG.info("audit %s", visible_json(orjson.dumps(dict(entry), default=repr).decode()))
