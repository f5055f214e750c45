"""From captured bytes to text, or to the decision that they are none (pure, bounded).

Decompression stops at a limit, so that a small body cannot become a large one in memory.
"""

import re
import zlib
from typing import NamedTuple

_MEDIA_TYPE = re.compile(r"^[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}$")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([a-z0-9_:.-]{1,40})")
_CHARSETS = {
    "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "utf-8", "ascii": "utf-8",
    "iso-8859-1": "latin-1", "latin1": "latin-1", "windows-1252": "cp1252", "cp1252": "cp1252",
}  # fmt: skip
_TEXT_TYPES_TEXT = (
    "application/json application/x-ndjson application/ndjson application/jsonl "
    "application/json-seq application/json-lines application/xml application/javascript "
    "application/yaml application/x-yaml application/toml application/graphql "
    "application/x-www-form-urlencoded application/sql application/x-sh "
    "application/x-javascript application/jwt"
)
_TEXT_TYPES = frozenset(_TEXT_TYPES_TEXT.split())


class Content(NamedTuple):
    """`text` is None for what is not text; `label` then says what to call it. `media_type` is
    lower case and without parameters, empty if not given."""

    text: str | None
    media_type: str
    label: str
    truncated: bool


def open_body(
    raw: bytes, content_type: str, content_encoding: str, truncated: bool, limit_bytes: int
) -> Content:
    """Undo the content coding and the charset, within `limit_bytes`."""
    lowered = content_type.strip().lower()
    media_type = lowered.partition(";")[0].strip()
    label = media_type if _MEDIA_TYPE.match(media_type) else "unknown type"
    coding = content_encoding.strip().lower()
    if coding not in ("", "identity"):
        known = coding in ("gzip", "x-gzip", "deflate")
        label += f", {coding}" if known or _is_token(coding) else ", unknown encoding"
        inflated = _inflated(raw, coding, limit_bytes) if known else None
        if inflated is None:
            return Content(None, media_type, label, truncated)
        raw, cut = inflated
        truncated = truncated or cut
    if len(raw) > limit_bytes:
        raw, truncated = raw[:limit_bytes], True
    return Content(_decoded(raw, lowered, media_type, truncated), media_type, label, truncated)


def _is_token(coding: str) -> bool:
    return len(coding) <= 20 and coding.isascii() and coding.replace("-", "").isalnum()


def _inflated(raw: bytes, coding: str, limit_bytes: int) -> tuple[bytes, bool] | None:
    """The decompressed beginning and whether there is more; None if it is not what it claims.
    `deflate` comes with and without zlib wrapper in the wild."""
    windows = (-zlib.MAX_WBITS, zlib.MAX_WBITS) if coding == "deflate" else (zlib.MAX_WBITS | 16,)
    for window in reversed(windows):
        inflater = zlib.decompressobj(window)
        try:
            result = inflater.decompress(raw, limit_bytes)
        except zlib.error:
            continue
        return result, not inflater.eof
    return None


def _decoded(raw: bytes, content_type: str, media_type: str, truncated: bool) -> str | None:
    """Text, or None for binary. A charset we do not decode is binary: its letters would pass
    every pattern unseen. So would UTF-16, which a NUL gives away."""
    is_text = media_type.startswith("text/") or media_type.endswith(("+json", "+xml"))
    if media_type and not is_text and media_type not in _TEXT_TYPES:
        return None
    charset = _CHARSET.search(content_type)
    codec = _CHARSETS.get(charset.group(1)) if charset else "utf-8"
    if codec is None or b"\x00" in raw or raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    if not media_type and not _is_utf8(raw, truncated):
        return None
    return raw.decode(codec, "backslashreplace").removeprefix("\ufeff")


def _is_utf8(raw: bytes, truncated: bool) -> bool:
    for cut in range(4 if truncated else 1):  # the cut may go through a character
        try:
            raw[: len(raw) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return True
    return False
