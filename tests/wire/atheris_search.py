"""The same comparisons as `fuzz.py`, led by coverage: what reaches a new line of ours is kept and
changed further.

    python -m venv fuzz && fuzz/bin/pip install atheris h11 httptools
    PYTHONPATH=. fuzz/bin/python -m tests.wire.atheris_search target -max_total_time=600

The first argument is the parser (`target`, `head`, `chunk`, `hello`), the rest are libFuzzer's: a
directory keeps what was found interesting. Run by hand: atheris is no dependency of the project.
It stops at the first finding, with a traceback that says what is wrong and a file that has it.
"""

# ruff: noqa: E402 - the parsers have to be imported while atheris listens

import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

_ATHERIS: Any = import_module("atheris") if find_spec("atheris") else None

with _ATHERIS.instrument_imports(include=["proxy"]) if _ATHERIS else nullcontext():
    for _name in ("body", "forward", "head"):  # what is not imported here has no coverage
        import_module(f"proxy.wire.{_name}")
    from proxy.model.errors import BadMessage
    from proxy.wire.opening import Hello, read_hello
    from proxy.wire.target import parse_absolute

from tests.wire.authorities import PIECES, other_hosts
from tests.wire.fragments import (
    CHUNKS,
    FRAMINGS,
    HOSTS,
    NAMES,
    NOISE,
    SIZES,
    STATUSES,
    TARGETS,
    TRAILERS,
    VALUES,
)
from tests.wire.fuzz import RandomChooser, check
from tests.wire.hellos import OpenSslReader, client_hello, misread, reframed
from tests.wire.pieces import contradicts, openings

_LINE = b"GET http://h.test/ HTTP/1.1\r\n"
_CHUNKED = b"POST / HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n"
_READER = OpenSslReader()
AUTHORITY_PIECES = tuple(piece.encode() for piece in PIECES)


class Disagreement(Exception):  # noqa: N818 - what is looked for
    """Two readers of one message, or one reader of it in two pieces, do not say the same."""


def of_target(data: bytes) -> str | None:
    """As the target of a request, and as the authority of one."""
    problem = check(b"GET %b HTTP/1.1\r\nHost: h.test\r\n\r\n" % data)
    if problem is not None:
        return problem
    others = other_hosts(data.decode("latin-1"))
    if others:
        return f"others read {others}"
    try:
        target = parse_absolute(data.decode("latin-1"), "GET")
    except BadMessage:
        return None
    again = parse_absolute(
        f"{target.origin.scheme}://{target.origin.authority}{target.path}", "GET"
    )
    return None if again == target else "what is sent is not what was judged"


def of_head(data: bytes) -> str | None:
    """As a request, and as an answer; the first two bytes say where it is cut."""
    return check(data[2:], list(data[:2]))


def of_chunk(data: bytes) -> str | None:
    """As what follows a chunked head; the first two bytes say where it is cut."""
    return check(_CHUNKED + data[2:], [count + len(_CHUNKED) for count in data[:2]])


def of_hello(data: bytes) -> str | None:
    """As a tunnel's first bytes: against OpenSSL, and every beginning of it against the whole."""
    if contradicts(openings(data[:40])):
        return "a decided opening changes with more bytes"
    whole = _read(data)
    if isinstance(whole, Hello) and (problem := misread(data, _READER)) is not None:
        return problem
    for count in range(0, len(data), 1 + len(data) // 64):
        part = _read(data[:count])
        if isinstance(part, Hello) and (
            not isinstance(whole, Hello) or part.server_name != whole.server_name
        ):
            return "a beginning names another server than the whole"
    return None


def _read(data: bytes) -> Hello | str | None:
    try:
        return read_hello(data)
    except BadMessage as problem:
        return str(problem)


def _target_seeds() -> Iterator[bytes]:
    yield from TARGETS


def _head_seeds() -> Iterator[bytes]:
    for field in (*HOSTS, *FRAMINGS, *(n + b": " + v for n in NAMES for v in VALUES)):
        yield b"\x05\x20" + _LINE + field + b"\r\nHost: h.test\r\n\r\n"
    for status in STATUSES:
        yield b"\x05\x20HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"


def _chunk_seeds() -> Iterator[bytes]:
    for size in SIZES:
        for trailer in TRAILERS:
            yield b"\x01\x03" + size + b"\r\n" + CHUNKS[0] + b"\r\n0\r\n" + trailer + b"\r\nGET /"


def _hello_seeds() -> Iterator[bytes]:
    hello = client_hello("h.test")
    yield from (hello, client_hello(None), client_hello("a." * 60 + "test"))
    yield client_hello("h.test", alpn=("h2", "http/1.1"))
    yield reframed(hello, [1, 40, 200])


def _mutate(data: bytes, limit_bytes: int, seed: int) -> bytes:
    """Now and then a piece that means something to a parser, where single bytes find none."""
    choose = RandomChooser(seed)
    if choose.below(2):
        return bytes(_ATHERIS.Mutate(data, limit_bytes))
    at = choose.below(len(data) + 1)
    piece = choose.of(choose.of((NOISE, NOISE, AUTHORITY_PIECES, SIZES, VALUES)))
    return (data[:at] + piece + data[at + choose.below(3) :])[:limit_bytes]


PARTS: dict[str, tuple[Callable[[bytes], str | None], Callable[[], Iterator[bytes]]]] = {
    "target": (of_target, _target_seeds),
    "head": (of_head, _head_seeds),
    "chunk": (of_chunk, _chunk_seeds),
    "hello": (of_hello, _hello_seeds),
}


def main() -> None:
    """Does not return: libFuzzer ends the process."""
    look, seeds = PARTS[sys.argv.pop(1)]
    folder = Path(mkdtemp(prefix="seeds-"))
    for number, seed in enumerate(dict.fromkeys(seeds())):
        (folder / f"{number:04}").write_bytes(seed)

    def one_input(data: bytes) -> None:
        problem = look(data)
        if problem is not None:
            raise Disagreement(f"{problem}: {data!r}")

    _ATHERIS.enabled_hooks.add("RegEx")
    _ATHERIS.Setup([*sys.argv, str(folder)], one_input, custom_mutator=_mutate)
    _ATHERIS.Fuzz()


if __name__ == "__main__":
    main()
