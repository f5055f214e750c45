"""An answer's content on its way to the client, read or rewritten as it passes.

Most answers pass untouched and unread. A stage that has to know what one says (tokens used, tools
listed) asks for a filter before the attempt; which filter, if any, is decided on the answer's head.
"""

from collections.abc import Callable
from typing import Protocol

from proxy.model.errors import Refusal
from proxy.wire.head import ResponseHead


class ContentFilter(Protocol):
    """Sees every piece of one answer's content, in order, as it came off the wire (transfer coding
    removed, content coding not)."""

    @property
    def keeps_content(self) -> bool:
        """What comes out is what went in, byte for byte: the answer may keep its length and its
        validators."""

    def feed(self, content: bytes) -> bytes:
        """What of it may pass now; empty while more is needed. Must not raise."""

    def finish(self) -> bytes:
        """The content is over: what was still held back."""


class EndableFilter(ContentFilter, Protocol):
    """One that can end an answer under way, where its format has a way to say why."""

    def closing(self, refusal: Refusal) -> bytes | None:
        """The last of the content; None if the answer can only be cut."""


FilterFor = Callable[[ResponseHead], ContentFilter | None]

# What describes bytes that a filter has changed (RFC 9110 section 8.8, RFC 9530). A coding too:
# what a filter puts in the place of content it could not read has none.
CONTENT_BOUND = frozenset(
    (b"etag", b"last-modified", b"content-md5", b"content-digest", b"repr-digest", b"digest",
     b"accept-ranges", b"content-range", b"content-encoding")
)  # fmt: skip
