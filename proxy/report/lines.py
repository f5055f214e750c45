"""Lines out of record files: plain or gzip, by their first bytes and not by their name.

Lines are read one at a time and bounded, so a file without line breaks costs no memory. A file
that ends in the middle of its compression gives what it has and is told about: it is the one a
rotation was working on.
"""

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import NamedTuple, cast

LONGEST_LINE_BYTES = 32 * 1024 * 1024  # two bodies of 1 MiB, every byte escaped
_GZIP = b"\x1f\x8b"
STDIN = "-"


class Source(NamedTuple):
    """One file and what became of reading it."""

    name: str
    problem: str  # empty where it was read to its end


class Lines:
    """`for line in Lines(paths)`: every line without its end. `sources` tells afterwards what was
    read; `too_long` counts lines that were skipped. Raises OSError for a file that cannot be
    opened."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths
        self.sources: list[Source] = []
        self.too_long = 0

    def __iter__(self) -> Iterator[bytes]:
        for path in self._paths:
            problem = ""
            with _opened(path) as file:
                try:
                    yield from self._lines_of(file)
                except (EOFError, gzip.BadGzipFile, zlib.error):
                    problem = "ends in the middle of its compressed data"
            self.sources.append(Source("standard input" if path == STDIN else path, problem))

    def _lines_of(self, file: BufferedIOBase) -> Iterator[bytes]:
        is_inside = False  # of a line that is too long
        while line := file.readline(LONGEST_LINE_BYTES):
            is_whole = line.endswith(b"\n")
            if is_inside or (not is_whole and len(line) >= LONGEST_LINE_BYTES):
                self.too_long += not is_inside
                is_inside = not is_whole
                continue
            if line := line.strip():
                yield line


@contextmanager
def _opened(path: str) -> Iterator[BufferedIOBase]:
    """The file's content, decompressed if need be."""
    if path == STDIN:
        yield _unpacked(cast("BufferedReader", sys.stdin.buffer))
        return
    with Path(path).open("rb") as file:
        yield _unpacked(file)


def _unpacked(file: BufferedReader) -> BufferedIOBase:
    if file.peek(2)[:2] == _GZIP:
        return gzip.GzipFile(fileobj=file)
    return file
