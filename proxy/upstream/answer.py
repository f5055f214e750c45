"""An upstream's answer, as far as it is known when its head has come."""

from proxy.wire.body import Framing
from proxy.wire.head import ResponseHead


class Answer:
    """The head of a final answer. `content`: what of its body came along, a view where it is much;
    `is_whole`: and that was all of it."""

    __slots__ = ("content", "framing", "head", "is_whole")

    def __init__(self, head: ResponseHead, framing: Framing) -> None:
        self.head = head
        self.framing = framing
        self.content: bytes | memoryview = b""
        self.is_whole = False
