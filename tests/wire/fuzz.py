"""A longer search for two readings of the same bytes: `python -m tests.wire.fuzz --seconds 600`.

Random messages, good ones with pieces changed, held against h11, llhttp, OpenSSL and urllib. Not
part of the test run. Each finding is printed with its bytes; the exit code says whether there was
one. `check` takes the bytes of any other fuzzer.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

from proxy.model.errors import BadMessage
from proxy.wire.body import ChunkedDecoder
from proxy.wire.opening import read_hello
from tests.wire.authorities import odd_authority, other_hosts
from tests.wire.fragments import a_request, a_response, mutated
from tests.wire.hellos import OpenSslReader, client_hello, misread, reframed
from tests.wire.pieces import (
    REFUSED,
    contradicts,
    cut,
    decoded_in_pieces,
    head_end_in_pieces,
    openings,
)
from tests.wire.readings import Ours, compare_request, compare_response, our_request, our_response

T = TypeVar("T")
_MAX_FINDINGS = 10


class RandomChooser:
    """See `fragments.Chooser`."""

    def __init__(self, seed: int) -> None:
        self.generator = random.Random(seed)

    def of(self, options: Sequence[T]) -> T:
        return options[int(self.generator.random() * len(options))]

    def below(self, limit: int) -> int:
        return int(self.generator.random() * limit)


def check(raw: bytes, cuts: Sequence[int] = ()) -> str | None:
    """Everything that must hold for any bytes; a sentence about the first thing that does not."""
    problem = compare_request(raw) or compare_response(raw) or compare_response(raw, "HEAD")
    if problem is not None:
        return problem
    pieces = cut(raw, cuts)
    split_end, end = head_end_in_pieces(pieces), head_end_in_pieces([raw])
    # A head with a bare LF may be refused early; read whole, it is refused by its grammar.
    if split_end != end and (split_end != REFUSED or isinstance(our_request(raw), Ours)):
        return f"cut at {cuts}, the head ends elsewhere"
    content = raw.partition(b"\r\n\r\n")[2]
    pieces = cut(content, cuts)
    split, whole_content = (decoded_in_pieces(ChunkedDecoder(), p) for p in (pieces, [content]))
    if split != whole_content:
        return f"cut at {cuts}, the content is another"
    if contradicts(openings(raw[:80])):
        return "a decided opening changes with more bytes"
    return None


class Fuzzer:
    """One thing tried after the other; `accepted` shows that it is not all refused."""

    def __init__(self, seed: int) -> None:
        self._choose = RandomChooser(seed)
        self._reader = OpenSslReader()
        self._hellos = [
            client_hello("h.test"), client_hello(None), client_hello("a." * 60 + "test"),
            client_hello("h.test", alpn=("h2", "http/1.1")),
            reframed(client_hello("h.test"), [1, 40, 200]),
        ]  # fmt: skip
        self.accepted: Counter[str] = Counter()
        self.tries: Counter[str] = Counter()

    def step(self) -> tuple[str, bytes] | None:
        """One try; the problem and the bytes that have it."""
        kind: tuple[str, Callable[[], tuple[str | None, bytes]]] = self._choose.of(
            (("request", self._request), ("request", self._request), ("response", self._response),
             ("hello", self._hello), ("authority", self._authority))
        )  # fmt: skip
        self.tries[kind[0]] += 1
        problem, raw = kind[1]()
        return None if problem is None else (problem, raw)

    def _request(self) -> tuple[str | None, bytes]:
        raw = mutated(self._choose, a_request(self._choose), max(0, self._choose.below(5) - 2))
        self.accepted["request"] += isinstance(our_request(raw), Ours)
        return check(raw, self._cuts(raw)), raw

    def _response(self) -> tuple[str | None, bytes]:
        raw = mutated(self._choose, a_response(self._choose), max(0, self._choose.below(5) - 2))
        self.accepted["response"] += isinstance(our_response(raw, "GET"), Ours)
        return check(raw, self._cuts(raw)), raw

    def _cuts(self, raw: bytes) -> list[int]:
        return [self._choose.below(len(raw) + 1) for _ in range(self._choose.below(6))]

    def _hello(self) -> tuple[str | None, bytes]:
        raw = mutated(self._choose, self._choose.of(self._hellos), self._choose.below(4))
        try:
            self.accepted["hello"] += read_hello(raw) is not None
        except BadMessage:
            return None, raw
        return misread(raw, self._reader), raw

    def _authority(self) -> tuple[str | None, bytes]:
        raw = odd_authority(self._choose)
        others = other_hosts(raw)
        self.accepted["authority"] += others is not None
        return (f"others read {others}" if others else None), raw.encode()


def main() -> int:
    """The exit code: 1 if something was found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    given = options.parse_args()
    fuzzer = Fuzzer(given.seed)
    sys.stdout.write(f"seed {given.seed}\n")
    end_s = time.perf_counter() + given.seconds
    findings = 0
    while time.perf_counter() < end_s and findings < _MAX_FINDINGS:
        finding = fuzzer.step()
        if finding is not None:
            findings += 1
            sys.stdout.write(f"{finding[0]}\n  {finding[1]!r}\n")
    for kind, tries in sorted(fuzzer.tries.items()):
        sys.stdout.write(f"{kind}: {tries} tries, {fuzzer.accepted[kind]} accepted\n")
    sys.stdout.write(f"{findings} findings\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
