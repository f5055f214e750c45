"""Bytes fed piece by piece, in the way the connections do it."""

from collections.abc import Iterable
from itertools import pairwise

from proxy.model.errors import BadMessage
from proxy.wire.body import Decoder
from proxy.wire.head import find_head_end
from proxy.wire.opening import Opening, classify

REFUSED = "refused"


def head_end_in_pieces(pieces: Iterable[bytes]) -> int | str:
    """Where the head ends, -1 if it has not all come, `REFUSED` if it never can. The search goes
    on three bytes before where it stopped, as `proxy.listeners.client` has it."""
    buffer, searched = b"", 0
    for piece in pieces:
        buffer += piece
        try:
            end = find_head_end(buffer, max(0, searched - 3))
        except BadMessage:
            return REFUSED
        if end >= 0:
            return end
        searched = len(buffer)
    return -1


def decoded_in_pieces(decoder: Decoder, pieces: Iterable[bytes]) -> tuple[bytes, bytes, bool] | str:
    """(content, surplus, whole?), or `REFUSED`."""
    content, surplus = b"", b""
    for piece in pieces:
        if decoder.done:
            surplus += piece
            continue
        try:
            part, surplus = decoder.feed(piece)
        except BadMessage:
            return REFUSED
        content += part
    return content, surplus, decoder.done


def openings(data: bytes) -> list[Opening]:
    """The verdict for every prefix of `data`, the shortest first."""
    return [classify(data[:count]) for count in range(len(data) + 1)]


def contradicts(verdicts: list[Opening]) -> bool:
    """Did a decided verdict change? Only that of some other protocol may, to HTTP: nothing is
    held back for an unknown first word, so what follows it can tell more."""
    decided = [n for n, verdict in enumerate(verdicts) if verdict is not Opening.UNDECIDED]
    if not decided:
        return False
    first = verdicts[decided[0]]
    may_follow = {first}
    if first is Opening.OTHER:
        may_follow |= {Opening.UNDECIDED, Opening.HTTP}
    return not set(verdicts[decided[0] :]) <= may_follow


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` cut at these places, in any order."""
    ordered = [0, *sorted(place for place in places if 0 <= place <= len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(ordered)]
