"""Secrets in base64: files, attachments and Kubernetes secrets inside of a text (pure).

A run of base64 that decodes to text is searched like any other text, one level deep, and masked
whole if anything is found in it. Pictures and digests decode to no text and stay.
"""

import base64
import binascii
from collections.abc import Callable, Iterator

from proxy.telemetry.personal import Found, Span

# Two alphabets, lines of MIME. Shorter runs hold too little: the shortest secret with its name.
ENCODED = (
    r"[A-Za-z0-9+/_-]{40,}(?:\r?\n[A-Za-z0-9+/_-]{40,})*"
    r"(?:\r?\n[A-Za-z0-9+/_-]{1,80}={1,2})?={0,2}"
)
_GLANCE_CHARS = 32  # decoded first: enough to tell text from noise
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\r"))
_URL_SAFE = str.maketrans("-_", "+/", "\r\n=")


class EncodedText:
    """The check of the pattern `ENCODED`. `is_clean`: is there nothing to mask in a text?"""

    __slots__ = ("_is_clean",)

    def __init__(self, is_clean: Callable[[str], bool]) -> None:
        self._is_clean = is_clean

    def __call__(self, found: Found) -> Iterator[Span]:
        """The whole run, if something is in it."""
        run = found.group()
        if run.lower() == run or run.upper() == run:
            return  # a digest in hex; base64 of this length has both cases
        if not _as_text(run[:_GLANCE_CHARS]):
            return
        text = _as_text(run)
        if text and not self._is_clean(text):
            yield found.span()


def _as_text(run: str) -> str:
    """Decoded, or empty for what is no text. A run that is cut, or has a letter too many, is read
    as far as it goes."""
    run = run.translate(_URL_SAFE)
    try:
        raw = base64.b64decode(run[: len(run) // 4 * 4] if len(run) % 4 == 1 else run + "==")
    except binascii.Error:
        return ""
    if len(raw.translate(None, _CONTROLS)) != len(raw):
        return ""
    try:
        return raw.decode("ascii" if raw.isascii() else "utf-8")
    except UnicodeDecodeError as error:
        cut = error.end > len(raw) - 4 and error.start > len(raw) // 2
        return raw[: error.start].decode("utf-8") if cut else ""
