"""Secrets that agents never hold: read where the operator keeps them, at the moment of a call.

A file is read again at most once a second, so a secret that was rotated (a Kubernetes secret is a
symlink that is swapped) is in use a second later, and the old one is not. Reading is always of the
whole small file: comparing times and sizes would cost the same and miss a change within one tick.
What cannot be read is no secret, and the call is refused. Nothing here logs or raises a value.
"""

import base64
import os
import stat
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from proxy.model.clock import Clock
from proxy.policy.policy import CredentialRule

FRESH_S = 1.0  # how long a secret is used without another look at its file
_MAX_FILE_BYTES = 16 * 1024
_MAX_SECRET_CHARS = 4096
_MAX_SOURCES = 4096  # secrets remembered, of all policies since the start
_MAX_FORMER = 64  # replaced secrets of one place that are still hidden
_KEPT_FORMER = 8  # of these the last ones are, however old
_FORMER_S = 3600.0  # and others as long: calls and streams under way may still carry them
_PLAIN_BASIC = "basic {secret}"


class Secret(NamedTuple):
    """`text`: what stands for a placeholder; `value`: the header value that carries it."""

    text: str
    value: bytes


class _Source:
    """One place a secret is kept, and what was last read there."""

    __slots__ = ("checked_s", "former", "text")

    def __init__(self) -> None:
        self.checked_s = float("-inf")
        self.text: str | None = None
        self.former: list[tuple[str, float]] = []  # those before it, and when they were replaced

    def replace(self, text: str | None, now_s: float) -> None:
        """Another secret is there now, or none."""
        before, self.text = self.text, text
        if before is None:
            return
        latest = [(before, now_s), *reversed(self.former)]
        self.former = [
            (one, replaced_s)
            for place, (one, replaced_s) in enumerate(latest[:_MAX_FORMER])
            if place < _KEPT_FORMER or now_s - replaced_s < _FORMER_S
        ][::-1]


class Secrets:
    """Every secret of the process. `known` holds each text that must not be shown, those replaced
    lately among them; it is another tuple whenever one is added.

    `variable` reads one environment variable.
    """

    def __init__(self, clock: Clock, variable: Callable[[str], str | None]) -> None:
        self._clock = clock
        self._variable = variable
        self._sources: OrderedDict[tuple[str, str], _Source] = OrderedDict()
        self.known: tuple[str, ...] = ()

    def read(self, rule: CredentialRule) -> Secret | None:
        """The secret of now, or None if there is none that can be sent."""
        if rule.secret_file is not None:
            key = ("file", rule.secret_file)
        else:
            key = ("environment", rule.secret_env or "")
        source = self._sources.get(key) or self._add(key)
        now_s = self._clock.monotonic()
        if now_s - source.checked_s >= FRESH_S:
            source.checked_s = now_s
            self._look(key, source, now_s)
        if source.text is None:
            return None
        return Secret(source.text, header_value(rule.template, source.text))

    def _add(self, key: tuple[str, str]) -> _Source:
        if len(self._sources) >= _MAX_SOURCES:
            self._sources.popitem(last=False)
        source = self._sources[key] = _Source()
        return source

    def _look(self, key: tuple[str, str], source: _Source, now_s: float) -> None:
        kind, place = key
        text = _sendable(_first_line(place) if kind == "file" else self._variable(place))
        if text == source.text:
            return
        source.replace(text, now_s)
        texts = dict.fromkeys(
            form
            for one in self._sources.values()
            for known in (one.text, *(former for former, _ in one.former))
            if known is not None
            for form in _forms(known)
        )
        self.known = tuple(texts)


def header_value(template: str, secret: str) -> bytes:
    """The value of the header. A secret `user:password` in `Basic {secret}` is encoded as RFC 7617
    asks; one without a colon is taken for encoded already."""
    if template.lower() == _PLAIN_BASIC and ":" in secret:
        secret = _basic(secret)
    return template.replace("{secret}", secret).encode("latin-1")


def _basic(secret: str) -> str:
    return base64.b64encode(secret.encode("utf-8")).decode("ascii")


def _forms(secret: str) -> list[str]:
    """The secret as others may spell it: whole, as Basic credentials, and the password in it."""
    user, colon, password = secret.partition(":")
    if not colon:
        return [secret, *_decoded_basic(secret)]
    return [secret, _basic(secret).rstrip("="), *([password] if user and password else [])]


def _decoded_basic(secret: str) -> list[str]:
    """What is inside of Basic credentials that the operator has encoded beforehand."""
    try:
        plain = base64.b64decode(secret, validate=True).decode("utf-8")
    except ValueError:
        return []
    user, colon, password = plain.partition(":")
    return [plain, password] if user and colon and password and plain.isprintable() else []


def _sendable(text: str | None) -> str | None:
    """The text if it can stand in a header field (RFC 9110 section 5.5), else None."""
    if not text or len(text) > _MAX_SECRET_CHARS or not text.isprintable():
        return None
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return None
    return text


def _first_line(path: str) -> str | None:
    try:
        # O_NONBLOCK: a FIFO that stands in the way must not stop the process.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - it is open already
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            content = file.read(_MAX_FILE_BYTES)
    except (OSError, ValueError):
        return None
    try:
        lines = content.decode("utf-8-sig").split("\n", 1)
    except UnicodeDecodeError:
        return None
    return lines[0].strip()
